import pytest

from breakeven.analysis.accounts import accounts


def held(name, stage, reserved, used=0.0, idle=None, device="cpu"):
    return {"reservation": name, "stage": stage, "device": device, "devices": 2, "reserved_seconds": reserved,
            "used_seconds": used, "idle_seconds": idle, "study": "s", "started": "2026-01-01"}  # fmt: skip


def test_what_was_held_is_what_was_used_and_what_was_not(ledger):
    ours = {"reservation": "f", "device": "cpu"}
    ledger.trial("WH_vs_ZH", "scratch", 100, 1, 0.6, device_seconds=36.0, wasted_seconds=4.0, **ours)
    ledger.trial("WH_vs_ZH", "finetune", 100, 1, 0.6, device_seconds=30.0, phase="search", **ours)
    ledger.trial("WH_vs_ZH", "finetune", 100, 2, 0.6, device_seconds=3.0, phase="search", outcome="stopped", **ours)
    ledger.trial("WH_vs_ZH", "finetune", 100, 1, 0.6, device_seconds=5.0, outcome="failed", reason="NaN", **ours)
    ledger.trial("WH_vs_ZH", "scratch", 100, 2, 0.6, device_seconds=99.0, reservation="another study's", device="cpu")
    ledger.pretraining(device_seconds=50.0, reservation="p", device="cpu")
    found = accounts(ledger.frame(), [
        held("g", "generation", 40.0, used=30.0),
        held("p", "pretraining", 60.0),
        held("f", "finetuning", 100.0, idle={"starting": 15.0, "ending": 6.0}),
    ]).set_index("stage")  # fmt: skip
    seconds = found[["reserved", "useful", "search", "wasted", "idle", "unaccounted"]] * 3600
    assert seconds.loc["generation"].tolist() == pytest.approx([40, 30, 0, 0, 10, 0])
    assert seconds.loc["pretraining"].tolist() == pytest.approx([60, 50, 0, 0, 10, 0])
    assert seconds.loc["finetuning"].tolist() == pytest.approx([100, 36, 33, 9, 21, 1])
    assert seconds.loc["all"].tolist() == pytest.approx([200, 116, 33, 9, 41, 1])
    assert (found["unit"] == "cpu_hours").all() and list(found.index) == [
        "generation",
        "pretraining",
        "finetuning",
        "all",
    ]


def test_two_kinds_of_hours_are_never_added(ledger):
    found = accounts(ledger.frame(), [held("g", "generation", 40.0), held("f", "finetuning", 100.0, device="cuda")])
    assert sorted(found[found["stage"] == "all"]["unit"]) == ["cpu_hours", "gpu_hours"]


def test_a_study_that_held_nothing_has_no_accounts(ledger):
    assert not len(accounts(ledger.frame(), []))
