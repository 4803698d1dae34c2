"""JetClass files of a user: what of them becomes an event, and one clear error for each of what can be wrong with one."""

from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from jetclass_files import KINDS, changed, columns_of, plain_columns, write

from breakeven.physics.jets import jetclass
from breakeven.physics.jets.generator import JetEvents
from breakeven.physics.particles import event_of

COUNTS = [3, 0, 130, 1, 2]


def test_jets_come_back_as_they_were(jet_sample: Callable[[str, int], JetEvents], tmp_path: Path) -> None:
    made = jet_sample("jet_Hbb", 60)
    columns = columns_of(made, "label_Hbb")
    assert (made.jets.eta < 0).sum() > 10
    path = str(write(tmp_path / "hbb.root", columns))
    read = jetclass.read(path, 0, 60)
    for name in ("pt", "eta", "phi", "soft_drop_mass"):
        np.testing.assert_allclose(getattr(read.jets, name), getattr(made.jets, name), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(read.jets.mass, made.jets.mass, rtol=1e-3)
    assert (read.jets.counts == 1).all() and np.array_equal(
        read.jets.constituents.counts, made.jets.constituents.counts
    )
    order = np.lexsort((-made.jets.constituents.pt, event_of(made.jets.constituents.counts)))
    for name in ("pt", "eta", "phi", "d0", "d0_error", "dz", "dz_error", "charge", "kind"):
        found, wanted = getattr(read.jets.constituents, name), getattr(made.jets.constituents, name)[order]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5, err_msg=name)
    # what JetClass says of the direction, with its sign turned back
    eta = np.repeat(read.jets.eta, read.jets.constituents.counts)
    said = ak.to_numpy(ak.flatten(columns["part_deta"][:, ::-1]))[order]
    np.testing.assert_allclose(read.jets.constituents.eta - eta, said * np.where(eta > 0, 1, -1), atol=1e-5)
    assert (read.truth.bb == 1).all() and (read.truth.n_b == 2).all() and (read.weight == 1).all()


@pytest.mark.parametrize(("label", "bb", "n_b"), [("label_QCD", 0, 0), ("label_Tbl", 0, 1), ("label_Hcc", 0, 0)])
def test_labels_say_what_is_inside(label: str, bb: int, n_b: int, tmp_path: Path) -> None:
    read = jetclass.read(str(write(tmp_path / "a.root", plain_columns([2, 3], label))), 0, 2)
    assert read.truth.bb.tolist() == [bb] * 2 and read.truth.n_b.tolist() == [n_b] * 2


def test_jets_without_constituents_are_left_out_and_the_hardest_hundred_kept(tmp_path: Path) -> None:
    columns = plain_columns(COUNTS)
    path = str(write(tmp_path / "a.root", columns))
    assert jetclass.count(path) == (4, 1, 1)
    read = jetclass.read(path, 0, 4)
    assert read.jets.constituents.counts.tolist() == [3, 100, 1, 2]
    np.testing.assert_allclose(read.jets.pt, columns["jet_pt"][[0, 2, 3, 4]], rtol=1e-6)
    pt = np.hypot(columns["part_px"][2], columns["part_py"][2])
    np.testing.assert_allclose(read.jets.constituents.pt[3:103], np.sort(pt)[:-101:-1], rtol=1e-6)
    found = jetclass.inspect(path)
    assert (found.n_jets, found.n_empty, found.n_cut, found.classes) == (4, 1, 1, {"QCD": 4}) and not found.warnings
    assert found.in_words == (
        "4 jets (QCD 4), 1 without constituents are left out, of 1 with more constituents the hardest 100 are kept"
    )


def test_slices_are_those_of_the_whole_and_there_are_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write(tmp_path / "a.root", plain_columns([1, 0, 2] * 20)))
    whole = jetclass.read(path, 0, 40)
    monkeypatch.setattr(jetclass, "_BLOCK", 7)
    parts = [jetclass.read(path, first, 10) for first in range(0, 40, 10)]
    for name in ("pt", "mass"):
        assert np.array_equal(np.concatenate([getattr(part.jets, name) for part in parts]), getattr(whole.jets, name))
    assert np.concatenate([part.hard_event for part in parts]).tolist() == whole.hard_event.tolist()
    assert jetclass.inspect(path).n_jets == 40
    with pytest.raises(
        ValueError, match=r"a\.root: 40 jets with constituents, but jets 35 to 44 are asked for; bring more"
    ):
        jetclass.read(path, 35, 10)


