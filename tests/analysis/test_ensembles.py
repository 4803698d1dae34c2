"""Table 3 over ensembles whose similarity is known."""

import numpy as np
import pytest
from scipy import stats

from breakeven.analysis.ensembles import COLUMNS, FINAL, MOST_NETWORKS, _interval, similarities
from breakeven.analysis.similarity import cka_matrices

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
    kept_as = {"representation": f"hash {len(kept)}", "represented_events": "e"}
    row = ledger.trial(task, strategy, 1000, seed, 0.7, **{**kept_as, **fields})
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
    assert list(similarities(ledger.frame(), kept.read).columns) == list(COLUMNS)
    same, other = found.loc[("decoder", "scratch")], found.loc[("decoder", "finetune")]
    pairs = [
        cka_matrices([a["decoder"], b["decoder"]])[0][0, 1] for i, a in enumerate(scratch) for b in scratch[i + 1 :]
    ]
    assert same["cka"] == pytest.approx(np.mean(pairs)) and same["cka_sd"] == pytest.approx(np.std(pairs, ddof=1))
    assert same["with_itself"] == pytest.approx((3 + 2 * sum(pairs)) / 9) and same["n"] == 3
    mixed = [cka_matrices([a["decoder"], b["decoder"]])[0][0, 1] for a in scratch for b in tuned]
    assert other["cka"] == pytest.approx(np.mean(mixed)) and other["n"] == 6 and np.isnan(other["with_itself"])
    honest = [cka_matrices([a["decoder"], b["decoder"]])[1][0, 1] for a in scratch for b in tuned]
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
    assert row["n"] == 0 and np.isnan(row["cka"])
    assert np.isnan(row["with_itself"]), "1.0 would only say that it is like itself"


def test_a_layer_that_says_the_same_of_every_event_has_no_similarity(ledger, kept, random):
    for seed in (1, 2):
        layers = {"encoder": np.ones((EVENTS, 3)), "decoder": random.normal(size=(EVENTS, 3))}
        network(ledger, kept, "WH_vs_ZH", "scratch", seed, layers)
    found = similarities(ledger.frame(), kept.read).set_index("layer")
    assert "is constant" in found.loc["encoder", "note"] and found.loc["decoder", "n"] == 1
    assert (
        found.loc["encoder", "note"].startswith("no network from scratch is left; ") and not found.loc["encoder", "n"]
    )


def test_one_constant_network_is_left_out_and_named(ledger, kept, random):
    def any_layers():
        return {"encoder": random.normal(size=(EVENTS, 3)), "decoder": random.normal(size=(EVENTS, 3))}

    for seed in (1, 2, 3):
        network(ledger, kept, "WH_vs_ZH", "scratch", seed, any_layers())
    dead = network(ledger, kept, "WH_vs_ZH", "finetune", 1, {**any_layers(), "decoder": np.zeros((EVENTS, 3))})
    network(ledger, kept, "WH_vs_ZH", "finetune", 2, any_layers())
    network(ledger, kept, "WH_vs_ZH", "finetune", 3, any_layers(), represented_events="other")
    network(ledger, kept, "WH_vs_ZH", "frozen", 1, {**any_layers(), "decoder": np.zeros((EVENTS, 3))})
    found = similarities(ledger.frame(), kept.read).set_index(["strategy", "layer"])
    tuned = found.loc[("finetune", "decoder")]
    assert tuned["n_networks"] == 1 and tuned["n"] == 3 and tuned["cka"] > 0.0
    assert f"{dead['record']} left out: is constant" in tuned["note"]
    assert "1 networks kept other events" in tuned["note"], "a note does not hide another"
    assert found.loc[("finetune", "encoder"), "n_networks"] == 2 and found.loc[("scratch", "decoder"), "n"] == 3
    assert "left out" not in found.loc[("scratch", "decoder"), "note"], "of another treatment"
    frozen = found.loc[("frozen", "decoder")]
    assert frozen["n"] == 0 and np.isnan(frozen["cka"]) and "no network is left" in frozen["note"]


def test_seeds_of_a_frozen_backbone_are_one_network(ledger, kept, random):
    same = {"decoder": random.normal(size=(EVENTS, 3))}
    for seed in (1, 2, 3):
        network(ledger, kept, "WH_vs_ZH", "scratch", seed, {"decoder": random.normal(size=(EVENTS, 3))})
        network(ledger, kept, "WH_vs_ZH", "frozen", seed, same, representation="always the same")
    found = similarities(ledger.frame(), kept.read).set_index("strategy")
    frozen = found.loc["frozen"]
    assert frozen["n_networks"] == 1 and frozen["n"] == 3 and np.isnan(frozen["low"])
    assert frozen["note"] == "3 seeds have the same layers: counted once" and found.loc["scratch", "note"] == ""


@pytest.mark.parametrize("tuned", ["kept", "gone"])
def test_a_baseline_that_cannot_be_read_is_said_and_not_left_away(ledger, kept, random, tuned):
    layers = {"decoder": random.normal(size=(EVENTS, 3))}
    for seed in (1, 2):
        network(ledger, kept, "WH_vs_ZH", "scratch", seed, layers, representation="gone")
    network(ledger, kept, "WH_vs_ZH", "finetune", 1, layers, representation=tuned)
    found = similarities(ledger.frame(), kept.read).set_index("strategy")
    assert list(found.index) == ["scratch", "finetune"] and set(found["layer"]) == {FINAL} and not found["n"].any()
    note = f"{2 + (tuned == 'gone')} cannot be read: trial00000 cannot be read; no network from scratch can be read"
    note = note.replace("trial00000", ledger.rows[2 if tuned == "gone" else 0]["record"])
    assert set(found["note"]) == {note} and found["n_unreadable"].all()


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
    inside = 0
    for _ in range(200):
        rows, columns = (random.choice(60, 4, replace=False) for _ in range(2))
        low, high = _interval(every[np.ix_(rows, columns)], itself=False)
        inside += low <= every.mean() <= high
    assert inside / 200 >= 0.85


@pytest.mark.parametrize("n", [3, 4, 6])
def test_the_interval_of_one_ensemble_covers_the_mean_over_its_pairs(random, n):
    """n networks from scratch against each other, 1,000 times."""
    common = random.normal(size=(40, 3))
    pool = [common + noise * random.normal(size=common.shape) for noise in random.uniform(0.2, 1.5, 100)]
    every, _ = cka_matrices(pool)
    truth = every[np.triu_indices(len(pool), 1)].mean()
    inside = 0
    for _ in range(1000):
        drawn = random.choice(len(pool), n, replace=False)
        low, high = _interval(every[np.ix_(drawn, drawn)], itself=True)
        inside += low <= truth <= high
    assert 0.85 <= inside / 1000 <= 0.97


@pytest.mark.parametrize(
    ("matrix", "itself"),
    [([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]], True), ([[0.9, 0.0], [0.0, 0.0]], False)],
)
def test_the_ends_of_an_interval_are_alignments(matrix, itself):
    assert _interval(np.array(matrix), itself) == (0.0, 1.0)


def test_the_variance_of_one_ensemble_is_that_of_its_jackknife(random):
    n = 5
    matrix = 0.5 + np.corrcoef(random.normal(size=(n, 30))) / 10
    without = [np.delete(np.delete(matrix, i, 0), i, 1)[np.triu_indices(n - 1, 1)].mean() for i in range(n)]
    low, high = _interval(matrix, itself=True)
    error = np.sqrt((n - 1) * np.var(without))
    assert (high - low) / 2 == pytest.approx(stats.t.isf(0.05, n - 1) * error)
