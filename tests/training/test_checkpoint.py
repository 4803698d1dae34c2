"""Checkpoints: nothing is lost, nothing is half there, and what does not fit says so."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from breakeven.models import build
from breakeven.models.weights import WeightsDoNotFit, load_weights
from breakeven.training import checkpoint
from breakeven.training.checkpoint import TrainingState
from breakeven.training.content import CorruptCheckpoint, content_hash
from breakeven.training.recipe import Epoch, Recipe, Strategy


def some_state(epochs: int = 2) -> TrainingState:
    curve = tuple(Epoch(k, 1.5, 0.1 + k, 10 * (k + 1), 0.7, 0.6, 0.5, math.nan, 1e-4) for k in range(epochs))
    weights = dict(build(1, seed=epochs).state_dict())
    moments = {"step.head.weight": torch.tensor(3.0), "exp_avg.head.weight": torch.rand(1, 64)}
    recipe = Recipe(patience=None, learning_rate=0.1 + 0.2)
    return TrainingState(recipe, Strategy("frozen"), curve, 0, weights, weights, moments)


def test_a_training_comes_back_as_it_was(tmp_path: Path) -> None:
    state = some_state()
    checkpoint.write_state(tmp_path / "run", state)
    back = checkpoint.read_state(tmp_path / "run")
    assert (back.recipe, back.strategy, back.best_epoch) == (state.recipe, state.strategy, 0)
    assert [replace(epoch, validation_auc=0.0) for epoch in back.curve] == [
        replace(epoch, validation_auc=0.0) for epoch in state.curve
    ]
    assert all(math.isnan(epoch.validation_auc) for epoch in back.curve)
    for name in ("weights", "best_weights", "moments"):
        tensors, expected = getattr(back, name), getattr(state, name)
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensor, expected[key]) for key, tensor in tensors.items())


def test_the_newest_state_counts_and_older_ones_go(tmp_path: Path) -> None:
    for epochs in (1, 2, 3):
        checkpoint.write_state(tmp_path, some_state(epochs))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00003"]
    assert len(checkpoint.read_state(tmp_path).curve) == 3


def test_a_folder_that_was_not_copied_whole_is_passed_over(tmp_path: Path) -> None:
    partial = {"losses": torch.ones(3, dtype=torch.float64), "seconds": torch.ones(2, dtype=torch.float64)}
    folders = [tmp_path / name for name in ("1", "2", "3", "4")]
    for epochs, folder in enumerate(folders[:3], 1):
        checkpoint.write_state(folder, replace(some_state(epochs), partial=partial if epochs == 2 else {}))
    folders[3].mkdir()
    next(folders[2].rglob("weights.safetensors")).write_bytes(b"cut")
    found = checkpoint.newest_state(folders)
    assert found is not None and (len(found.curve), len(found.losses)) == (2, 3)
    next(folders[1].rglob("partial.safetensors")).unlink()  # without it, it would pass for the end of an epoch
    found = checkpoint.newest_state(folders)
    assert found is not None and len(found.curve) == 1
    assert checkpoint.newest_state(folders[3:]) is None


def test_a_training_that_starts_anew_in_the_same_folder_replaces_the_old_one(tmp_path: Path) -> None:
    checkpoint.write_state(tmp_path, some_state(1))
    other = replace(some_state(1), recipe=Recipe(seed=8))
    checkpoint.write_state(tmp_path, other)
    assert checkpoint.read_state(tmp_path).recipe.seed == 8
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00001"]


def test_a_writer_killed_half_way_leaves_the_last_whole_state(tmp_path: Path) -> None:
    checkpoint.write_state(tmp_path, some_state(1))
    half = tmp_path / ".epoch-00002.1234abcd.partial"
    half.mkdir()
    (half / "weights.safetensors").write_bytes(b"half")
    assert len(checkpoint.read_state(tmp_path).curve) == 1


def test_a_model_comes_back_in_either_engine(tmp_path: Path) -> None:
    model = build(3, seed=4, shared_blocks=True, log_momenta=False, iterations=2)
    model.scaling.node_mean.fill_(2.0)
    checkpoint.write_model(tmp_path / "model", model, {"dataset": "abc"})
    back, dgl = checkpoint.read_model(tmp_path / "model"), build(**model.config(), engine="dgl")
    load_weights(dgl, checkpoint.read_weights(tmp_path / "model"), source="the model")
    for same in (back, dgl):
        assert same.config() == model.config()
        assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in same.state_dict().items())
    assert json.loads((tmp_path / "model" / "model.json").read_text())["about"] == {"dataset": "abc"}


def test_the_hash_is_of_the_weights_and_nothing_else(tmp_path: Path) -> None:
    model = build(1, seed=4)
    checkpoint.write_model(tmp_path / "one", model, {"when": "today"})
    checkpoint.write_model(tmp_path / "two", model, {"when": "tomorrow"})
    first = content_hash(tmp_path / "one")
    assert len(first) == 16
    assert content_hash(tmp_path / "two") == first
    with torch.no_grad():
        model.decoder.norm.bias[0] += 1e-7
    checkpoint.write_model(tmp_path / "three", model)
    assert content_hash(tmp_path / "three") != first


def test_the_hash_names_types_and_shapes_as_torch_does(tmp_path: Path) -> None:
    types = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    weights = {f"{dtype}".removeprefix("torch."): torch.ones(2, 3).to(dtype) for dtype in types}
    weights["one"] = torch.tensor(7)
    tmp_path.joinpath("model.json").write_text('{"model": {"width": 3}}')
    tmp_path.joinpath("weights.safetensors").write_bytes(save(weights))
    digest = hashlib.sha256(b'{"width": 3}')
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    assert content_hash(tmp_path) == digest.hexdigest()[:16]


def test_weights_that_were_changed_are_no_other_weights(tmp_path: Path) -> None:
    checkpoint.write_model(tmp_path / "model", build(1, seed=4))
    file = tmp_path / "model" / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-100:] = bytes(100)
    file.write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match=r"weights\.safetensors: the weights hash to .* changed since; delete"):
        content_hash(tmp_path / "model")


def test_missing_and_broken_files_say_which_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        checkpoint.read_state(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"model\.json is missing"):
        checkpoint.read_model(tmp_path / "nothing")
    checkpoint.write_state(tmp_path / "run", some_state(1))
    newest = tmp_path / "run" / "epoch-00001"
    whole = (newest / "weights.safetensors").read_bytes()
    (newest / "weights.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptCheckpoint, match=r"weights\.safetensors is no whole"):
        checkpoint.read_state(tmp_path / "run")
    (newest / "weights.safetensors").write_bytes(whole)
    (newest / "state.json").write_text("{}")
    with pytest.raises(CorruptCheckpoint, match="another version"):
        checkpoint.read_state(tmp_path / "run")
    (newest / "state.json").write_text("{")
    with pytest.raises(CorruptCheckpoint, match=r"state\.json is no whole"):
        checkpoint.read_state(tmp_path / "run")


def test_a_weight_file_of_another_model_is_refused_with_its_misfits(tmp_path: Path) -> None:
    checkpoint.write_model(tmp_path / "model", build(12, iterations=2))
    with pytest.raises(WeightsDoNotFit, match=r"(?s)missing: blocks\.2.*shape: head\.weight is \[12, 64\]"):
        load_weights(build(1), checkpoint.read_weights(tmp_path / "model"), source="the file")
