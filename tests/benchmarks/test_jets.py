"""The benchmark of jets times two forms of one function, and says what it measured."""

import builtins
import sys
from typing import Any

import pytest
import torch
from models.jet_batches import LEVELS, random_batch

from breakeven.benchmarks import jets as benchmark
from breakeven.benchmarks.timing import Timing
from breakeven.training.batches import EventTensors

SIZE: dict[str, Any] = {"width": 8, "blocks": 1, "class_blocks": 1, "heads": 2, "pairs": (4,)}


def events(longest: int = 90) -> EventTensors:
    jets, offsets, inside, inner = random_batch([(5, 9), (7,), (1, longest, 3)] * 25, dtype=torch.float32)
    return EventTensors(jets, offsets, ((inside, inner),), LEVELS)


def test_padded_inputs_are_those_of_the_flat_form() -> None:
    long = events(120)
    features, vectors, mask = benchmark.padded_inputs(benchmark.single_jets(long), torch.tensor([4, 1, 3]))
    assert features.shape == (3, 17, 100) and vectors.shape == (3, 4, 100)
    assert mask.sum((1, 2)).tolist() == [100.0, 9.0, 1.0]
    jet, constituent = long.nodes[4].double(), long.inner[0][0][22].double()
    assert float(vectors[0, 0, 0]) == pytest.approx(float(constituent[0] * torch.cos(jet[2] + constituent[2])))
    assert not bool(features[1, :, 9:].any())


def test_both_forms_are_measured_and_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("weaver", reason="pip install --no-deps weaver-core==0.5.3")
    monkeypatch.setattr(benchmark, "real_events", lambda *arguments, **named: (events(), None))
    monkeypatch.setattr(benchmark, "SIZES", {32: SIZE})
    content: dict[str, Any] = {}
    figures = benchmark.measure(None, True, content)  # type: ignore[arg-type]
    assert set(figures) == {name.replace("W", "32") for name in benchmark.DEFINITIONS}
    assert figures["difference_32"] < 1e-9
    assert content["jets"] == 150 and [len(row["cpu_seconds"]) for row in content["steps"]] == [3, 3]


def test_forms_that_disagree_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("weaver", reason="pip install --no-deps weaver-core==0.5.3")
    monkeypatch.setattr(benchmark, "real_events", lambda *arguments, **named: (events(), None))
    monkeypatch.setattr(benchmark, "SIZES", {32: SIZE})
    monkeypatch.setattr(benchmark, "_difference", lambda *arguments: 2e-5)
    with pytest.raises(benchmark.FormsDisagree, match="at width 32 by 2e-05"):
        benchmark.measure(None, True, {})  # type: ignore[arg-type]


def test_the_ratio_is_the_median_of_rounds_with_its_spread() -> None:
    flat, padded = (1.0, 2.0, 1.0), (3.0, 8.0, 2.0)
    timings = {"flat": Timing(flat, flat, flat), "padded": Timing(padded, padded, padded)}
    figures = benchmark.figures_of(timings, 32, 100)
    assert figures == {
        "jets_per_core_second_32": 100.0,
        "flat_over_padded_32": 3.0,
        "flat_over_padded_32_low": 2.0,
        "flat_over_padded_32_high": 4.0,
    }


def test_without_weaver_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_weaver(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("weaver"):
            raise ImportError("No module named 'weaver'", name="weaver")
        return real_import(name, *arguments, **options)

    for module in [name for name in sys.modules if name.startswith("weaver")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", no_weaver)
    with pytest.raises(benchmark.NoWeaver, match=r"weaver is not installed.*pip install --no-deps weaver-core==0.5.3"):
        benchmark.measure(None, True, {})  # type: ignore[arg-type]
