"""Files as people bring them (tests/data/lhe), each of a kind of fault that was met in the field: what a user expects of each."""

import re
from pathlib import Path

import numpy as np
import pytest

from breakeven.physics import lhe
from breakeven.physics.detector import ObjectKind
from breakeven.physics.generator import Generated, generate
from breakeven.physics.lhe_check import inspect
from breakeven.physics.particles import last_copies
from breakeven.physics.processes import from_lhe
from breakeven.physics.pythia import GenerationError, check_settings

CASES = Path(__file__).parents[1] / "data" / "lhe"


def case(name: str) -> str:
    [path] = CASES.glob(f"{name}_*")
    return str(path)


def made(name: str, n_events: int = 8) -> Generated:
    return generate(from_lhe("mine", [case(name)]), n_events, seed=1)


def changed(folder: Path, name: str, old: str, new: str) -> str:
    """The path of a case with something else in one place."""
    text = Path(case(name)).read_text()
    assert old in text
    path = folder / "mine.lhe"
    path.write_text(text.replace(old, new, 1))
    return str(path)


def missing(events: Generated) -> float:
    """Mean missing transverse momentum in GeV."""
    return float(events.objects.pt[events.objects.kind == ObjectKind.MET].mean())


@pytest.mark.parametrize("name", ["a00", "a08", "a10", "a19", "a20", "a23", "a26", "a27", "a38"])
def test_what_other_programs_read_is_read(name: str) -> None:
    """Fortran's D and lost E, event tags in comments and run cards, files one after the other, wrong suffixes, 1. for 1."""
    found = inspect([case(name)])
    assert (found.n_events, found.n_distinct, found.warnings) == (12, 12, ())
    momentum = lhe.read((case(name),), 0, 12).momentum
    assert np.abs(momentum).max() < 6500.0 and np.allclose(momentum[:2, :2], 0.0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a13", r"event 5, its first line: XWGTUP is nan"),
        ("a40", r"XSECUP is -1 in the <init> block"),
        ("a42", r"holds no events"),
        ("a54", r"event 0: particle 9000006 is unknown to Pythia, and it has no <slha> header"),
    ],
)
def test_what_is_of_no_use_is_refused_with_file_event_and_field(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"{Path(case(name)).name}: {message}"):
        inspect([case(name)])


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("a34", "beams are 2212 at 3500 GeV and 2212 at 3500 GeV"),
        ("a59", "11 of 12 events are exact copies of others"),
        ("a62", r"made for jet matching (ickkw = 1)"),
        ("c02", "particles live up to c tau = 1e+05 mm"),
    ],
)
def test_what_a_physicist_must_know_is_said(name: str, warning: str) -> None:
    [said] = inspect([case(name)]).warnings
    assert said.startswith(f"{case(name)}: ") and warning in said


@pytest.mark.parametrize("name", ["b01", "b02", "b06", "c01", "d04"])
def test_nothing_is_said_where_nothing_is_to_be_said(name: str) -> None:
    assert inspect([case(name)]).warnings == ()


def test_a_negative_weight_is_found_wherever_it_is(tmp_path: Path) -> None:
    text = Path(case("a00")).read_text()
    head, event = text.partition("<event>")[0], re.findall(r"<event>.*?</event>\n", text, re.DOTALL)[0]
    lines = event.splitlines()
    number, process, _, *others = lines[1].split()
    negative = "\n".join([lines[0], " ".join([number, process, "-1.0", *others]), *lines[2:], ""])
    path = tmp_path / "late.lhe"
    path.write_text(f"{head}{event * 600}{negative}{event * 100}</LesHouchesEvents>\n")
    with pytest.raises(ValueError, match=r"late\.lhe: event weights run from -1 \(event 600\) to 1; unweight"):
        inspect([str(path)])


def test_a_file_says_which_program_made_it(tmp_path: Path) -> None:
    assert inspect([case("a00")]).generator == ""
    said = "<generator name='POWHEG' version='2.0'>made it</generator>\n</init>"
    assert inspect([changed(tmp_path, "a00", "</init>", said)]).generator == "POWHEG 2.0"
    found = inspect([changed(tmp_path, "a00", "<header>", "<header>\n# MadGraph5_aMC@NLO, run 1")])
    assert (found.generator, found.n_events) == ("MadGraph5_aMC@NLO", 12)


