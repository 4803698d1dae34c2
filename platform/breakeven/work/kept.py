"""What the frozen backbone of a trial says of its samples: kept beside the ledger, for all trials that stand on that backbone."""

from collections.abc import Callable

import torch

from breakeven.fingerprint import fingerprint
from breakeven.ledger.embeddings import Embeddings
from breakeven.study.identity import said
from breakeven.training.loading import load_arrays
from breakeven.training.training import Keep
from breakeven.work.job import TrialJob
from breakeven.work.versions import result_versions

_VERSIONS = ("network", "torch", "features")
"""Those that decide what a backbone says of an event."""


def kept(job: TrialJob) -> Keep | None:
    """Keeps what the backbone says, which all representations, strategies, ratios and trees with its scores begin with.

    None where a trial has no backbone, or one of whole events, which says as much as an event has.
    """
    if job.backbone is None or not job.network.representation:
        return None
    versions = result_versions(job.network.kind)
    about = {
        "backbone": job.trial.identity["backbone"],
        "network": said(job.network.backbone),
        "versions": {name: versions[name] for name in _VERSIONS},
        **({"schema": schema} if (schema := job.trial.identity["versions"].get("schema")) else {}),
    }
    embeddings = Embeddings(job.ledger)

    def keep(events: str, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        name = fingerprint([about, events])
        (tensor,) = load_arrays([embeddings.get(name, lambda: compute().cpu().numpy())], job.device)
        return tensor

    return keep
