"""Table 3 over ensembles whose similarity is known."""

import numpy as np
import pytest

from breakeven.analysis.ensembles import COLUMNS, MOST_NETWORKS, similarities
from breakeven.analysis.similarity import cka, cka_matrices

EVENTS = 60


@pytest.fixture
def random():
    return np.random.default_rng(4)


class Kept(dict):
    """Representations by record."""

    def read(self, record, digest):
        if digest == "gone":
            raise ValueError(f"{record} cannot be read")
        return self[record]


@pytest.fixture
def kept():
    return Kept()


def network(ledger, kept, task, strategy, seed, layers, **fields):
    row = ledger.trial(task, strategy, 1000, seed, 0.7, **{"representation": "d", "represented_events": "e", **fields})
    kept[row["record"]] = layers
    return row


def test_every_network_is_held_against_those_from_scratch(ledger, kept, random):
    common = random.normal(size=(EVENTS, 5))

    def like(noise):
        return {"encoder": common, "decoder": common + noise * random.normal(size=common.shape)}

    scratch = [like(0.3) for _ in range(3)]
    tuned = [like(2.0) for _ in range(2)]
    for seed, layers in enumerate(scratch, 1):
        network(ledger, kept, "WH_vs_ZH", "scratch", seed, layers)
    for seed, layers in enumerate(tuned, 1):
        network(ledger, kept, "WH_vs_ZH", "finetune", seed, layers)
    ledger.trial("WH_vs_ZH", "scratch", 1000, 4, 0.7)  # kept nothing
    found = similarities(ledger.frame(), kept.read).set_index(["layer", "strategy"])
    assert list(similarities(ledger.frame(), kept.read).columns) == COLUMNS
    same, other = found.loc[("decoder", "scratch")], found.loc[("decoder", "finetune")]
    pairs = [cka(a["decoder"], b["decoder"]) for i, a in enumerate(scratch) for b in scratch[i + 1 :]]
    assert same["cka"] == pytest.approx(np.mean(pairs)) and same["cka_sd"] == pytest.approx(np.std(pairs, ddof=1))
    assert same["with_itself"] == pytest.approx((3 + 2 * sum(pairs)) / 9) and same["n"] == 3
    mixed = [cka(a["decoder"], b["decoder"]) for a in scratch for b in tuned]
    assert other["cka"] == pytest.approx(np.mean(mixed)) and other["n"] == 6 and np.isnan(other["with_itself"])
    honest = [cka(a["decoder"], b["decoder"], unbiased=True) for a in scratch for b in tuned]
    assert other["unbiased"] == pytest.approx(np.mean(honest))
    assert other["low"] < other["cka"] < other["high"] and other["cka"] < same["cka"]
    assert found.loc[("encoder", "finetune"), "cka"] == pytest.approx(1.0)  # identical representations
    assert (same["published"], same["published_uncertainty"]) == (0.90, 0.07)
    assert other["published"] == 0.53 and np.isnan(found.loc[("encoder", "finetune"), "published"])


def test_networks_on_other_events_are_never_compared(ledger, kept, random):
    def any_layers():
        return {"decoder": random.normal(size=(EVENTS, 3))}

    for seed in (1, 2, 3):
        network(ledger, kept, "WH_vs_ZH", "scratch", seed, any_layers())
    network(ledger, kept, "WH_vs_ZH", "finetune", 1, any_layers())
    network(
        ledger, kept, "WH_vs_ZH", "finetune", 2, {"decoder": random.normal(size=(9, 3))}, represented_events="other"
    )
    network(ledger, kept, "WH_vs_ZH", "finetune", 3, any_layers(), representation="gone")
    row = similarities(ledger.frame(), kept.read).set_index("strategy").loc["finetune"]
    assert row["n_networks"] == 1 and "1 networks kept other events" in row["note"] and "cannot be read" in row["note"]
    assert np.isnan(row["low"]) and row["n"] == 3  # one network: its pairs scatter, but no interval for others like it


def test_one_network_from_scratch_has_nothing_to_be_compared_with(ledger, kept, random):
    network(ledger, kept, "WH_vs_ZH", "scratch", 1, {"decoder": random.normal(size=(EVENTS, 3))})
    row = similarities(ledger.frame(), kept.read).iloc[0]
    assert row["n"] == 0 and np.isnan(row["cka"]) and row["with_itself"] == pytest.approx(1.0)


def test_a_layer_that_says_the_same_of_every_event_has_no_similarity(ledger, kept, random):
    for seed in (1, 2):
        layers = {"encoder": np.ones((EVENTS, 3)), "decoder": random.normal(size=(EVENTS, 3))}
        network(ledger, kept, "WH_vs_ZH", "scratch", seed, layers)
    found = similarities(ledger.frame(), kept.read).set_index("layer")
    assert "is constant" in found.loc["encoder", "note"] and found.loc["decoder", "n"] == 1


def test_without_a_baseline_there_is_no_similarity(ledger, kept, random):
    network(ledger, kept, "WH_vs_ZH", "finetune", 1, {"decoder": random.normal(size=(EVENTS, 3))})
    assert similarities(ledger.frame(), kept.read).empty


def test_large_ensembles_are_cut(ledger, kept, random):
    for seed in range(1, MOST_NETWORKS + 3):
        network(ledger, kept, "WH_vs_ZH", "scratch", seed, {"decoder": random.normal(size=(20, 2))})
    assert similarities(ledger.frame(), kept.read)["n_baseline"].item() == MOST_NETWORKS


def test_the_interval_covers_the_mean_of_ensembles_like_these(ledger, kept, random):
    """Two ensembles of four networks each, 200 times: the 90 % interval is a bound from above, so it covers at least that."""
    common = random.normal(size=(40, 3))

    def pool(size):
        noises = random.uniform(0.2, 1.5, size)
        return [common + noise * random.normal(size=common.shape) for noise in noises]

    first, second = pool(60), pool(60)
    every, _ = cka_matrices([*first, *second])
    every = every[:60, 60:]
    from breakeven.analysis.ensembles import _interval

    inside = 0
    for _ in range(200):
        rows, columns = (random.choice(60, 4, replace=False) for _ in range(2))
        low, high = _interval(every[np.ix_(rows, columns)], itself=False)
        inside += low <= every.mean() <= high
    assert inside / 200 >= 0.85
