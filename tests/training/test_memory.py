"""Memory of a training: no more than twice the events' flat size, beside the activations of one batch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

N_EVENTS, N_OBJECTS = 600_000, 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts in kilobytes on Linux alone")
def test_training_on_mapped_events_takes_at_most_twice_their_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # Few objects an event make few edges: the training is quick and the events are large beside it.
    nodes = rng.uniform(1.0, 50.0, (N_EVENTS * N_OBJECTS, 7)).astype(np.float32)
    np.save(tmp_path / "nodes.npy", nodes)
    np.save(tmp_path / "offsets.npy", np.arange(0, len(nodes) + 1, N_OBJECTS, dtype=np.int64))
    script = Path(__file__).with_name("memory_use.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(N_EVENTS)], check=True, capture_output=True, text=True
    )
    growth, flat = map(int, done.stdout.split())
    assert flat > 50e6  # large beside the noise of an allocator
    assert growth <= 2 * flat
