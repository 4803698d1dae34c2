"""What the second published study printed stands beside ours, of the same network, strategy and task."""

from breakeven.analysis.data_efficiency import factors
from breakeven.analysis.published_rejections import DATA_EFFICIENCY, beside
from breakeven.analysis.rejection import working_points
from breakeven.metric import METRICS

REJECTION = METRICS["rejection_90"]


def test_each_figure_stands_beside_ours_at_the_largest_size(ledger) -> None:
    for strategy, values in (("scratch", (5.0, 50.0)), ("finetune", (25.0, 40.0)), ("frozen", (10.0, 20.0))):
        for size, value in zip((100, 1000), values, strict=True):
            about = {"pretraining": "none" if strategy == "scratch" else "xbb", "test_rejection_90": value}
            ledger.trial("HH4b_vs_QCD", strategy, size, 1, 0.9, **about)
    ledger.trial("stop_vs_ttH", "frozen", 1000, 1, 0.9, test_rejection_90=3.0)
    frame = ledger.frame()
    of = {"scratch": factors(frame, merit=REJECTION), "frozen": factors(frame, merit=REJECTION, reference="frozen")}
    table = beside("V", working_points(frame), of)
    shown = {(row["quantity"], row["strategy"]): row for row in table.to_dict("records")}
    frozen = shown[REJECTION.title, "frozen"]
    assert (frozen["published_value"], frozen["published_uncertainty"]) == (170, 20) and frozen["size"] == 1000
    assert frozen["text"] == "20.0 (n=1)" and frozen["pretraining"] == "xbb"
    assert [shown[REJECTION.title, name]["published_value"] for name in ("finetune", "scratch")] == [680, 590]
    saved = shown[f"{DATA_EFFICIENCY} over scratch", "finetune"]
    assert saved["published_value"] == 14 and saved["text"].startswith("0.8") and saved["passing"] == ""
    assert shown[f"{DATA_EFFICIENCY} over frozen", "finetune"]["text"].startswith("more than 1 ")
    assert len(table) == 5 and set(table["task"]) == {"HH4b_vs_QCD"}


def test_nothing_stands_beside_another_network_or_task(ledger) -> None:
    ledger.trial("HH4b_vs_QCD", "frozen", 1000, 1, 0.9, test_rejection_90=3.0, test_rejection_70=9.0)
    ours = working_points(ledger.frame())
    assert beside("", ours, {}).empty and len(beside("S+HLF", ours, {})) == 1
    assert beside("V", ours.assign(task="stop_vs_ttH"), {}).empty
