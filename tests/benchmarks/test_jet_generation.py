"""The benchmark of generation tries as many collisions with Pythia alone as the whole chain does, and says what it measured."""

from typing import Any

import pytest

from breakeven.benchmarks import jet_generation as benchmark
from breakeven.physics.jets import generator


def test_both_are_measured_on_as_many_collisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "EVENTS", 50)
    for module in (benchmark, generator):
        monkeypatch.setattr(module, "BATCH", 20)
    monkeypatch.setattr(benchmark, "PROCESSES", ("QCD_600_800",))
    content: dict[str, Any] = {}
    figures = benchmark.measure(True, content)
    assert set(figures) == {name.replace("_P", "_QCD_600_800") for name in benchmark.DEFINITIONS}
    whole, pythia = content["generation"]
    assert (whole["work"], pythia["work"]) == ("whole", "pythia") and whole["events"] == 25
    assert whole["tried"] == pythia["tried"] >= 25
    assert all(value > 0 for value in figures.values())


def test_figures_are_medians_of_rounds() -> None:
    figures = benchmark.figures_of("P", 100, (1.0, 2.0, 4.0), (0.5, 0.5, 4.0))
    assert figures == {"tried_per_core_second_P": 50.0, "generation_over_pythia_P": 2.0}
