"""The 41 labels, against values worked out by hand, and the truth of real events."""

from collections.abc import Callable

import numpy as np
import pytest

from breakeven.physics.generator import Generated
from breakeven.physics.truth import LABEL_NAMES, N_MULTIPLICITIES, Truth, labels, take

MISSING = (np.nan, np.nan, np.nan)


def truth_by_hand() -> Truth:
    """One event with a Higgs and a top, one with two tops."""
    return Truth(
        n_higgs=np.array([1, 0], np.int8),
        n_top=np.array([1, 2], np.int8),
        n_w=np.array([1, 2], np.int8),
        n_z=np.array([1, 0], np.int8),
        higgs=np.array([(250.0, -2.0, 0.1), MISSING], np.float32),
        top1=np.array([(29.0, 1.6, -3.0), (100.0, -0.1, -0.1)], np.float32),
        top2=np.array([MISSING, (301.0, 0.1, 3.0)], np.float32),
    )


def test_names_are_41_and_unique() -> None:
    assert len(LABEL_NAMES) == len(set(LABEL_NAMES)) == 41
    assert LABEL_NAMES[:N_MULTIPLICITIES] == ("n_higgs", "n_top", "n_v", "n_w", "n_z")


def test_labels_by_hand() -> None:
    vector = labels(truth_by_hand())
    assert vector.shape == (2, 41)
    assert vector.dtype == np.float32
    on = [{LABEL_NAMES[place] for place in range(N_MULTIPLICITIES, 41) if row[place]} for row in vector]
    assert vector[:, :N_MULTIPLICITIES].tolist() == [[1, 1, 2, 1, 1], [0, 2, 2, 2, 0]]
    assert on[0] == {
        *("higgs_present", "higgs_pt_bin_2", "higgs_eta_bin_0", "higgs_phi_bin_2"),
        *("top1_present", "top1_pt_bin_0", "top1_eta_bin_3", "top1_phi_bin_0"),
    }
    assert on[1] == {
        *("top1_present", "top1_pt_bin_1", "top1_eta_bin_1", "top1_phi_bin_1"),
        *("top2_present", "top2_pt_bin_2", "top2_eta_bin_2", "top2_phi_bin_3"),
    }


def test_take_keeps_events_whole() -> None:
    swapped = take(truth_by_hand(), np.array([1, 0]))
    assert swapped.n_top.tolist() == [2, 1]
    assert np.array_equal(labels(swapped), labels(truth_by_hand())[::-1])


@pytest.mark.parametrize("name", ["ttH", "tttt", "ggF", "tHq"])
def test_targets_of_real_events(name: str, sample: Callable[[str], Generated]) -> None:
    truth = sample(name).truth
    assert np.array_equal(~np.isnan(truth.higgs[:, 0]), truth.n_higgs >= 1)
    assert np.array_equal(~np.isnan(truth.top1[:, 0]), truth.n_top >= 1)
    assert np.array_equal(~np.isnan(truth.top2[:, 0]), truth.n_top >= 2)
    both = truth.n_top >= 2
    assert (truth.top1[both, 0] >= truth.top2[both, 0]).all()
    binary = labels(truth)[:, N_MULTIPLICITIES:]
    assert set(np.unique(binary)) <= {0.0, 1.0}
    # a present target fills presence and one bin each of pT, eta and phi
    filled = binary.reshape(len(binary), 3, 12).sum(axis=2)
    assert set(np.unique(filled)) <= {0.0, 4.0}
