"""The one-standard-error rule, held to its formula written out."""

import numpy as np
import pytest

from breakeven.analysis import frame as ledger_frame
from breakeven.analysis.cost.baseline import better_baseline, network_ahead
from breakeven.analysis.event_scores import NONE, SharedEvents
from breakeven.metric import METRICS

ACCURACY = METRICS["accuracy"]
NETWORK = (0.700, 0.706, 0.712)
AHEAD = 0.006
"""Of the network, on average."""


def cells(ledger, trees):
    """Trials of a network from scratch and of trees, with these validation accuracies by seed."""
    for seed, (one, other) in enumerate(zip(NETWORK, trees, strict=True), start=1):
        events = {"test_events": 4000.0, "validation_events": 1000.0}
        ledger.trial("stop_vs_ttH", "scratch", 100, seed, 0.5, validation_accuracy=one, **events)
        ledger.trial(
            "stop_vs_ttH", "trees", 100, seed, 0.5, pretraining="none", validation_accuracy=other,
            kernel="scikit-learn", **events
        )  # fmt: skip
    confirmed = ledger_frame.confirmed(ledger.frame())
    return [confirmed[confirmed["strategy"] == name] for name in ("trees", "scratch")], confirmed


@pytest.mark.parametrize(("scatter", "good"), [(0.011, True), (0.010, False)])
def test_trees_are_as_good_within_one_standard_error_over_seeds(ledger, scatter: float, good: bool) -> None:
    """Differences AHEAD + (-s, 0, s): their mean has the standard error s / sqrt(3), .0064 or .0058 beside .006."""
    (trees, network), confirmed = cells(
        ledger, [one - AHEAD + s for one, s in zip(NETWORK, (-scatter, 0, scatter), strict=True)]
    )
    differences = network["validation_accuracy"].to_numpy() - trees["validation_accuracy"].to_numpy()
    assert (differences.mean() <= differences.std(ddof=1) / np.sqrt(3)) == good
    assert (network_ahead(network, trees, ACCURACY, NONE) <= 0) == good
    assert set(better_baseline(confirmed, ACCURACY, NONE)["strategy"]) == {"trees" if good else "scratch"}


@pytest.mark.parametrize(("error", "good"), [(0.0031, True), (0.0029, False)])
def test_the_validation_sample_has_an_error_too(ledger, error: float, good: bool) -> None:
    """All seeds differ alike. A test sample four times as large with a paired error e means 2 e on validation events."""
    (trees, network), _ = cells(ledger, [one - AHEAD for one in NETWORK])
    assert network_ahead(network, trees, ACCURACY, NONE) > 0
    place = {record: (0, n) for n, record in enumerate([*network["record"], *trees["record"]])}
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = error**2  # of the network's trials among each other; trees err on no event
    shared = SharedEvents(place, [{"accuracy": covariance}])
    assert (network_ahead(network, trees, ACCURACY, shared) <= 0) == good


def test_without_common_seeds_the_means_decide_and_without_figures_the_other(ledger) -> None:
    (trees, network), _ = cells(ledger, NETWORK)
    elsewhere = trees.assign(seed=trees["seed"] + 10)
    assert network_ahead(network, elsewhere, ACCURACY, NONE) <= 0
    assert network_ahead(network, elsewhere.assign(validation_accuracy=0.7), ACCURACY, NONE) > 0
    assert network_ahead(network, trees.assign(validation_accuracy=np.nan), ACCURACY, NONE) > 0
    assert network_ahead(network.assign(validation_accuracy=np.nan), trees, ACCURACY, NONE) <= 0


def test_a_merit_that_validation_events_do_not_measure_gives_way_to_the_area(ledger) -> None:
    """As a rejection, which too few of them pass for: without it neither would ever be ahead."""
    (trees, network), _ = cells(ledger, NETWORK)
    rejection = METRICS["rejection_90"]
    better, worse = (trees.assign(validation_auc=trees["validation_accuracy"] + more) for more in (0.2, -0.2))
    network = network.assign(validation_auc=network["validation_accuracy"])
    assert network_ahead(network, better, rejection, NONE) == -1 and network_ahead(network, worse, rejection, NONE) == 1
    assert network_ahead(network, better, ACCURACY, NONE) == 0, "where it is measured it decides itself"
