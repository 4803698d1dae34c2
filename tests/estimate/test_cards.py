"""Speeds of cards that are not here: what was measured comes back, what lies between is between, nothing is made up."""

from dataclasses import replace
from typing import Any

import pytest

from breakeven.estimate import cards
from breakeven.estimate.cards import Card, UnknownCard, card
from breakeven.estimate.speeds import ELSEWHERE
from breakeven.study.spec import Finetuning, Network, Pretraining, Study


def step(form: str, batch: int, rate: float, members: int = 1, precision: str = "tf32") -> dict[str, Any]:
    return {"form": form, "precision": precision, "batch": batch, "members": members, "events_per_second": rate,
            "edges_per_event": 40.0}  # fmt: skip


CARD = Card("test", {"iterations": 4, "steps": [
    step("captured", 64, 1000.0), step("captured", 1024, 4000.0), step("geometric", 64, 9e9),
    step("triton", 1024, 64_000.0), step("triton", 4096, 256_000.0), step("triton", 64, 40_000.0, members=16),
    step("triton", 64, 160_000.0, members=64), step("eager", 64, 10.0, precision="float32"),
]})  # fmt: skip


def test_measured_rates_come_back_and_others_lie_between() -> None:
    assert CARD.events_per_second("tf32", 1024) == pytest.approx(64_000)
    assert CARD.events_per_second("tf32", 2048) == pytest.approx(128_000)  # a power law between its neighbours
    assert CARD.events_per_second("tf32", 64_000) == pytest.approx(256_000)  # above the largest, an event takes as long
    assert CARD.events_per_second("tf32", 64) == pytest.approx(4000)  # below the smallest, a step does
    assert CARD.events_per_second("float32", 32) == pytest.approx(5)
    assert CARD.precisions == ("float32", "tf32")
    with pytest.raises(ValueError, match="test was not measured in bfloat16; choose float32, tf32"):
        CARD.events_per_second("bfloat16", 64)


def test_packs_are_never_slower_than_their_members_one_after_the_other() -> None:
    assert CARD.events_per_second("tf32", 64, 16) == pytest.approx(40_000)
    assert CARD.events_per_second("tf32", 64, 32) == pytest.approx(80_000)
    assert CARD.events_per_second("tf32", 64, 1000) == pytest.approx(160_000)
    assert CARD.events_per_second("tf32", 4096, 16) == pytest.approx(256_000)
    assert CARD.largest_pack("tf32") == 64 and CARD.largest_pack("float32") == 1


def test_work_goes_with_edges_iterations_and_the_share_of_a_batch() -> None:
    study = Study(pretraining=Pretraining(batch_size=4096), finetuning=Finetuning(batch_size=64))

    def speeds(study: Study = study, batch: float = 4096, pack: int = 16, edges: float | None = None):
        return CARD.speeds(study, ELSEWHERE, precision="tf32", pack=pack, batch=batch, edges_per_event=edges)

    alone = speeds()
    assert (alone.trained.value, alone.pretrained.value) == pytest.approx((40_000, 256_000))
    assert alone.generated == ELSEWHERE.generated and "test" in alone.origin
    assert speeds(edges=80.0).trained.value == pytest.approx(20_000)
    assert speeds(replace(study, network=Network(iterations=2))).pretrained.value == pytest.approx(512_000)
    assert speeds(batch=1024).pretrained.value == pytest.approx(64_000)  # each has batches of 1,024
    assert speeds(pack=10_000).trained.value == speeds(pack=64).trained.value


@pytest.mark.parametrize("name", cards.cards())
def test_every_card_that_ships_can_be_read_and_says_where_it_comes_from(name: str) -> None:
    found = card(name)
    assert found.precisions and found.edges_per_event > 0.0 and found.iterations > 0
    for precision in found.precisions:
        assert found.events_per_second(precision, 64) < found.events_per_second(precision, 1024)
    for word in (found.content["card"], found.content["measured"], "torch", found.content["git_commit"]):
        assert word in found.provenance


def test_a_card_that_was_never_measured_has_no_figures(tmp_path, monkeypatch) -> None:
    with pytest.raises(UnknownCard, match=r"--on v100: this card was never measured; choose .*h200"):
        card("v100")
    (tmp_path / "old.json").write_text('{"schema": 0}')
    monkeypatch.setattr(cards, "_folder", lambda: tmp_path)
    with pytest.raises(UnknownCard, match=r"cards/old\.json has schema 0, this version reads 1"):
        card("old")
