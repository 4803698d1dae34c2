"""What the second published study printed stands beside ours, of the same network, strategy and task."""

import pandas as pd

from breakeven.analysis.data_efficiency import factors
from breakeven.analysis.passing import NOTHING, rejections
from breakeven.analysis.published_rejections import DATA_EFFICIENCY, beside
from breakeven.metric import METRICS

REJECTION = METRICS["rejection_90"]


def counted(task: str, strategy: str, size: int, passed: int) -> dict:
    about = {
        "task": task,
        "pretraining": "none" if strategy == "scratch" else "xbb",
        "strategy": strategy,
        "size": size,
    }
    row = (
        dict.fromkeys(NOTHING.columns, "")
        | about
        | {"record": f"{strategy}{size}", "seed": 1, "metric": "rejection_90"}
    )
    share = passed / 1000
    return row | {"passed": passed, "background": 1000, "effective": float(passed), "share": share,
                  "share_low": share / 2, "share_high": 2 * share}  # fmt: skip


def test_each_figure_stands_beside_ours_at_the_largest_size(ledger) -> None:
    for strategy, values in (("scratch", (5.0, 50.0)), ("finetune", (25.0, 50.0)), ("frozen", (10.0, 20.0))):
        for size, value in zip((100, 1000), values, strict=True):
            about = {"pretraining": "none" if strategy == "scratch" else "xbb", "test_rejection_90": value}
            ledger.trial("HH4b_vs_QCD", strategy, size, 1, 0.9, **about)
    frame = ledger.frame()
    passed = [counted("HH4b_vs_QCD", name, size, n) for name, n in (("scratch", 20), ("finetune", 20), ("frozen", 50))
              for size in (100, 1000)]  # fmt: skip
    passed.append(counted("another", "frozen", 1000, 10))
    of = {"scratch": factors(frame, merit=REJECTION), "frozen": factors(frame, merit=REJECTION, reference="frozen")}
    table = beside("V", rejections(pd.DataFrame(passed)), of)
    shown = {(row["quantity"], row["strategy"]): row for row in table.to_dict("records")}
    frozen = shown[REJECTION.title, "frozen"]
    assert (frozen["published_value"], frozen["published_uncertainty"]) == (170, 20) and frozen["size"] == 1000
    assert frozen["text"] == "20.0 (n=1)" and frozen["passing"] == "50 of 1,000" and frozen["pretraining"] == "xbb"
    assert [shown[REJECTION.title, name]["published_value"] for name in ("finetune", "scratch")] == [680, 590]
    saved = shown[f"{DATA_EFFICIENCY} over scratch", "finetune"]
    assert saved["published_value"] == 14 and saved["text"].startswith("1 ") and saved["passing"] == ""
    assert shown[f"{DATA_EFFICIENCY} over frozen", "finetune"]["text"].startswith("more than 1 ")
    assert len(table) == 5 and set(table["task"]) == {"HH4b_vs_QCD"}


def test_nothing_stands_beside_another_network_or_task() -> None:
    ours = rejections(pd.DataFrame([counted("HH4b_vs_QCD", "frozen", 1000, 50)]))
    assert beside("", ours, {}).empty and len(beside("S+HLF", ours, {})) == 1
    assert beside("V", rejections(pd.DataFrame([counted("stop_vs_ttH", "frozen", 1000, 50)])), {}).empty
