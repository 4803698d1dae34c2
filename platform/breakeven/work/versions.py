"""Versions of all that decides a result besides its specification and its events: each is a constant beside its code."""

import importlib.metadata
from collections.abc import Mapping

from breakeven import training
from breakeven.events import arrays, sampling, store
from breakeven.models.spec import version_of
from breakeven.physics import truth


def variables_versions(datasets: Mapping[str, store.Dataset]) -> dict[str, str]:
    """By process, of the high-level variables of its events, where their schema has some."""
    schemas = {name: store.schema_named(one.manifest["schema"], str(one.folder)) for name, one in datasets.items()}
    return {name: schema.high_level.version for name, schema in schemas.items() if schema.high_level is not None}


def schema_versions(datasets: Mapping[str, store.Dataset]) -> dict[str, str]:
    """By process, of what computes labels and derived features, where the schema of its events is a plug-in's."""
    return {name: version for name, one in datasets.items() if (version := store.computed_by(one))}


def trees_versions() -> dict[str, str]:
    """By name, of all that decides a trial with trees but the variables; each is part of its identity."""
    return {
        "trees": str(training.TREES_VERSION),
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