def test_copies_have_one_number_and_are_told(tmp_path: Path) -> None:
    columns = plain_columns([4, 5, 6])
    twice = {
        name: ak.concatenate([values, values[:2]])
        if isinstance(values, ak.Array)
        else np.concatenate([values, values[:2]])
        for name, values in columns.items()
    }
    path = str(write(tmp_path / "a.root", changed(twice, "part_d0val", entry=4, value=0.7)))
    numbers = jetclass.read(path, 0, 5).hard_event
    assert numbers[3] == numbers[0] and len(set(numbers)) == 4
    (warning,) = jetclass.inspect(path).warnings
    assert warning.startswith(f"{path}: 1 of 5 jets are exact copies of others: they share a split")


def test_jets_beyond_ours_are_told(tmp_path: Path) -> None:
    columns = plain_columns([4, 5])
    columns["jet_pt"][0], columns["jet_energy"][0] = 1700, 5000
    (warning,) = jetclass.inspect(str(write(tmp_path / "a.root", columns))).warnings
    assert "to 1,700 GeV" in warning and "our own single jets 500 to 1000 GeV and 2" in warning


def test_a_mixed_file_says_its_classes_and_another_kind_of_tree_is_read(tmp_path: Path) -> None:
    columns = plain_columns([1, 2, 3])
    columns = changed(changed(columns, "label_QCD", 1, False), "label_Hbb", 1, True)
    with uproot.recreate(tmp_path / "rntuple.root") as file:
        file["tree"] = columns  # which uproot writes as an RNTuple
    trees = [str(write(tmp_path / "ttree.root", columns)), str(tmp_path / "rntuple.root")]
    one, other = (jetclass.read(path, 0, 3) for path in trees)
    assert jetclass.inspect(trees[0]).classes == jetclass.inspect(trees[1]).classes == {"QCD": 2, "Hbb": 1}
    assert one.hard_event.tolist() == other.hard_event.tolist() and one.truth.bb.tolist() == [0, 1, 0]


VALUES = [
    ("part_px", 2, np.nan, r"entry 2: part_px is nan: numbers must be finite"),
    ("part_dzerr", 4, np.inf, r"entry 4: part_dzerr is inf: numbers must be finite"),
    ("jet_sdmass", 3, np.nan, r"entry 3: jet_sdmass is nan: numbers must be finite"),
    ("part_d0err", 0, -0.1, r"entry 0: part_d0err is -0\.1: an error in mm is not negative"),
    ("part_charge", 2, 3, r"entry 2: part_charge is 3: a charge is -1, 0 or 1"),
    ("part_pz", 2, 1e30, r"entry 2: part_pz is 1e\+30: its eta is within 10 of the jet's"),
    (KINDS[4], 4, 1, r"entry 4: the sum of part_isChargedHadron to part_isMuon is 2: exactly one of them is set"),
    ("jet_pt", 0, -5, r"entry 0: jet_pt is -5: a transverse momentum in GeV is above 0"),
    ("jet_eta", 2, 11, r"entry 2: jet_eta is 11: it lies between -10 and 10"),
    ("jet_phi", 2, 3.5, r"entry 2: jet_phi is 3\.5: it lies between -pi and pi"),
    ("jet_energy", 3, 20, r"entry 3: jet_energy is 20: it is not below the jet's momentum"),
    ("label_QCD", 3, 0, r"entry 3: the sum of label_QCD to label_Tbl is 0: exactly one of them is set"),
    ("label_Hbb", 4, 1, r"entry 4: the sum of label_QCD to label_Tbl is 2: exactly one of them is set"),
]


