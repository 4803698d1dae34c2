"""What cluster/kubernetes and cluster/cloud hold, against the schemas of those who read it, and against each other.

No Kubernetes and no cloud runs here. tests/data/deployment/README.md says where the schemas are from.
"""

import configparser
import copy
import gzip
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest
import yaml
from cluster.hosts import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ray.autoscaler._private.util import prepare_config, validate_config

KUBERNETES, CLOUD = ROOT / "cluster" / "kubernetes", ROOT / "cluster" / "cloud"
CLOUDS = {"aws": ("aws RunInstances", {"MinCount": 1, "MaxCount": 1}), "gcp": ("gcp Instance", {})}
"""The call that starts a machine, and what Ray adds to it."""
_STORED = json.loads(gzip.decompress((ROOT / "tests/data/deployment/schemas.json.gz").read_bytes()))


def refused(name: str, content: Any) -> str:
    """What a schema has against this; empty: nothing."""
    checker = jsonschema.Draft202012Validator(_STORED["schemas"][name] | {"$defs": _STORED["$defs"]})
    error = jsonschema.exceptions.best_match(checker.iter_errors(content))
    return f"{error.json_path}: {error.message}"[:300] if error else ""


@cache
def objects() -> list[dict[str, Any]]:
    return [one for file in sorted(KUBERNETES.glob("*.yaml")) for one in yaml.safe_load_all(file.read_text()) if one]


def kind(one: dict[str, Any]) -> str:
    return f"{one['apiVersion']} {one['kind']}"


def found(content: Any, key: str) -> Iterator[Any]:
    """All values of a key, at any depth."""
    if isinstance(content, dict):
        if key in content:
            yield content[key]
        for value in content.values():
            yield from found(value, key)
    elif isinstance(content, list):
        for value in content:
            yield from found(value, key)


def variables() -> list[tuple[str, str]]:
    """Environment variables of all containers; empty where their value is a reference."""
    return [(one["name"], one.get("value", "")) for env in found(objects(), "env") for one in env]


def changed(content: Any, path: str, value: Any) -> Any:
    """A copy with another value at a path as "spec.containers.0.image"; None: with the last part misspelt."""
    content = copy.deepcopy(content)
    *way, last = path.split(".")
    at = content
    for part in way:
        at = at[int(part)] if isinstance(at, list) else at[part]
    if value is None:
        at[f"{last}s"] = at.pop(last)
    else:
        at[last] = value
    return content


