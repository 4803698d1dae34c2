import numpy as np
import pytest

from breakeven.events.sampling import (
    Split,
    TooFewEvents,
    assign_splits,
    count_hard_events,
    effective_number,
    subset,
)


def test_splits_have_their_shares_and_never_depend_on_the_size():
    many = assign_splits("ttH", np.arange(100_000))
    shares = [np.mean(many == split) for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)]
    np.testing.assert_allclose(shares, [0.60, 0.15, 0.25], atol=0.01)
    np.testing.assert_array_equal(assign_splits("ttH", np.arange(500)), many[:500])
    assert (assign_splits("WH", np.arange(1000)) != many[:1000]).any()


def test_copies_of_one_hard_event_stay_together():
    hard_event = np.tile(np.arange(50), 20)
    split = assign_splits("tttt", hard_event).reshape(20, 50)
    assert (split == split[0]).all()


def test_a_subset_is_a_function_of_seed_and_name_and_grows_by_adding():
    rows = np.arange(1000, 3000)
    small, large = subset(rows, 100, 7, "WH"), subset(rows, 500, 7, "WH")
    assert set(small) <= set(large) <= set(rows) and len(set(large)) == 500
    np.testing.assert_array_equal(small, subset(rows, 100, 7, "WH"))
    assert set(small) != set(subset(rows, 100, 8, "WH"))


def test_no_subset_of_training_rows_can_hold_a_test_event():
    split = assign_splits("WH", np.arange(5000))
    train = np.flatnonzero(split == Split.TRAIN)
    for seed in range(20):
        assert (split[subset(train, 500, seed, "WH")] == Split.TRAIN).all()


def test_too_few_events_say_how_many_there_are():
    with pytest.raises(TooFewEvents, match="ttH: 1,000 events asked for, 600 there; generate more"):
        subset(np.arange(600), 1000, 1, "ttH")


@pytest.mark.parametrize("size", [0, -5])
def test_a_size_below_one_is_refused(size):
    with pytest.raises(ValueError, match=f"a sample of {size} events"):
        subset(np.arange(10), size, 1, "ttH")


def test_the_effective_number_is_what_the_variance_of_a_mean_says():
    random = np.random.default_rng(3)
    hard_event = random.integers(0, 40, 90)
    shared, own = random.normal(size=(20_000, 40))[:, hard_event], random.normal(size=(20_000, 90))
    for correlation in (0.0, 0.3, 1.0):
        values = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
        assert 1 / values.mean(axis=1).var() == pytest.approx(effective_number(hard_event, correlation), rel=0.05)


@pytest.mark.parametrize(
    ("hard_event", "expected"), [([], 0), ([5], 1), ([3, 1, 2], 3), ([1, 1, 2, 2], 2), ([1, 1, 1, 2], 1.6)]
)
def test_effective_numbers_by_hand(hard_event, expected):
    assert effective_number(np.array(hard_event, np.int64)) == pytest.approx(expected)


def test_hard_events_are_counted_by_split():
    hard_event = np.concatenate([np.arange(2000), np.arange(1000)])
    counts = count_hard_events("ttt", hard_event)
    assert list(counts) == ["train", "validation", "test"]
    assert sum(part["events"] for part in counts.values()) == 3000
    assert sum(part["hard_events"] for part in counts.values()) == 2000
    for part in counts.values():
        once, twice = 2 * part["hard_events"] - part["events"], part["events"] - part["hard_events"]
        assert part["effective"] == pytest.approx((once + 2 * twice) ** 2 / (once + 4 * twice), abs=0.05)
