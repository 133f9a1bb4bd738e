"""The Kubernetes base: valid to the last field, hardened, and agreeing with the code it starts."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from ingest import door
from millrace import service
from millrace.sealing.providers import FORBIDDEN
from tests.support.manifests import BASE, WORKLOADS, Manifest, rendered, template, wrong

ROOT = BASE.parents[2]
ALL = rendered()
PODS = [m for m in ALL if m["kind"] in WORKLOADS]
RUNNING = [m for m in PODS if m["kind"] not in ("Job", "CronJob")]
ROLES = {  # workload → kind, replicas at least, module
    "ingest": ("Deployment", 3, "ingest"),
    "outbox-relay": ("Deployment", 2, "outbox_relay"),
    "entitlement": ("StatefulSet", 2, "entitlement"),
    "ledger": ("StatefulSet", 2, "ledger"),
    "dunning": ("StatefulSet", 2, "dunning"),
}


def name(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def named(kind: str, name: str) -> Manifest:
    (found,) = [m for m in ALL if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


def pod(manifest: Manifest) -> dict[str, Any]:
    spec: dict[str, Any] = template(manifest)["spec"]
    return spec


def container(manifest: Manifest) -> dict[str, Any]:
    (only,) = pod(manifest)["containers"]
    return dict(only)


# --- valid ---


@pytest.mark.parametrize("manifest", ALL, ids=name)
def test_kubernetes_would_take_it(manifest: Manifest) -> None:
    assert wrong(manifest) == ""


def spoil(kind: str, name: str, change: Callable[[Any], object]) -> Manifest:
    manifest = copy.deepcopy(named(kind, name))
    change(manifest)
    return manifest


MISTAKES: dict[str, Manifest] = {
    "a misspelt field": spoil("Deployment", "ingest", lambda m: pod(m).update(serviceAcountName="x")),
    "a misspelt field deep inside": spoil(
        "StatefulSet",
        "ledger",
        lambda m: pod(m)["containers"][0]["livenessProbe"].update(periodSecond=1),
    ),
    "a text for a number": spoil("Deployment", "ingest", lambda m: m["spec"].update(replicas="three")),
    "a missing selector": spoil("StatefulSet", "dunning", lambda m: m["spec"].pop("selector")),
    "an unknown kind": spoil("Job", "migrate-0-1-0", lambda m: m.update(kind="Jobs")),
    "an unknown version": spoil("Job", "migrate-0-1-0", lambda m: m.update(apiVersion="batch/v9")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str) -> None:
    assert wrong(MISTAKES[mistake]) != ""


def kustomized() -> list[Manifest]:
    """What kustomize makes of the base, where kubectl is found; a bare machine has only our own rendering."""
    if not (kubectl := shutil.which("kubectl")):
        return rendered()
    ran = subprocess.run([kubectl, "kustomize", str(BASE)], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(ran.stdout))


def test_kustomize_renders_the_same() -> None:
    assert {name(m): m for m in kustomized()} == {name(m): m for m in ALL}


def test_every_file_of_the_base_is_listed() -> None:
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    assert {path.name for path in BASE.glob("*.yaml")} == {*listed, "kustomization.yaml"}
    assert len({name(m) for m in ALL}) == len(ALL)


# --- one workload a role ---


def test_each_role_has_its_workload() -> None:
    assert {m["metadata"]["name"] for m in RUNNING} == set(ROLES)
    for role, (kind, replicas, module) in ROLES.items():
        workload = named(kind, role)
        assert workload["spec"]["replicas"] >= replicas
        assert container(workload)["args"] == [module]
        assert importlib.util.find_spec(f"{module}.__main__"), f"python -m {module}"
        assert "volumeClaimTemplates" not in workload["spec"]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_loses_one_pod_at_a_time(role: str) -> None:
    budget = named("PodDisruptionBudget", role)["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert budget["selector"] == named(ROLES[role][0], role)["spec"]["selector"]


def test_the_migration_carries_the_release_and_runs_once() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    job = named("Job", f"migrate-{version.replace('.', '-')}")
    assert container(job)["command"] + container(job)["args"] == ["millrace", "migrate"]
    assert pod(job)["restartPolicy"] == "Never"
    for manifest in RUNNING:
        assert "initContainers" not in pod(manifest)


DAILY = {  # CronJob → what it types, and with whose rights
    "partitions": (["events", "partitions", "--make"], "ingest-database"),
    "outbox-days": (["relay", "partitions", "make"], "outbox-relay-database"),
    "outbox-days-drop": (["relay", "partitions", "drop"], "outbox-keeper-database"),
}


@pytest.mark.parametrize("job", DAILY)
def test_partitions_are_made_and_dropped_every_day_and_one_at_a_time(job: str) -> None:
    words, secret = DAILY[job]
    found = named("CronJob", job)
    spec = found["spec"]
    assert (spec["timeZone"], spec["concurrencyPolicy"]) == ("Etc/UTC", "Forbid")
    assert re.fullmatch(r"\d+ \d+ \* \* \*", spec["schedule"])
    assert spec["startingDeadlineSeconds"] > 0 and spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 0
    only = container(found)
    assert [*only["command"], *only["args"]] == ["millrace", *words]
    [setting] = only["env"]
    assert (setting["name"], setting["valueFrom"]["secretKeyRef"]["name"]) == ("MILLRACE_DATABASE", secret)


def test_the_outbox_is_audited_every_hour_with_the_rights_of_the_relay() -> None:
    found = named("CronJob", "outbox-audit")
    spec, only = found["spec"], container(found)
    assert re.fullmatch(r"\d+ \* \* \* \*", spec["schedule"])
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 3600
    assert [*only["command"], *only["args"]] == ["millrace", "relay", "audit"]
    database = next(setting for setting in only["env"] if setting["name"] == "MILLRACE_DATABASE")
    assert database["valueFrom"]["secretKeyRef"]["name"] == "outbox-relay-database"


# --- hardened ---


@pytest.mark.parametrize("manifest", PODS, ids=name)
def test_a_pod_may_do_nothing_it_does_not_need(manifest: Manifest) -> None:
    spec, only = pod(manifest), container(manifest)
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] >= 10001
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert named("ServiceAccount", spec["serviceAccountName"])["automountServiceAccountToken"] is False
    assert {key for key in spec if key.startswith("host")} == set()
    assert all("hostPath" not in volume for volume in spec["volumes"])


@pytest.mark.parametrize("manifest", PODS, ids=name)
def test_no_service_of_the_cluster_can_set_one_of_our_settings(manifest: Manifest) -> None:
    assert pod(manifest)["enableServiceLinks"] is False


@pytest.mark.parametrize("manifest", PODS, ids=name)
def test_a_pod_is_given_what_it_asks_for(manifest: Manifest) -> None:
    resources, volumes = container(manifest)["resources"], pod(manifest)["volumes"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert resources["limits"] == {"memory": resources["requests"]["memory"]}
    assert {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}} in volumes
    mounts = {mount["name"]: mount for mount in container(manifest)["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in volumes}
    assert all(mount.get("readOnly") for mount in mounts.values() if mount["name"] != "tmp")


def test_the_namespace_enforces_the_restricted_standard() -> None:
    labels = named("Namespace", "millrace")["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "warn", "audit")} == {
        "restricted"
    }


def test_nothing_flows_that_is_not_named() -> None:
    deny = named("NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in (m["spec"] for m in ALL if m["kind"] == "NetworkPolicy"):
        for rule in policy.get("ingress", []) + policy.get("egress", []):
            assert rule["ports"]  # every way is to a port …
            peers = rule.get("from") or rule.get("to")
            assert peers
            assert all("ipBlock" not in peer for peer in peers)  # … and to nobody outside


@pytest.mark.parametrize("manifest", RUNNING, ids=name)
def test_a_lost_zone_does_not_hold_a_pod_back(manifest: Manifest) -> None:
    spread = pod(manifest)["topologySpreadConstraints"]
    assert {s["topologyKey"] for s in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert {s["whenUnsatisfiable"] for s in spread} == {"ScheduleAnyway"}
    assert all(s["labelSelector"] == manifest["spec"]["selector"] for s in spread)


# --- lives and ends ---


@pytest.mark.parametrize("manifest", RUNNING, ids=name)
def test_the_probes_ask_what_the_process_answers(manifest: Manifest) -> None:
    only = container(manifest)
    asked = {kind: only[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/readyz", "port": "health"},
        "liveness": {"path": "/livez", "port": "health"},
        "readiness": {"path": "/readyz", "port": "health"},
    }
    startup = only["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] <= 60
    ports = {port["name"]: port["containerPort"] for port in only["ports"]}
    assert values(manifest)[f"{prefix(manifest)}_HEALTH_PORT"] == str(ports["health"])


@pytest.mark.parametrize("manifest", RUNNING, ids=name)
def test_a_pod_has_time_to_drain(manifest: Manifest) -> None:
    before = container(manifest).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod(manifest)["terminationGracePeriodSeconds"] >= before + service.DRAIN_SECONDS + 5


def test_the_door_has_answered_before_its_process_must_have_drained() -> None:
    assert door.GRACEFUL_SECONDS + 5 <= service.DRAIN_SECONDS


def test_only_what_is_behind_a_service_waits_for_the_endpoints() -> None:
    waits = {m["metadata"]["name"] for m in RUNNING if "lifecycle" in container(m)}
    assert waits == {"ingest"}
    assert container(named("Deployment", "ingest"))["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}


# --- agrees with the code ---


def settings(manifest: Manifest) -> type[BaseSettings]:
    """The Settings class of the role that a workload starts."""
    module = container(manifest)["args"][0] if manifest in RUNNING else "operations"
    found: type[BaseSettings] = importlib.import_module(f"{module}.settings").Settings
    return found


def prefix(manifest: Manifest) -> str:
    return settings(manifest).model_config["env_prefix"].rstrip("_")


def values(manifest: Manifest) -> dict[str, str]:
    """The variables of a workload, with stand-ins for what comes from elsewhere."""
    return {v["name"]: v.get("value", f"from {v['name']}") for v in container(manifest)["env"]}


@pytest.mark.parametrize("manifest", PODS, ids=name)
def test_every_variable_is_a_setting_and_the_settings_can_be_read(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {f"{prefix(manifest)}_{field}".upper() for field in settings(manifest).model_fields}
    given = values(manifest)
    assert set(given) <= known
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    read = settings(manifest).read()  # type: ignore[attr-defined]  # each role's own, with the same name
    assert read.database.get_secret_value() == f"from {prefix(manifest)}_DATABASE"


@pytest.mark.parametrize("manifest", PODS, ids=name)
def test_secrets_come_from_secrets(manifest: Manifest) -> None:
    fields = settings(manifest).model_fields
    for variable in container(manifest)["env"]:
        field = fields[variable["name"].removeprefix(f"{prefix(manifest)}_").lower()]
        assert ("Secret" in str(field.annotation)) == ("secretKeyRef" in variable.get("valueFrom", {}))


@pytest.mark.parametrize("manifest", RUNNING, ids=name)
def test_files_are_read_where_they_are_mounted(manifest: Manifest) -> None:
    mounts = [Path(mount["mountPath"]) for mount in container(manifest)["volumeMounts"]]
    carried = {rest.split()[-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest}
    for field, info in settings(manifest).model_fields.items():
        if info.annotation is Path:
            path = Path(values(manifest)[f"{prefix(manifest)}_{field}".upper()])
            assert path.parent in mounts or str(path) in carried


def test_services_lead_to_ports_that_are_open() -> None:
    for svc in (m for m in ALL if m["kind"] == "Service"):
        role = svc["spec"]["selector"]["app.kubernetes.io/name"]
        ports = {port["name"] for port in container(named(ROLES[role][0], role))["ports"]}
        assert {port["targetPort"] for port in svc["spec"]["ports"]} <= ports
    access = named("Service", "entitlement-access")["spec"]["ports"]
    assert access == [{"name": "http", "port": 80, "targetPort": "http"}]


@pytest.mark.parametrize(("policy", "role", "port"), [
    ("gateway-to-ingest", "ingest", "http"),
    ("callers-to-access", "entitlement", "http"),
    ("monitoring-to-metrics", "ledger", "health"),
])  # fmt: skip
def test_a_way_in_is_to_the_port_that_listens(policy: str, role: str, port: str) -> None:
    ((open_port,),) = [rule["ports"] for rule in named("NetworkPolicy", policy)["spec"]["ingress"]]
    ports = {p["name"]: p["containerPort"] for p in container(named(ROLES[role][0], role))["ports"]}
    assert open_port["port"] == ports[port]


def test_whoever_is_told_of_kafka_may_reach_it() -> None:
    (chosen,) = named("NetworkPolicy", "to-kafka")["spec"]["podSelector"]["matchExpressions"]
    told = {m for m in map(role_of, PODS) if any(v.endswith("_KAFKA") for v in values(workload(m)))}
    assert set(chosen["values"]) == told


def role_of(manifest: Manifest) -> str:
    return str(template(manifest)["metadata"]["labels"]["app.kubernetes.io/name"])


def workload(role: str) -> Manifest:
    return next(m for m in PODS if role_of(m) == role)


# --- the image ---


def instructions() -> Iterator[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def test_the_image_runs_any_role_as_the_user_of_the_pods() -> None:
    last = dict(instructions())
    assert last["ENTRYPOINT"] == '["python", "-m"]'
    user = named("Deployment", "ingest")["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
    assert last["USER"] == f"{user}:{user}"


def test_the_image_takes_only_what_the_lock_names() -> None:
    runs = [rest for word, rest in instructions() if word == "RUN"]
    installs = [run for run in runs if re.search(r"pip install", run)]
    assert any("--require-hashes" in run and "requirements.lock" in run for run in installs)
    assert all("--require-hashes" in run or "--no-deps" in run for run in installs)
    assert not [rest for word, rest in instructions() if word in ("ADD", "ARG") and "secret" in rest.lower()]
    bases = [rest for word, rest in instructions() if word == "FROM"]
    assert all(base.startswith("python:3.13-slim") for base in bases)


def test_the_build_sees_what_it_copies_and_nothing_private() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert rules[0] == "*"  # nothing, but for what is named
    shown = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        part
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for part in rest.split()[:-1]
    }
    assert copied == shown
    assert all((ROOT / path).exists() for path in copied)


def test_the_key_encryption_keys_are_a_secret_that_the_door_takes_and_follows() -> None:
    edge = named("Deployment", "ingest")
    kind, _, folder = values(edge)["INGEST_KEYS"].partition(":")
    (mount,) = [mount for mount in container(edge)["volumeMounts"] if mount["mountPath"] == folder]
    (volume,) = [volume for volume in pod(edge)["volumes"] if volume["name"] == mount["name"]]
    assert kind == "files"
    assert volume["secret"]["defaultMode"] & FORBIDDEN == 0  # else every file would be refused
    assert "subPath" not in mount  # else a new key would wait for a restart
    assert "items" not in volume["secret"]
