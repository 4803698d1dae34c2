"""One worker of a data-parallel training, run as a script by test_workers.py; writes curve and weights to a file."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as distributed
from conftest import synthetic_events  # the folder of a script is on its path
from safetensors.torch import save_file

from breakeven.models import build
from breakeven.training import feeds
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.loop import train
from breakeven.training.nonfinite import NonFinite
from breakeven.training.recipe import Recipe
from breakeven.training.training import Training
from breakeven.training.workers import ALONE, TorchWorkers, Workers

RECIPE = Recipe(objective="multiclass", epochs=2, batch_size=8, learning_rate=1e-3, patience=None)


def run(folder: Path, workers: Workers) -> None:
    """Train on 33 events (a last batch of one, so that a worker has none) and write what came out."""
    torch.set_num_threads(1)
    assert workers.in_graphs == (workers.world == 1), "gloo's sums are the host's"
    events, kind = synthetic_events(50, n_classes=3)
    index = torch.arange(50)
    data = Sample(index[:33], kind[:33]), Sample(index[33:], kind[33:])
    model, captured = build(3).double(), build(3).double()
    result = train(Training(model, events, *data, RECIPE), workers=workers)
    of_captured = train(Training(captured, events, *data, RECIPE), workers=workers, form="captured")
    streamed, of_streamed = (
        build(3).double(),
        EventTensors.from_arrays(events.nodes.numpy(), events.offsets.numpy(), free_bytes=1),
    )
    feeds.WINDOW_BYTES = 1000
    train(Training(streamed, of_streamed, *data, RECIPE), workers=workers, form="captured")
    for name, tensor in captured.state_dict().items():
        assert torch.equal(tensor, streamed.state_dict()[name]), name
    broken = EventTensors(events.nodes.clone(), events.offsets)
    broken.nodes[int(events.offsets[40]), 1] = float("nan")
    try:
        train(Training(model, broken, *data, RECIPE), workers=workers)
        reason = ""
    except NonFinite as error:
        reason = str(error)
    both = model.state_dict() | {f"captured.{name}": tensor for name, tensor in captured.state_dict().items()}
    save_file(both, folder / f"{workers.world}-{workers.rank}.safetensors")
    curve = [asdict(epoch) for epoch in (*result.curve, *of_captured.curve)]
    described = {"curve": curve, "reason": reason}
    (folder / f"{workers.world}-{workers.rank}.json").write_text(json.dumps(described))


if __name__ == "__main__":
    rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    if world == 1:
        run(folder, ALONE)
    else:
        distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
        run(folder, TorchWorkers())
        distributed.destroy_process_group()
