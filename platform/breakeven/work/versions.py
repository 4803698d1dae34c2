"""Versions of all that decides a result besides its specification and its events: each is a constant beside its code."""

import importlib.metadata

from breakeven import training
from breakeven.events import arrays, sampling
from breakeven.models.spec import version_of
from breakeven.physics import truth, variables


def trees_versions() -> dict[str, str]:
    """By name, of all that decides a trial with trees; each is part of its identity."""
    return {
        "trees": str(training.TREES_VERSION),
        "variables": str(variables.VARIABLES_VERSION),
        "sklearn": ".".join(importlib.metadata.version("scikit-learn").split(".")[:2]),
        "splits": str(sampling.SPLITS_VERSION),
        "subsets": str(sampling.SUBSETS_VERSION),
    }


def result_versions(kind: str) -> dict[str, str]:
    """By name, for a kind of network; `study.identity` says which of them are part of what."""
    return {
        "network": version_of(kind),
        "training": str(training.TRAINING_VERSION),
        "torch": importlib.metadata.version("torch").split(".")[0],
        "features": str(arrays.FEATURES_VERSION),
        "splits": str(sampling.SPLITS_VERSION),
        "subsets": str(sampling.SUBSETS_VERSION),
        "labels": str(truth.LABELS_VERSION),
    }