@pytest.mark.parametrize("one", objects(), ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_kubernetes_takes_each_object(one: dict[str, Any]) -> None:
    assert not refused(kind(one), one)


@pytest.mark.parametrize(
    ("which", "path", "value"),
    [
        ("RayJob", "spec.rayClusterSpec.workerGroupSpecs.0.minReplicas", None),
        ("RayJob", "spec.backoffLimit", "three"),
        ("RayJob", "spec.rayClusterSpec.authOptions.mode", "password"),
        ("RayJob", "spec.rayClusterSpec.headGroupSpec.template.spec.containers.0.env.1.valueFrom.secretKeyRef.name", 3),
        ("RayJob", "spec.rayClusterSpec.headGroupSpec.template.spec.containers.0.resources.limits.memory", "16 GB"),
        ("Deployment", "spec.template.spec.containers.0.readinessProbe.httpGet", None),
        ("StatefulSet", "spec.serviceName", 5432),
        ("Service", "spec.ports.0.port", "http"),
        ("PersistentVolumeClaim", "spec.accessModes", None),
        ("NetworkPolicy", "spec.podSelector", None),
        ("Namespace", "metadata.labels", ["restricted"]),
        ("PodMonitor", "spec.podMetricsEndpoints.0.relabelings.0.targetLabel", None),
    ],
)
def test_kubernetes_refuses_a_wrong_field(which: str, path: str, value: Any) -> None:
    one = next(one for one in objects() if one["kind"] == which)
    assert path.rpartition(".")[2] in refused(kind(one), changed(one, path, value))


def test_kubernetes_objects_name_what_is_there(tmp_path: Any) -> None:
    subprocess.run([KUBERNETES / "secrets.sh", tmp_path / "secrets"], check=True)
    secrets = {f"{file.parent.name}/{file.name}" for file in (tmp_path / "secrets").glob("*/*")}
    keys = {f"{one['name']}/{one['key']}" for one in found(objects(), "secretKeyRef")}
    keys |= {f"{one['secretName']}/auth_token" for one in found(objects(), "authOptions")}
    assert keys and keys <= secrets
    folders = {one["secretName"] for one in found(objects(), "secret")}
    assert folders and folders <= {key.partition("/")[0] for key in secrets}
    volumes = {one["metadata"]["name"] for one in objects() if one["kind"] == "PersistentVolumeClaim"}
    assert {one["claimName"] for one in found(objects(), "persistentVolumeClaim")} == volumes
    services = [one for one in objects() if one["kind"] == "Service"]
    chosen = [*found(objects(), "matchLabels"), *(one["spec"]["selector"] for one in services)]
    ours = [one for one in chosen if "app" in one]
    assert ours and all(one in [*found(objects(), "labels")] for one in ours)
    job = next(one for one in objects() if one["kind"] == "RayJob")
    address = dict(variables())["MLFLOW_TRACKING_URI"]
    host, port = address.removeprefix("http://").split(":")
    assert (host, int(port)) in {(one["metadata"]["name"], one["spec"]["ports"][0]["port"]) for one in services}
    (allowed,) = (value for name, value in variables() if name == "MLFLOW_SERVER_ALLOWED_HOSTS")
    assert f"{host}:{port}" in allowed.split(",")  # MLflow answers 403 to a host that it was not told of
    assert job["spec"]["rayClusterSpec"]["rayVersion"] in pins()["ray"]
    (study,) = re.findall(r"/opt/breakeven/(\S+)", job["spec"]["entrypoint"])
    assert (ROOT / study).is_file()


def test_no_pod_may_do_more_than_it_needs() -> None:
    pods = [one for one in found(objects(), "spec") if "containers" in one]
    assert len(pods) == 5
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
    (nothing,) = [one for one in objects() if one["metadata"]["name"] == "nothing"]
    assert nothing["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_secrets_are_new_fit_together_and_are_read_by_nobody_else(tmp_path: Any) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for at in (one, other):
        made = subprocess.run([KUBERNETES / "secrets.sh", at], capture_output=True, text=True, check=True)
        assert not made.stdout + made.stderr
    files = [file for file in one.rglob("*") if file.is_file()]
    assert len(files) == 7 and all(not file.stat().st_mode & 0o077 for file in [one, *one.rglob("*")])
    password = (one / "postgres/password").read_text()
    assert len(password) == 64 and password != (other / "postgres/password").read_text()
    accounts = configparser.ConfigParser()
    accounts.read_string((one / "mlflow-server/auth.ini").read_text())
    assert accounts["mlflow"]["database_uri"] == f"postgresql://mlflow:{password}@postgres:5432/mlflow"
    assert accounts["mlflow"]["admin_username"] == (one / "mlflow-user/username").read_text()
    assert accounts["mlflow"]["admin_password"] == (one / "mlflow-user/password").read_text()
    again = subprocess.run([KUBERNETES / "secrets.sh", one], capture_output=True, text=True)
    assert again.returncode == 2 and "not there" in again.stderr
    assert (one / "postgres/password").read_text() == password


def cloud(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CLOUD / f"{name}.yaml").read_text())
    return content


@pytest.mark.parametrize("name", CLOUDS)
def test_ray_and_the_cloud_take_a_cluster(name: str) -> None:
    content = cloud(name)
    validate_config(prepare_config(copy.deepcopy(content)))
    schema, added = CLOUDS[name]
    for node in content["available_node_types"].values():
        assert not refused(schema, node["node_config"] | added)
    head, worker = content["available_node_types"]["head"], content["available_node_types"]["gpu"]
    assert "SPOT" in json.dumps(worker["node_config"]).upper() and "SPOT" not in json.dumps(head["node_config"]).upper()
    assert worker["min_workers"] == worker["max_workers"] == content["max_workers"]
    starts = " ".join(content["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in starts and "--autoscaling-config" in starts


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize(("path", "value"), [("provider.type", None), ("max_workers", "four"), ("file_mounts", None)])
def test_ray_refuses_a_wrong_field(name: str, path: str, value: Any) -> None:
    with pytest.raises((jsonschema.ValidationError, KeyError), match=value or path.rpartition(".")[2]):
        validate_config(prepare_config(changed(cloud(name), path, value)))


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("aws", "InstanceMarketOptions.MarketType", "spots"),
        ("aws", "InstanceMarketOptions", None),
        ("aws", "BlockDeviceMappings.0.Ebs.VolumeSize", "100 GB"),
        ("gcp", "scheduling.provisioningModel", "CHEAP"),
        ("gcp", "scheduling", [{"preemptible": True}]),
        ("gcp", "disks.0.initializeParams.sourceImage", None),
    ],
)
def test_a_cloud_refuses_a_wrong_field(name: str, path: str, value: Any) -> None:
    node = cloud(name)["available_node_types"]["gpu"]["node_config"]
    schema, added = CLOUDS[name]
    assert path.rpartition(".")[2] in refused(schema, changed(node, path, value) | added)


def test_skypilot_takes_a_study() -> None:
    assert not refused("skypilot Task", cloud("sky"))
    for script in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=cloud("sky")[script], text=True, check=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("resources.use_spot", None),
        ("num_nodes", "four"),
        ("secrets.RAY_AUTH_TOKEN", 5),
        ("resources.accelerators", 1),
        ("setup", None),
    ],
)
def test_skypilot_refuses_a_wrong_field(path: str, value: Any) -> None:
    assert path.rpartition(".")[2] in refused("skypilot Task", changed(cloud("sky"), path, value))


