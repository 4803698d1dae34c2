import pytest

from breakeven.analysis.cost.accounts import accounts


def held(name, stage, reserved, used=0.0, idle=None, device="cpu"):
    return {"reservation": name, "stage": stage, "device": device, "devices": 2, "reserved_seconds": reserved,
            "used_seconds": used, "idle_seconds": idle, "study": "s", "started": "2026-01-01",
            "ended": "2026-12-31"}  # fmt: skip


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


def test_what_a_killed_driver_had_in_flight_is_told_by_the_records(ledger):
    about = {"reservation": "f", "device": "cpu", "started": "2026-01-01T00:01"}
    ledger.trial("WH_vs_ZH", "scratch", 100, 1, 0.6, record="done", pack=1, device_seconds=6.0, **about)
    ledger.trial("WH_vs_ZH", "scratch", 100, 2, 0.6, record="outlived", pack=2, device_seconds=15.0, **about)
    ledger.trial("WH_vs_ZH", "scratch", 100, 3, 0.6, record="late", pack=3, device_seconds=2.0, reservation="f",
                 device="cpu", started="2026-01-01T00:09")  # fmt: skip
    ledger.trial("WH_vs_ZH", "scratch", 100, 4, 0.6, record="lost", pack=1, device_seconds=5.0, wasted_seconds=3.0,
                 reservation="next", device="cpu", started="2026-01-01T01:00")  # fmt: skip
    killed = held("f", "finetuning", 40.0, idle={"starting": 20.0}) | {
        "ended": "2026-01-01T00:05",
        "in_flight": [
            {"pack": 1, "trials": ["done", "lost", "never begun"], "seconds": 10.0},
            {"pack": 2, "trials": ["outlived"], "seconds": 10.0},
        ],
    }
    next_driver = held("next", "finetuning", 6.0, idle={"starting": 1.0}) | {"ended": "2026-01-01T02", "in_flight": []}
    found = accounts(ledger.frame(), [killed, next_driver]).set_index("stage").loc["all"] * 3600
    # Held: 40 + 6, 5 by the worker that outlived its driver, 2 by the trial that it began after the last sign of life.
    assert found["reserved"] == pytest.approx(40 + 6 + 5 + 2)
    assert found["idle"] == pytest.approx(20 + 1 + (10 - 6 - 3))
    assert found["wasted"] == pytest.approx(3) and found["useful"] == pytest.approx(6 + 15 + 2 + 5)
    assert found["unaccounted"] == pytest.approx(0)


def test_a_trial_that_two_killed_drivers_had_in_flight_lost_its_time_once(ledger):
    ledger.trial("WH_vs_ZH", "scratch", 100, 4, 0.6, record="lost", device_seconds=5.0, wasted_seconds=7.0, pack=1,
                 reservation="c", device="cpu", started="2026-01-01T01:00")  # fmt: skip
    flight = {"ended": "2026-01-01T00:05", "in_flight": [{"pack": 1, "trials": ["lost"], "seconds": 5.0}]}
    killed = [held(name, "finetuning", 5.0, idle={"starting": 0.0}) | flight for name in "ab"]
    last = held("c", "finetuning", 5.0, idle={"starting": 0.0}) | {"ended": "2026-01-01T02", "in_flight": []}
    found = accounts(ledger.frame(), [*killed, last]).set_index("stage").loc["all"] * 3600
    assert found["reserved"] == pytest.approx(15) and found["idle"] == pytest.approx(3)
    assert found["wasted"] == pytest.approx(7) and found["unaccounted"] == pytest.approx(0)


def test_what_a_living_driver_saw_lost_is_not_taken_from_what_was_in_flight(ledger):
    about = {"device": "cpu", "started": "2026-01-01T01:00"}
    ledger.trial("WH_vs_ZH", "scratch", 100, 1, 0.6, record="t", device_seconds=6.0, wasted_seconds=7.0, pack=1,
                 reservation="b", **about)  # fmt: skip
    # A worker of driver a died at t after 4 s; t was in flight again, for 3 s, when a was killed.
    killed = held("a", "finetuning", 7.0, idle={"starting": 0.0}) | {
        "ended": "2026-01-01T00:05", "losses": {"t": 4.0}, "in_flight": [{"pack": 2, "trials": ["t"], "seconds": 3.0}],
    }  # fmt: skip
    last = held("b", "finetuning", 6.0, idle={"starting": 0.0}) | {"in_flight": [], "closed": True}
    found = accounts(ledger.frame(), [killed, last]).set_index("stage").loc["all"] * 3600
    assert found["reserved"] == pytest.approx(13) and found["idle"] == pytest.approx(0)
    assert found["unaccounted"] == pytest.approx(0)


def test_a_workers_clock_that_is_ahead_adds_nothing_to_a_stage_that_ended(ledger):
    ledger.trial("WH_vs_ZH", "scratch", 100, 1, 0.6, device_seconds=6.0, pack=1, reservation="a", device="cpu",
                 started="2027-01-01T00:00")  # fmt: skip
    ended = held("a", "finetuning", 6.0, idle={"starting": 0.0}) | {"closed": True}
    assert accounts(ledger.frame(), [ended])["reserved"].iloc[0] * 3600 == pytest.approx(6)


def test_a_resumed_pretraining_is_one_record_of_two_drivers(ledger):
    ledger.pretraining(device_seconds=150.0, wasted_seconds=2.0, reservation="b", device="cpu")
    found = accounts(ledger.frame(), [held("a", "pretraining", 102.0), held("b", "pretraining", 70.0)])
    row = found.set_index("stage").loc["all"] * 3600
    assert row["idle"] == pytest.approx(20) and row["unaccounted"] == pytest.approx(0)


def test_two_kinds_of_hours_are_never_added(ledger):
    found = accounts(ledger.frame(), [held("g", "generation", 40.0), held("f", "finetuning", 100.0, device="cuda")])
    assert sorted(found[found["stage"] == "all"]["unit"]) == ["cpu_hours", "gpu_hours"]


def test_a_study_that_held_nothing_has_no_accounts(ledger):
    assert not len(accounts(ledger.frame(), []))
