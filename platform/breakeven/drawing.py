"""Pages of pictures of the events that are there: of whole events, and of jets."""

from pathlib import Path

import pyarrow as pa

from breakeven.events import store
from breakeven.events.jets import JETS, sample_of
from breakeven.events.objects import OBJECTS, objects_of
from breakeven.physics import validation
from breakeven.physics.detector import Objects
from breakeven.physics.jets.sample import JetSample
from breakeven.physics.jets.validation import plot_jets
from breakeven.terminal import console

__all__ = ["draw_physics"]


def draw_physics(runs_dir: Path) -> None:
    """Draw every dataset's distributions to `<runs>/shared`, whole events to physics.png and jets to jets.png.

    Raises FileNotFoundError where there are none.
    """
    datasets = store.largest_datasets(runs_dir / "shared" / "datasets")
    if not datasets:
        raise FileNotFoundError(f"{runs_dir / 'shared' / 'datasets'}: no datasets; run a study first")
    whole: dict[str, Objects] = {}
    jets: dict[str, JetSample] = {}
    for dataset in datasets:
        schema = dataset.manifest["schema"]
        if schema not in (OBJECTS.version, JETS.version):
            continue  # a plug-in's: what its things are is its own
        paths = dataset.paths()[:20]
        table = pa.concat_tables([store.read_shard(path)[0] for path in paths]).combine_chunks()
        if schema == OBJECTS.version:
            whole[dataset.process] = objects_of(table)
        else:
            jets[dataset.process] = sample_of(table, len(paths))
    if whole:
        validation.plot_processes(whole, page := runs_dir / "shared" / "physics.png")
        console.print(f"{len(whole)} processes drawn: {page}")
    if jets:
        plot_jets(jets, page := runs_dir / "shared" / "jets.png")
        console.print(f"{len(jets)} processes of jets drawn: {page}")