def test_copies_are_one_hard_event_so_that_a_split_holds_them_all(tmp_path: Path) -> None:
    assert lhe.read((case("a59"),), 0, 12).identity.tolist() == [0] * 12
    both = lhe.read((case("a00"), case("a59")), 0, 24).identity
    assert both[:12].tolist() == list(range(12)) and len(set(both[12:].tolist())) == 1
    with_blanks = changed(tmp_path, "a00", "<event>\n4 1 ", "<event>\n4   1 ")
    assert lhe.read((case("a00"), with_blanks), 0, 24).identity.tolist() == [*range(12), *range(12)]


def test_dark_matter_is_missing_momentum_as_neutrinos_are() -> None:
    """The same kinematics with codes 52 and 12."""
    dark, neutrinos = (made(name) for name in ("b01", "b02"))
    assert missing(dark) == pytest.approx(missing(neutrinos), rel=0.15) and missing(dark) > 250.0


def test_a_new_particle_gets_mass_charge_and_colour_from_the_header_and_is_invisible_without() -> None:
    header = lhe.open_file(case("b06")).slha
    assert lhe.new_particles(header) == {9000100: {1: 0, 2: 2, 3: 1, 4: 1}} and lhe.new_invisible(header) == [9000100]
    assert (
        lhe.new_invisible(header.replace("1 0", "1 3")) == [] and lhe.new_invisible(header.replace("3 1", "3 3")) == []
    )
    assert lhe.new_invisible(header.replace("DECAY 9000100 0.0", "DECAY 9000100 1.0")) == []
    assert missing(made("b06")) > 250.0


@pytest.mark.parametrize(
    ("old", "new"),
    [("QNUMBERS 9000100", "QNUMBERS x"), ("DECAY 9000100 0.0", "DECAY 9000100 wide"), ("\n 1 0\n", "\n 1 zero\n")],
)
def test_a_header_that_cannot_be_read_names_its_file(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(ValueError, match=r"mine\.lhe: the <slha> header cannot be read"):
        inspect([changed(tmp_path, "b06", old, new)])


def test_decays_are_those_of_the_header_and_no_decay_of_the_standard_model_changes(monkeypatch) -> None:
    """The header says that a Z' goes to tau pairs alone: two taus of hundreds of GeV in each event."""
    from breakeven.physics import truth

    seen = []
    kept = truth.truth_of
    monkeypatch.setattr(truth, "truth_of", lambda particles: seen.append(particles) or kept(particles))
    made("d04")
    [particles] = seen
    assert len(last_copies(particles, (15,), min_pt=20.0)) >= 12
    assert not len(last_copies(particles, (6,)))
    assert lhe.open_file(case("d04")).slha.split()[:2] == ["Block", "mass"]


def test_settings_of_pythia_may_be_given_for_a_process() -> None:
    """The header lets a Z' go to tau pairs alone."""
    process = from_lhe("mine", [case("d04")], settings=("32:oneChannel=1 1. 0 13 -13",))
    muons = generate(process, 8, seed=1).objects
    assert (muons.kind == ObjectKind.MUON).sum() >= 8, "what a user asks for stands above the header"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("        6   1   1   2 ", "        6   1  99   2 ", "a mother is one of the 4 particles or 0"),
        ("        6   1   1   2 ", "5000000000   1   1   2 ", "are whole numbers"),
        ("        6   1   1   2 ", "      6.5   1   1   2 ", "are whole numbers"),
        ("4 1 1.0000000e+00", "3 1 1.0000000e+00", r"3 particles announced \(NUP\), 4 are there"),
    ],
)
def test_what_would_end_the_process_or_be_misread_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"mine\.lhe: event 0: .*{message}"):
        inspect([changed(tmp_path, "a00", old, new)])


def test_a_header_makes_no_particle_of_the_standard_model_invisible() -> None:
    header = lhe.open_file(case("b06")).slha
    assert lhe.new_invisible(header.replace("9000100", "13")) == []


@pytest.mark.parametrize("setting", ["Beams:eCM=7000.", "Random:seed=1", "PartonLevel:all=off"])
def test_beams_and_levels_are_not_a_users_to_change(setting: str) -> None:
    with pytest.raises(GenerationError, match="is not free"):
        check_settings([setting])
