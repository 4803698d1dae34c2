"""First stage: the events of every process, made where they are missing."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from breakeven import plugins, provenance
from breakeven.estimate.price import generation_hours
from breakeven.events import catalogue, sampling, store
from breakeven.events.arrays import is_flat, open_arrays
from breakeven.ledger.ledger import Ledger, now
from breakeven.ledger.levels import Generation
from breakeven.observer import Work
from breakeven.physics import processes
from breakeven.stages.driver import Driver
from breakeven.study import plan
from breakeven.study.spec import Study


def generate_events(driver: Driver) -> dict[str, store.Dataset]:
    """The datasets of all processes, by name; makes what is missing.

    Raises GenerationFailed where a process cannot be generated, TooFewEvents where a split is too small, BadPlugin where two
    processes have the same events, OverBudget.
    """
    recipes, folder = recipes_of(driver.study), driver.places.datasets
    driver.leases.wait("generation", lambda: False)  # one driver at a time: the next finds the shards of this one
    total = sum(n_shards * recipe.shard_events for recipe, n_shards in recipes.items())
    missing = {recipe: store.missing_shards(recipe, folder, n_shards) for recipe, n_shards in recipes.items()}
    events = {recipe.source.name: len(shards) * recipe.shard_events for recipe, shards in missing.items()}
    left = sum(events.values())
    with driver.observers.watch(Work("generation", total, "events", total - left)):
        if left:
            driver.check_budget("generating the events", lambda known: generation_hours(events, known))
            _make(driver, missing)
    datasets = {recipe.source.name: store.complete(recipe, folder, n) for recipe, n in recipes.items()}
    check_distinct_events(folder, datasets.values(), driver.ledger.refresh(certain=True))
    if ragged := [dataset for dataset in datasets.values() if not is_flat(dataset)]:
        from breakeven.distributed.generation import prepare_arrays

        assert driver.cluster.resources.cpus
        prepare_arrays(ragged)
    check_sizes(driver.study, datasets)
    for name, dataset in datasets.items():
        if not driver.ledger.refresh(certain=True).finished(dataset.hash):
            driver.ledger.write([_generation_record(name, dataset)])
    driver.leases.release("generation")
    driver.observers.recorded([dataset.hash for dataset in datasets.values()])
    return datasets


def _make(driver: Driver, missing: Mapping[store.Recipe, Sequence[int]]) -> None:
    from breakeven.distributed.generation import generate

    cluster = driver.cluster
    with cluster.reserved("generation", "generation", cluster.resources.cpus, "cpu") as reservation:

        def done(process: str, events: int, seconds: float) -> None:
            reservation.used_seconds += seconds
            driver.charge(seconds)
            driver.observers.advanced(events, process)

        generate(missing, driver.places.datasets, done)


def recipes_of(study: Study) -> dict[store.Recipe, int]:
    """The recipe of each process and its number of shards."""
    wanted = {}
    settings = study.generation
    for name in plan.processes(study, processes.PRETRAINING):
        source = catalogue.source(
            name,
            lhe=settings.lhe.get(name, ""),
            jetclass=settings.jetclass.get(name, ""),
            mpi=settings.multiparton_interactions,
            settings=settings.pythia_settings(name),
        )
        recipe = store.Recipe(source, settings.seed, settings.shard_events)
        wanted[recipe] = recipe.shards_for(settings.events(name))
    return wanted


def check_distinct_events(root: Path, datasets: Iterable[store.Dataset], ledger: Ledger) -> None:
    """Raise BadPlugin where a process has the events of another one, of this study or of an earlier one, also if they are gone.

    Results are found by the hash of the events, and splits go by process: under another name training events become test events.
    """
    for dataset in datasets:
        known = ledger.get(dataset.hash) or {"process": dataset.process}
        other = store.other_process(root, dataset) or known["process"]
        if other != dataset.process:
            raise plugins.BadPlugin(
                f"the sources {dataset.process!r} and {other!r} made the very same events ({dataset.hash}): let each use the "
                f"seed that it is given, or name only one. Events are split by the name of their process, and work on those of "
                f"{other!r} is in the ledger: keep that name, or work in another --runs-dir"
            )


def check_sizes(study: Study, datasets: Mapping[str, store.Dataset]) -> None:
    """Raise TooFewEvents where a split came out smaller than the largest size: known only now that events are there."""
    largest = max(study.finetuning.sizes)
    for task in study.finetuning.resolved():
        for of_class in task.classes:
            there = sum(len(open_arrays(datasets[process]).rows(sampling.Split.TRAIN)) for process in of_class)
            if largest > there:
                raise sampling.TooFewEvents(
                    f"finetuning.sizes asks for {largest:,} training events a class, but {' + '.join(of_class)} has {there:,}; "
                    "raise generation.events-per-process (what is there is kept) or drop the size"
                )


def _generation_record(name: str, dataset: store.Dataset) -> Generation:
    manifest = dataset.manifest
    return {
        "level": "generation",
        "record": dataset.hash,
        "outcome": "finished",
        "process": name,
        "source": manifest["source"],
        "events": dataset.n_events,
        "hard_events": manifest["hard_events"],
        "splits": manifest["splits"],
        "dataset": dataset.hash,
        "device": "cpu",
        "device_seconds": manifest["cpu_seconds"],
        "wall_seconds": manifest["cpu_seconds"],
        "git_commit": provenance.git_commit(),
        "host": provenance.host(),
        "processor": provenance.processor(),
        "mpi": manifest["mpi"],
        "started": now(),
        "ended": now(),
    }
