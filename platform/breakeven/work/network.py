"""From what a study asks for to the network that learns it, and to the weights that it stands on: the only place that does."""

import torch

from breakeven.feature import Levels
from breakeven.models import EVENT_GRAPH
from breakeven.models.backbone import Backbone
from breakeven.models.spec import NetworkSpec
from breakeven.study.spec import Network
from breakeven.training.checkpoint import read_weights
from breakeven.training.content import CorruptCheckpoint, content_hash
from breakeven.work.job import TrialJob


def spec_of(network: Network) -> NetworkSpec:
    """The network of a study in the words of models."""
    if network.kind != EVENT_GRAPH:
        represented = {"representation": network.representation} if network.representation else {}
        return NetworkSpec(network.kind, {**network.options, **represented})
    names = ("engine", "hidden", "iterations", "shared_blocks", "log_momenta", "initialisation")
    return NetworkSpec(EVENT_GRAPH, {name: getattr(network, name) for name in names})


def build_network(network: Network, levels: Levels, n_outputs: int, seed: int = 0) -> Backbone:
    """A fresh network for events with these features. Raises ValueError where it cannot take them, UnknownNetwork."""
    return spec_of(network).build(levels, n_outputs, seed)


def pretrained(job: TrialJob) -> dict[str, torch.Tensor] | None:
    """The weights that a trial stands on, None from scratch; raises CorruptCheckpoint where the folder has others by now."""
    if job.backbone is None:
        return None
    if (there := content_hash(job.backbone)) != (asked := job.trial.identity["backbone"]):
        raise CorruptCheckpoint(
            f"{job.backbone}: the weights there hash to {there}, and the trial stands on {asked}: they were trained again "
            "meanwhile; start the study again"
        )
    return read_weights(job.backbone)