@pytest.mark.parametrize(("name", "entry", "value", "message"), VALUES, ids=[f"{one[0]} {one[2]}" for one in VALUES])
def test_a_value_that_cannot_be_is_named(name: str, entry: int, value: float, message: str, tmp_path: Path) -> None:
    path = str(write(tmp_path / "mine.root", changed(plain_columns(COUNTS), name, entry, value)))
    with pytest.raises(ValueError, match=rf"mine\.root: {message}; leave the jet out or make it again"):
        jetclass.inspect(path)
    with pytest.raises(ValueError, match=rf"mine\.root: {message}"):
        jetclass.read(path, 0, 4)


def test_a_value_of_a_jet_that_is_left_out_does_not_matter(tmp_path: Path) -> None:
    path = str(write(tmp_path / "mine.root", changed(plain_columns(COUNTS), "jet_pt", 1, np.nan)))
    assert jetclass.inspect(path).n_jets == 4


def test_a_constituent_without_momentum_is_named(tmp_path: Path) -> None:
    columns = changed(changed(plain_columns(COUNTS), "part_px", 4, 0.0, place=1), "part_py", 4, 0.0, place=1)
    with pytest.raises(ValueError, match=r"entry 4: part_px is 0: a constituent has a transverse momentum above 0"):
        jetclass.inspect(str(write(tmp_path / "mine.root", columns)))


def test_lists_of_unequal_length_are_named(tmp_path: Path) -> None:
    columns = plain_columns(COUNTS)
    columns["part_dzval"] = columns["part_dzval"][:, :2]
    with pytest.raises(ValueError, match=r"mine\.root: entry 0: part_dzval has 2 values, part_charge 3"):
        jetclass.inspect(str(write(tmp_path / "mine.root", columns)))


def test_a_branch_that_is_missing_or_of_another_kind_is_named(tmp_path: Path) -> None:
    columns = plain_columns(COUNTS)
    few = {name: values for name, values in columns.items() if name not in ("part_d0err", "label_Tbl")}
    with pytest.raises(ValueError, match=r"few\.root: the tree has no part_d0err, label_Tbl: write the jets with the"):
        jetclass.inspect(str(write(tmp_path / "few.root", few)))
    flat = {**columns, "part_pz": columns["jet_pt"]}
    with pytest.raises(ValueError, match=r"flat\.root: part_pz is float32 of each jet, not a list of numbers"):
        jetclass.inspect(str(write(tmp_path / "flat.root", flat)))
    lists = {**columns, "jet_phi": columns["part_px"]}
    with pytest.raises(ValueError, match=r"lists\.root: jet_phi is var \* float32 of each jet, not a number"):
        jetclass.inspect(str(write(tmp_path / "lists.root", lists)))
    with pytest.raises(ValueError, match=r"other\.root: it has no tree of the name 'tree', but Events: write"):
        jetclass.inspect(str(write(tmp_path / "other.root", columns, tree="Events")))


def test_what_is_no_file_of_jets_is_named(tmp_path: Path) -> None:
    text = tmp_path / "text.root"
    text.write_text("not jets\n" * 100)
    with pytest.raises(ValueError, match=r"text\.root: cannot be read as a ROOT file \(not a ROOT file: .*b'not '"):
        jetclass.inspect(str(text))
    with pytest.raises(FileNotFoundError, match=r"gone\.root: no such file; give the path of an existing ROOT file"):
        jetclass.inspect(str(tmp_path / "gone.root"))
    with pytest.raises(ValueError, match=r"empty\.root: holds no jet with constituents, of 2 entries"):
        jetclass.inspect(str(write(tmp_path / "empty.root", plain_columns([0, 0]))))


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_named(part: float, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.root", plain_columns([5] * 200)).read_bytes()
    cut = tmp_path / "cut.root"
    cut.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(
        ValueError, match=r"cut\.root: (truncated, [\d,]+ bytes of [\d,]+ are there|cannot be read).*copy or make"
    ):
        jetclass.inspect(str(cut))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "whole.root", plain_columns([5] * 400)).read_bytes())
    middle = len(content) // 2
    content[middle - 3000 : middle + 3000] = b"\x55" * 6000
    path = tmp_path / "damaged.root"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.root: (cannot be read as a ROOT file|entry \d+)"):
        jetclass.inspect(str(path))
