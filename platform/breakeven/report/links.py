"""Addresses of a cell's runs in MLflow's own pages, and of its trials on the report's page."""

import re
from urllib.parse import quote

DEFAULT_ADDRESS = "http://127.0.0.1:5000"
"""Where `breakeven ui` serves."""


def runs_path(experiment: str, cell: str) -> str:
    """What follows the server's address: the experiment's runs, only those of trials of this cell.

    cell: `task/pretraining/strategy/size`; with a slash at its end, every size of that family.
    """
    which = f"tags.cell LIKE '{cell}%'" if cell.endswith("/") else f"tags.cell = '{cell}'"
    only = quote(f"{which} AND tags.level = 'trial'")
    return f"/#/experiments/{experiment}/runs?searchFilter={only}"


def anchor(cell: str) -> str:
    """The name of a cell's place on the page; a family's is that of its first cell."""
    return "trials-" + re.sub(r"[^A-Za-z0-9_]+", "-", cell.strip("/"))
