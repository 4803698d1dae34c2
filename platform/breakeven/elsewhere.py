"""What the trainings of a study would take on a GPU that need not be here, said before anybody asks for hours on it.

Stands on that card's measured speeds (estimate/cards.py); answers at once, as it imports neither Ray nor torch.
"""

from itertools import product
from pathlib import Path

from rich.table import Table

from breakeven.estimate.cards import card
from breakeven.estimate.price import price
from breakeven.events import sampling
from breakeven.events.edges import edges_per_event
from breakeven.ledger.ledger import Ledger
from breakeven.physics import processes
from breakeven.places import Places
from breakeven.study import plan
from breakeven.study.spec import InvalidStudy, Study
from breakeven.terminal import console, show
from breakeven.views.preview import check_study, hours, price_of, tell_files, tell_reuse


def show_plan_on(name: str, gpus: int, study: Study, runs_dir: Path) -> None:
    """Print what the trainings would take on `gpus` of the card `name`, in each precision that it was measured in.

    Pretraining splits its batch over its workers, at most one a GPU; trials go to all GPUs, in packs as large as a task and a
    size allow. Raises InvalidStudy, UnknownCard where that card was never measured.
    """
    check_study(study)
    if gpus < 1:
        raise InvalidStudy(f"--gpus is {gpus}: it must be at least 1")
    there, places = card(name), Places(runs_dir, study.name)
    here = price_of(study, Ledger(places.ledger).refresh())
    known_edges = edges_per_event(places.datasets, plan.processes(study, processes.PRETRAINING))
    pretrainings, pack = list(study.pretrainings_by_name().values()), trials_alike(study)
    workers = min([gpus, *(settings.workers or gpus for settings in pretrainings)])
    batch = min((settings.batch_size for settings in pretrainings), default=workers) / workers
    title = f"{study.name} on {gpus} x {there.content['card']}"
    table = Table(*(["network"] if study.networks else []), "precision", title=title, title_justify="left")
    headings = ("pretraining", "events/s per GPU", "trials and search", "events/s per GPU", "GPU-hours", "by the clock")
    for heading in headings:
        table.add_column(heading, justify="right")
    for network, precision in product(study.networks_by_name(), there.precisions):
        part = study.with_network(network)
        speeds = there.speeds(
            part, here.speeds, precision=precision, pack=pack, batch=batch, edges_per_event=known_edges
        )
        cost = price(part, processes.PRETRAINING, speeds, sampling.TRAIN_FRACTION)
        trials = cost.finetuning + cost.search
        clock = cost.pretraining * (1 / workers) + trials * (1 / gpus)
        table.add_row(
            *([network] if network else []), precision, hours(cost.pretraining), f"{speeds.pretrained.value:,.0f}",
            hours(trials), f"{speeds.trained.value:,.0f}", hours(cost.device_hours), hours(clock),
        )  # fmt: skip
    show(table)
    mean_edges = f"{known_edges:.1f}, of the events in {places.datasets}" if known_edges else "as in the measurement"
    lines = [
        ("pretraining", f"{len(pretrainings)} a network, on {workers} GPU(s) with {batch:g} events of a batch each"),
        (
            "trials",
            f"{here.trials:,} reported and {here.search_trials:,} for ratios, {pack} of a task and a size side by side",
        ),
        ("generation", f"{hours(here.generation)} of one core ({here.speeds.origin})"),
        ("edges", f"{mean_edges}; the card was measured with {there.edges_per_event:.1f} per event"),
        ("speeds", there.provenance),
        (
            "not in it",
            "starts, reading, what several GPUs tell each other: never measured; in brackets where the truth is likely",
        ),
    ]
    for title, text in lines:
        console.print(f"  {title:12} {text}", markup=False)
    tell_reuse(study)
    tell_files(study)


def trials_alike(study: Study) -> int:
    """Reported trials of one network, task and size: those that can be one pack."""
    settings = study.finetuning
    return settings.seeds * (1 + len(study.pretrainings_by_name()) * len(settings.strategies))
