"""First stage: the events of every process, made or found."""

from collections.abc import Mapping

from breakeven import provenance
from breakeven.estimate.budget import Budget
from breakeven.estimate.price import generation_hours
from breakeven.estimate.speeds import read_calibration, speeds
from breakeven.events import sampling, store
from breakeven.events.arrays import is_flat, open_arrays
from breakeven.ledger.lease import Leases
from breakeven.ledger.ledger import Ledger, now
from breakeven.ledger.levels import Generation
from breakeven.physics import processes
from breakeven.places import Places
from breakeven.stages.cluster import Cluster
from breakeven.study import plan
from breakeven.study.spec import Study, task
from breakeven.terminal import bar


def generate_events(
    study: Study, places: Places, ledger: Ledger, leases: Leases, cluster: Cluster, budget: Budget | None
) -> tuple[dict[str, store.Dataset], tuple[str, ...]]:
    """The datasets of all processes, by name, and the hashes of their records; makes what is missing.

    Raises GenerationFailed where a process cannot be generated, TooFewEvents where a split is too small, OverBudget.
    """
    recipes = recipes_of(study)
    leases.wait("generation", lambda: False)  # one driver at a time: the next finds the shards of this one
    total = sum(n_shards * recipe.shard_events for recipe, n_shards in recipes.items())
    wanted = {
        r.process.name: len(store.missing_shards(r, places.datasets, n)) * r.shard_events for r, n in recipes.items()
    }
    missing = sum(wanted.values())
    if budget is not None and missing:
        known = speeds(study, ledger.records(), read_calibration(places.ledger, study))
        budget.check("generating the events", generation_hours(wanted, known).expected)
    with bar("events", total, "events", done=total - missing) as progress:
        if missing:
            from breakeven.distributed.generation import generate

            with cluster.reserved("generation", "generation", cluster.resources.cpus, "cpu") as reservation:

                def done(process: str, events: int, seconds: float) -> None:
                    reservation.used_seconds += seconds
                    if budget is not None:
                        budget.charge(seconds)
                    progress.advance(events, process)

                generate(recipes, places.datasets, done)
    datasets = {recipe.process.name: store.complete(recipe, places.datasets, n) for recipe, n in recipes.items()}
    if flat := [dataset.folder for dataset in datasets.values() if not is_flat(dataset)]:
        from breakeven.distributed.generation import prepare_arrays

        assert cluster.resources.cpus
        prepare_arrays(flat)
    check_sizes(study, datasets)
    for name, dataset in datasets.items():
        if not ledger.refresh(certain=True).finished(dataset.hash):
            ledger.write([_generation_record(name, dataset)])
    leases.release("generation")
    return datasets, tuple(dataset.hash for dataset in datasets.values())


def recipes_of(study: Study) -> dict[store.Recipe, int]:
    """The recipe of each process and its number of shards."""
    wanted = {}
    settings = study.generation
    for name in plan.processes(study, processes.PRETRAINING):
        lhe = settings.lhe.get(name)
        process = processes.from_lhe(name, [lhe]) if lhe else processes.process(name)
        recipe = store.Recipe(process, settings.seed, settings.multiparton_interactions, settings.shard_events)
        wanted[recipe] = recipe.shards_for(settings.events(name))
    return wanted


def check_sizes(study: Study, datasets: Mapping[str, store.Dataset]) -> None:
    """Raise TooFewEvents where a split came out smaller than the largest size: known only now that events are there."""
    largest = max(study.finetuning.sizes)
    for name in study.finetuning.tasks:
        for process in (task(name).signal, task(name).background):
            there = len(open_arrays(datasets[process]).rows(sampling.Split.TRAIN))
            if largest > there:
                raise sampling.TooFewEvents(
                    f"finetuning.sizes asks for {largest:,} training events a class, but {process} has {there:,}; raise "
                    "generation.events-per-process (what is there is kept) or drop the size"
                )


def _generation_record(name: str, dataset: store.Dataset) -> Generation:
    return {
        "level": "generation",
        "record": dataset.hash,
        "outcome": "finished",
        "process": name,
        "source": dataset.manifest["source"],
        "events": dataset.n_events,
        "dataset": dataset.hash,
        "device": "cpu",
        "device_seconds": dataset.manifest["cpu_seconds"],
        "wall_seconds": dataset.manifest["cpu_seconds"],
        "git_commit": provenance.git_commit(),
        "host": provenance.host(),
        "processor": provenance.processor(),
        "mpi": dataset.manifest["mpi"],
        "started": now(),
        "ended": now(),
    }
