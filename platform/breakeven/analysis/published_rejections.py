"""Background rejections as arXiv 2401.13536 has them, to stand beside ours. Never mixed into a mean of ours.

Second-hand: from secondary sources, not checked against the paper's own text.
"""

from collections.abc import Mapping
from importlib.resources import files

import pandas as pd

from breakeven.analysis.columns import columns
from breakeven.metric import METRICS

SETTING = (
    "second-hand (taken from secondary sources); 9.8 million training events of full simulation with pile-up, plain mean of four "
    "trainings"
)
"""What a reader must know of the published figures."""
DATA_EFFICIENCY = "data efficiency"
"""How many times fewer events finetuning needs; against which strategy the sources do not say."""

BESIDE_COLUMNS = columns("""
    task
    representation: what the layers above the backbone are given of each jet
    pretraining strategy size
    quantity: what is measured
    published_value: in arXiv 2401.13536, second-hand
    published_uncertainty: standard deviation over trainings there
    text: ours, at the largest size
    passing: background events that pass of how many, fewest to most over seeds
""")


def beside(representation: str, points: pd.DataFrame, factors: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Each published figure of the tasks that `points` are of, with ours at the largest size that we have it at.

    Args:
        representation: of the network that ours are of.
        points: what rejection.working_points gives of its trials.
        factors: what data_efficiency.factors gives of them, by what is said of its reference.

    Returns:
        Columns: BESIDE_COLUMNS; one row for each pretraining that has the figure, and for each reference of a data efficiency.
    """
    with files(__package__).joinpath("published_rejections.csv").open(encoding="utf-8") as stream:
        printed = pd.read_csv(stream)
    named = {metric.title: metric.name for metric in METRICS.values()}
    tables = [points[points["weighting"] == ""].assign(printed=points["quantity"].map(named))]
    tables += [
        one.assign(quantity=f"{DATA_EFFICIENCY} over {words}", printed=DATA_EFFICIENCY, passing="")
        for words, one in factors.items()
    ]
    rows = []
    for row in printed[printed["representation"] == representation].to_dict("records"):
        for table in tables:
            keys = {"task": row["task"], "strategy": row["strategy"], "printed": row["quantity"]}
            ours = table[(table[list(keys)] == list(keys.values())).all(axis=1)].sort_values("size", kind="stable")
            for own in ours.drop_duplicates("pretraining", keep="last").to_dict("records"):
                about = {"representation": representation, "published_value": row["value"],
                         "published_uncertainty": row["uncertainty"]}  # fmt: skip
                rows.append({name: own.get(name) for name in BESIDE_COLUMNS} | about)
    return pd.DataFrame(rows, columns=list(BESIDE_COLUMNS))
