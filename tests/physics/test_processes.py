"""The catalogue is complete and its errors help."""

import pytest

from breakeven.physics.processes import CATALOGUE, PRETRAINING, TASK_ONLY, UnknownProcess, from_lhe, process


def test_catalogue_holds_the_twelve_and_the_four() -> None:
    higgs = ("ggF", "VBF", "WH", "ZH", "ttH", "tHq")
    tops = ("single_top", "ttbar", "ttyy", "ttW", "ttt", "tttt")
    assert (*higgs, *tops) == PRETRAINING
    assert TASK_ONLY == ("ttH_yy_even", "ttH_yy_odd", "stop_pair", "FCNC")
    assert set(CATALOGUE) == {*PRETRAINING, *TASK_ONLY}
    assert all(process(name).name == name for name in CATALOGUE)


def test_no_process_is_a_surrogate() -> None:
    assert {entry.source for entry in CATALOGUE.values()} == {"pythia", "hard_events", "matrix_element"}


def test_cp_tasks_differ_in_the_coupling_alone() -> None:
    even, odd = process("ttH_yy_even"), process("ttH_yy_odd")
    differing = {name for name in vars(even) if getattr(even, name) != getattr(odd, name)}
    assert differing == {"name", "title", "yukawa"}


@pytest.mark.parametrize(
    ("typed", "meant"), [("tth", "ttH"), ("stop", "stop_pair"), ("ttbarr", "ttbar"), ("fcnc", "FCNC")]
)
def test_unknown_name_points_to_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UnknownProcess, match=rf"no process is called '{typed}'; did you mean .*{meant}") as caught:
        process(typed)
    assert isinstance(caught.value, KeyError)


def test_from_lhe_refuses_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="'ttbar' is taken"):
        from_lhe("ttbar", ["events.lhe"])
    with pytest.raises(ValueError, match="'': use letters"):
        from_lhe("", ["events.lhe"])
    with pytest.raises(ValueError, match="non-empty list"):
        from_lhe("mine", [])
    with pytest.raises(ValueError, match="non-empty list"):
        from_lhe("mine", "events.lhe")
