"""The GPU's benchmark runs as a whole on CPU, in the plain forms, keeps each part, and loses none to another's failure."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from breakeven.benchmarks import forms, gpu, work
from breakeven.benchmarks.forms import Case, NotServed
from breakeven.benchmarks.gpu_rows import markdown
from breakeven.estimate.cards import Card
from breakeven.models import build
from breakeven.training.batches import EventTensors

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def events() -> EventTensors:
    counts = torch.arange(96) % 6 + 1
    generator = torch.Generator().manual_seed(0)
    nodes = torch.rand(int(counts.sum()), 7, generator=generator)
    nodes[:, 0] = 10.0 + 200.0 * nodes[:, 0]
    nodes[:, 2] = math.pi * (2.0 * nodes[:, 2] - 1.0)
    nodes[:, 3] = nodes[:, 0] * 1.5
    return EventTensors(nodes, torch.cat([counts.new_zeros(1), counts.cumsum(0)]))


@pytest.fixture(scope="module")
def target(events: EventTensors) -> torch.Tensor:
    return torch.arange(events.n_events) % 3


@pytest.fixture(scope="module")
def content(events: EventTensors, target: torch.Tensor) -> dict[str, Any]:
    """What a run on CPU keeps, and how often it did."""
    kept: list[int] = []
    content: dict[str, Any] = {"git_commit": "test"}
    sizes = gpu.sizes_for(torch.device("cpu"))
    figures = gpu.Benchmark(events, target, sizes, content, lambda: kept.append(len(content["steps"]))).run()
    return {**content, "kept": kept, "figures": figures}


def test_all_plain_forms_are_measured_and_kept_part_by_part(content: dict[str, Any]) -> None:
    assert content["failed"] == []
    cases = [(step["form"], step["batch"], step["members"]) for step in content["steps"]]
    assert cases == [
        ("eager", 16, 1), ("captured", 16, 1), ("geometric", 16, 1), ("captured", 32, 1), ("captured", 8, 2),
    ]  # fmt: skip
    assert [training["members"] for training in content["trainings"]] == [1, 2]
    assert content["kept"] == sorted(content["kept"]) and 0 in content["kept"] and content["kept"][-1] == 5
    for step in content["steps"]:
        assert step["events_per_second"] == pytest.approx(step["batch"] * step["members"] / step["seconds"])
        assert step["share_of_copy"] > 0.0 and step["share_of_products"] > 0.0
        assert 0.0 < step["edges_per_event"] <= 30.0
    assert content["figures"]["events_per_second_captured_float32_2x8"] == content["steps"][-1]["events_per_second"]
    assert {step["form"] for step in content["steps"]} <= content["definitions"].keys()


def test_plans_can_stand_on_what_was_kept(content: dict[str, Any]) -> None:
    card = Card("here", content)
    assert card.precisions == ("float32",)
    quickest = max(step["events_per_second"] for step in content["steps"] if step["form"] in ("eager", "captured"))
    assert 0.0 < card.events_per_second("float32", 16) <= quickest
    assert "test" in card.provenance and "torch" in card.provenance


def test_the_readme_shows_every_rate(content: dict[str, Any]) -> None:
    shown = markdown(content)
    for step in content["steps"]:
        assert f" {step['events_per_second']:,.0f} |" in shown
    assert (
        "| 2 x 8 |  | " in shown
        and "| networks x batch | eager float32 | captured float32 | geometric float32 |" in shown
    )
    assert shown.count("| float32 |") == len(content["trainings"]) and "by python studies/throughput.py --gpu." in shown


def test_a_part_that_fails_is_told_and_takes_no_other_with_it(
    events: EventTensors, target: torch.Tensor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise MemoryError("no room for this")

    monkeypatch.setattr(gpu.card, "measure", fail)
    content = measure(events, target, forms=("eager", "triton"))
    assert [failed["part"] for failed in content["failed"]] == ["ceilings"]
    assert content["failed"][0]["error"] == "MemoryError: no room for this"
    reason = "triton: the events lie on no CUDA card"
    assert content["left_out"] == [{"part": "agreement of triton in float32", "reason": reason}]
    assert "no room for this" in capsys.readouterr().err
    assert [(step["form"], step["share_of_products"]) for step in content["steps"]] == [("eager", None)]


def test_a_form_that_computes_something_else_is_not_timed(
    events: EventTensors, target: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = forms.gradient_of
    monkeypatch.setattr(
        forms, "gradient_of", lambda case, *rest: right(case, *rest) * (1.1 if case.form == "captured" else 1.0)
    )
    content = measure(events, target, forms=("eager", "captured"))
    assert [step["form"] for step in content["steps"]] == ["eager"]
    (failed,) = content["failed"]
    assert failed["part"] == "agreement of captured in float32"
    assert failed["error"].startswith(
        "FormDisagrees: captured float32 1 x 32: its gradient differs from the network's by 0.1"
    )


def measure(events: EventTensors, target: torch.Tensor, **sizes: Any) -> dict[str, Any]:
    """What a short run keeps."""
    content: dict[str, Any] = {}
    short = replace(gpu.sizes_for(torch.device("cpu")), large=(), packs=(), **sizes)
    gpu.Benchmark(events, target, short, content, lambda: None).run()
    return content


@pytest.mark.parametrize(
    ("form", "batch", "members"), [("eager", 32, 1), ("captured", 32, 1), ("captured", 8, 3), ("geometric", 32, 1)]
)
def test_every_form_has_the_gradient_of_the_network(
    form: forms.Form, batch: int, members: int, events: EventTensors, target: torch.Tensor
) -> None:
    case = Case(form, "float32", batch, members)
    gradient, exact = forms.gradient_of(case, events, target), forms.exact_gradient_of(case, events, target)
    assert float((gradient.double() - exact).norm() / exact.norm()) < 1e-5


def test_a_form_without_packs_says_so(events: EventTensors, target: torch.Tensor) -> None:
    with pytest.raises(NotServed, match="eager has no packs"):
        forms.step_of(Case("eager", "float32", 16, members=2), events, target)


def test_states_are_counted_by_hand() -> None:
    """Two events of 1 and 3 objects: 6 edges, 4 nodes, 2 events; encoder and 4 iterations; five passes; 64 floats each."""
    assert work.state_bytes(build(1), torch.tensor([0, 1, 4]), 4) == 5 * (6 + 4 + 2) * 5 * 64 * 4
