"""The benchmark's events are real, and a study's datasets stay as they are."""

from pathlib import Path

import pytest
import torch

from breakeven.benchmarks import sample
from breakeven.events import store
from breakeven.events.source import Source


@pytest.fixture
def short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    def recipe(source: Source) -> store.Recipe:
        return store.Recipe(source, shard_events=30)

    monkeypatch.setattr(sample, "Recipe", recipe)


@pytest.mark.usefixtures("short_shards")
def test_events_are_made_once_and_larger_datasets_kept(tmp_path: Path) -> None:
    generated: list[str] = []
    events, process = sample.real_events(tmp_path, names=("WH", "ZH"), on_generation=generated.append)
    assert (generated, events.n_events) == (["WH", "ZH"], 60)
    assert process.tolist() == [0] * 30 + [1] * 30
    recipe = sample.Recipe(sample.source("WH"))
    store.make_shard(recipe, tmp_path, 1)
    store.complete(recipe, tmp_path, 2)
    again, _ = sample.real_events(tmp_path, names=("WH", "ZH"), on_generation=generated.append)
    assert len(generated) == 2
    assert torch.equal(again.nodes, events.nodes)
    assert store.open_dataset(recipe.folder(tmp_path)).n_events == 60
