"""Which classes a backbone was taught, by the events that its record names."""

from breakeven.analysis.exposure import exposures


def test_tasks_are_seen_half_seen_and_unseen_by_the_processes_that_were_taught(ledger) -> None:
    for process in ("WH", "ZH", "ttH", "stop_pair", "FCNC", "tHq"):
        ledger.generation(process, dataset=f"d-{process}")
    ledger.pretraining("first", backbone="b1", dataset="d-WH")
    ledger.pretraining("second", backbone="b2", start="b1", dataset="d-ZH+d-ttH")
    for pretraining in ("first", "second"):
        for task in ("WH_vs_ZH", "stop_vs_ttH", "FCNC_vs_tHq"):
            ledger.trial(task, "finetune", 100, 1, 0.7, pretraining=pretraining)
    found = exposures(ledger.frame()).set_index(["pretraining", "task"])["exposure"]
    assert found["first"].to_dict() == {"WH_vs_ZH": "half-seen", "stop_vs_ttH": "unseen", "FCNC_vs_tHq": "unseen"}
    assert found["second"].to_dict() == {"WH_vs_ZH": "seen", "stop_vs_ttH": "half-seen", "FCNC_vs_tHq": "unseen"}, (
        "what it started from was taught too"
    )


def test_of_classes_of_several_processes_some_may_have_been_taught(ledger) -> None:
    for process in ("WH", "ZH", "ttH", "tHq"):
        ledger.generation(process, dataset=f"d-{process}")
    taught = {"part": "d-WH+d-ttH", "half": "d-WH+d-ZH+d-ttH", "none": "d-tHq"}
    for name, dataset in taught.items():
        ledger.pretraining(name, backbone=f"b-{name}", dataset=dataset)
        ledger.trial("of_several", "finetune", 100, 1, 0.7, pretraining=name, signal="WH+ZH", background="ttH+ttW")
    found = exposures(ledger.frame()).set_index("pretraining")["exposure"]
    assert found.to_dict() == {"part": "partly seen", "half": "half-seen", "none": "unseen"}


def test_events_that_no_record_names_are_not_guessed(ledger) -> None:
    ledger.generation("WH", dataset="d-WH")
    ledger.pretraining(dataset="d-WH+d-elsewhere")
    ledger.trial("WH_vs_ZH", "finetune", 100, 1, 0.7)
    assert exposures(ledger.frame())["exposure"].tolist() == [""]
    assert exposures(ledger.frame()[:0]).empty
