"""Versions of all that decides a result besides its specification and its events: each is a constant beside its code."""

import importlib.metadata

from breakeven import models, training
from breakeven.events import arrays, sampling
from breakeven.physics import truth


def result_versions() -> dict[str, str]:
    """By name; `study.identity` says which of them are part of what."""
    return {
        "network": str(models.NETWORK_VERSION),
        "training": str(training.TRAINING_VERSION),
        "torch": importlib.metadata.version("torch").split(".")[0],
        "features": str(arrays.FEATURES_VERSION),
        "splits": str(sampling.SPLITS_VERSION),
        "subsets": str(sampling.SUBSETS_VERSION),
        "labels": str(truth.LABELS_VERSION),
    }
