"""The Kubernetes base as kustomize would render it, without kustomize: a bare machine has none.

Only what the base uses is understood: resources, a namespace and labels. A test compares with kubectl.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

Manifest = dict[str, Any]

BASE = Path(__file__).parents[2] / "deploy" / "k8s" / "base"
VERSION = "1.36"  # the newest whose schemas are in the lock
WORKLOADS = {"Deployment", "StatefulSet", "Job", "CronJob"}
UNDERSTOOD = {"apiVersion", "kind", "namespace", "labels", "resources"}


def rendered(base: Path = BASE) -> list[Manifest]:
    """Every manifest of the base, complete, in the order of the files."""
    asked = yaml.safe_load((base / "kustomization.yaml").read_text())
    assert set(asked) <= UNDERSTOOD, f"not understood here: {set(asked) - UNDERSTOOD}"
    found = [m for name in asked["resources"] for m in yaml.safe_load_all((base / name).read_text())]
    for manifest in found:
        if manifest["kind"] != "Namespace":
            manifest["metadata"]["namespace"] = asked["namespace"]
        for labels in asked["labels"]:
            _label(manifest, labels["pairs"])
    return found


def _label(manifest: Manifest, pairs: dict[str, str]) -> None:
    manifest["metadata"].setdefault("labels", {}).update(pairs)
    if manifest["kind"] == "CronJob":
        manifest["spec"]["jobTemplate"].setdefault("metadata", {}).setdefault("labels", {}).update(pairs)
    if manifest["kind"] in WORKLOADS:
        template(manifest)["metadata"]["labels"].update(pairs)


def template(manifest: Manifest) -> Manifest:
    """What the pods of a workload are made from."""
    spec = manifest["spec"]["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else manifest["spec"]
    found: Manifest = spec["template"]
    return found


def wrong(manifest: Manifest) -> str:
    """What the Kubernetes API would refuse, unknown fields included; '' when it would take it."""
    try:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as problem:
        return str(getattr(problem, "message", problem))
    return ""
