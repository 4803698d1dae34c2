"""MLflow's model registry: one registered model per study, one version for each backbone that has won.

Writes what it is given; which backbone wins, and what its card says, is decided elsewhere.
"""

import logging
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array

from breakeven.tracking.database import Connection

ALIAS = "winner"
_FOLDER = "backbone"


@dataclass(frozen=True)
class Column:
    """One column of a model's input: whole numbers or not, a list in each row or one number, and their unit."""

    whole: bool
    many: bool
    unit: str


@dataclass(frozen=True)
class Model:
    """A model to be registered.

    name: in the registry.  weights: its folder.  code: Python file that MLflow runs to load it.  columns: of a row of its input.
    width: of the representation.  card: Markdown.  tags: of the version; "backbone" tells versions apart.
    """

    name: str
    weights: Path
    code: Path
    columns: Mapping[str, Column]
    width: int
    card: str
    tags: Mapping[str, str]


def register(connection: Connection, client: MlflowClient, run: str, model: Model) -> bool:
    """Register a model with a run's artifacts, and point the alias `winner` at it; whether there is a new version.

    A version with the same backbone is kept, and its card brought up to date. Raises TrackingUnavailable.
    """
    connection.call(_ensure_registered, client, model.name)
    versions = connection.call(client.search_model_versions, f"name = '{model.name}'")
    known = next((one for one in versions if one.tags.get("backbone") == model.tags["backbone"]), None)
    if known is None:
        with tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / _FOLDER
            _save(built, model)
            connection.call(client.log_artifacts, run, str(built), _FOLDER)
        about: Run = connection.call(client.get_run, run)
        source = f"{about.info.artifact_uri}/{_FOLDER}"
        made = connection.call(client.create_model_version, model.name, source, run, tags=dict(model.tags))
        connection.call(client.update_model_version, model.name, made.version, model.card)
        connection.call(client.set_registered_model_alias, model.name, ALIAS, made.version)
        return True
    if known.description != model.card:
        connection.call(client.update_model_version, model.name, known.version, model.card)
        for tag, value in model.tags.items():
            connection.call(client.set_model_version_tag, model.name, known.version, tag, value)
    if ALIAS not in known.aliases:
        connection.call(client.set_registered_model_alias, model.name, ALIAS, known.version)
    return False


def _ensure_registered(client: MlflowClient, name: str) -> None:
    if not client.search_registered_models(f"name = '{name}'"):
        try:
            client.create_registered_model(name)
        except MlflowException:
            if not client.search_registered_models(f"name = '{name}'"):  # else another driver was first
                raise


def _save(folder: Path, model: Model) -> None:
    """Write the model's folder: MLmodel with its signature, the code, the weights, the card."""
    kinds = {name: DataType.long if one.whole else DataType.double for name, one in model.columns.items()}
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(Array(kinds[name]) if one.many else kinds[name], name) for name, one in model.columns.items()
    ]
    signature = ModelSignature(
        inputs=Schema(columns),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, model.width))]),
        params=ParamSchema([ParamSpec("what", DataType.string, "representation")]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow advises type hints and examples: the signature is given
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(model.code),
            artifacts={"backbone": str(model.weights)},
            signature=signature,
            metadata={"units": {name: one.unit for name, one in model.columns.items()}},
            pip_requirements=[f"mlflow=={mlflow.__version__}", "pandas", "safetensors", "torch==2.13.0"],
        )
    (folder / "README.md").write_text(model.card)


logging.getLogger("mlflow.models.utils").setLevel(logging.ERROR)
