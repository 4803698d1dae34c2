"""Two real gloo processes against one: the same numbers up to floating point, and bit-equal among themselves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from breakeven.training.workers import ALONE

SCRIPT = Path(__file__).with_name("gloo_worker.py")


def test_two_workers_equal_one(tmp_path: Path) -> None:
    commands = [
        [sys.executable, str(SCRIPT), rank, world, str(tmp_path)]
        for rank, world in (("0", "2"), ("1", "2"), ("0", "1"))
    ]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in processes:
        _, errors = process.communicate(timeout=300)  # a hang, however busy the machine
        assert process.returncode == 0, errors

    (first, of_first), (second, of_second), (alone, of_alone) = (
        (load_file(tmp_path / f"{name}.safetensors"), _described(tmp_path / f"{name}.json"))
        for name in ("2-0", "2-1", "1-0")
    )
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    for name, tensor in first.items():
        torch.testing.assert_close(
            tensor, alone[name], rtol=1e-8, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )
    for ours, theirs, expected in zip(of_first["curve"], of_second["curve"], of_alone["curve"], strict=True):
        for key in ("train_loss", "validation_loss", "validation_accuracy", "validation_auc", "device_seconds"):
            assert ours[key] == theirs[key]
        for key in ("train_loss", "validation_loss", "validation_accuracy", "validation_auc"):
            assert ours[key] == pytest.approx(expected[key], rel=1e-9)
        assert ours["events_seen"] == expected["events_seen"]
    assert "event 40 has eta = nan" in of_first["reason"]
    assert of_first["reason"] == of_second["reason"]


def test_alone_exchanges_nothing() -> None:
    rows = torch.rand(3, 2)
    assert ALONE.gather(rows) is rows
    assert ALONE.add_up(rows) is rows
    missing, there = torch.nn.Parameter(rows), torch.nn.Parameter(rows.clone())
    there.grad = rows
    ALONE.sum_gradients([missing, there])
    assert there.grad is rows
    assert torch.equal(missing.grad, torch.zeros(3, 2))  # as with several workers: Adam's momentum goes on


def _described(file: Path) -> Any:
    return json.loads(file.read_text())