def pins() -> dict[str, str]:
    lines = (KUBERNETES / "requirements.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_the_image_pins_all_that_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for asked in map(Requirement, project["dependencies"]):
        assert asked.specifier.contains(pins()[canonicalize_name(asked.name)]), asked


def test_the_image_is_told_what_the_nodes_script_says() -> None:
    image = (KUBERNETES / "Dockerfile").read_text()
    script = (ROOT / "cluster" / "node.sh").read_text()
    exported = " ".join(re.findall(r"^export(?:.*\\\n)*.*", script, re.M))
    settings = set(re.findall(r"\b(?:RAY_|PYTHON)\w+=\w+", exported))
    assert len(settings) > 5 and settings <= set(re.findall(r"\S+=\S+", image))
    assert image.index("ARG BASE=") < image.index("FROM ${BASE}") and "\nUSER 1000:1000\n" in image
    for installed in re.findall(r"pip install (.*)", image):
        assert "-r /opt/requirements.txt" in installed or "--no-deps" in installed
    for copied in re.findall(r"^COPY (.*) \S+$", image, re.M):
        assert all((ROOT / source).exists() for source in copied.split()), copied


def test_no_secret_stands_in_a_file() -> None:
    """Only references: a value beside a name of a secret, or a URI with a password, would be one."""
    for file in [*KUBERNETES.iterdir(), *CLOUD.iterdir()]:
        text = file.read_text()
        assert not re.search(r"//[^/\s:%]+:[^%@\s]+@", text), file
        assert not re.search(r"(?i)(password|token|secret|key)\w*[\"']?\s*[:=]\s*[\"']?[0-9a-f]{16,}", text), file
    secret = re.compile("(PASSWORD|TOKEN|_KEY|USERNAME|STORE_URI)$")
    assert not [name for name, value in variables() if secret.search(name) and value]
    assert os.access(KUBERNETES / "secrets.sh", os.X_OK)
