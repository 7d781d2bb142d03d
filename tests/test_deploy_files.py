"""The files for Kubernetes and systemd are valid, complete, and give no more rights than docker-compose."""

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

PROJECT = Path(__file__).parents[1]
DEPLOY = PROJECT / "deploy"
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
KUBERNETES_VERSIONS = ("1.25", "1.32")  # the oldest that the files are meant for, and a recent one
FOLDERS = ("coordinator", "site")
SERVICES = {  # of docker-compose.yml, by folder and deployment
    ("coordinator", "superlink"): "superlink",
    ("coordinator", "coordinator"): "coordinator",
    ("site", "node"): "site-0",
    ("site", "apps"): "site-0-app",
}


def read_resources(folder: str) -> list[dict]:
    files = yaml.safe_load((DEPLOY / "kubernetes" / folder / "kustomization.yaml").read_text())["resources"]
    texts = [(DEPLOY / "kubernetes" / folder / file).read_text() for file in files]
    return [resource for text in texts for resource in yaml.safe_load_all(text)]


def named(folder: str, kind: str) -> dict[str, dict]:
    return {r["metadata"]["name"]: r["spec"] for r in read_resources(folder) if r["kind"] == kind}


def pods(folder: str) -> dict[str, dict]:
    return {name: spec["template"]["spec"] for name, spec in named(folder, "Deployment").items()}


def arguments(command: list[str]) -> set[str]:
    """Return the names of the options of a command, without what differs between the two ways to deploy."""
    return {part.split("=")[0] for part in command if part.startswith("--")}


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_resource_is_valid(folder, version):
    for resource in read_resources(folder):
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_pod_has_no_more_rights_and_resources_than_it_needs(folder):
    for name, pod in pods(folder).items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}, name
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"], name
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}, name
        assert all("emptyDir" not in v or v["emptyDir"]["sizeLimit"] for v in pod["volumes"]), name


@pytest.mark.parametrize("folder", FOLDERS)
def test_traffic_is_closed_unless_it_is_needed(folder):
    policies = named(folder, "NetworkPolicy")
    assert all(policy["policyTypes"] == ["Ingress", "Egress"] for policy in policies.values())
    selected = {
        app
        for policy in policies.values()
        for app in (
            policy["podSelector"].get("matchLabels", {}).values()
            or policy["podSelector"]["matchExpressions"][0]["values"]
        )
    }
    assert selected == set(pods(folder))
    outside = [
        port["port"]
        for policy in policies.values()
        for rule in policy.get("egress", [])
        if "to" not in rule
        for port in rule["ports"]
    ]
    assert outside == ([9092] if folder == "site" else [])
    services = named(folder, "Service")
    assert {n for n, s in services.items() if s.get("type")} == (
        {"fleet"} if folder == "coordinator" else set()
    )


@pytest.mark.parametrize(("place", "service"), SERVICES.items())
def test_a_container_runs_the_command_of_docker_compose(place, service):
    folder, name = place
    (container,) = pods(folder)[name]["containers"]
    command = COMPOSE["services"][service]["command"]
    assert arguments(container["args"]) == arguments(command)
    assert container["args"][:2] == command[:2]


def test_the_key_and_the_data_of_a_site_are_in_different_pods():
    volumes = {name: {v["name"] for v in pod["volumes"]} for name, pod in pods("site").items()}
    assert "data" in volumes["apps"] - volumes["node"]
    (credentials,) = (v for v in pods("site")["apps"]["volumes"] if v["name"] == "credentials")
    assert [item["key"] for item in credentials["secret"]["items"]] == ["superexec.secret"]
    (data,) = (v for v in pods("site")["apps"]["volumes"] if v["name"] == "data")
    assert data["persistentVolumeClaim"]["readOnly"]


def test_every_secret_and_configuration_that_pods_need_is_named_in_the_documentation():
    text = (PROJECT / "docs" / "deployment.md").read_text()
    for folder in FOLDERS:
        for pod in pods(folder).values():
            for volume in pod["volumes"]:
                if "secret" in volume:
                    assert f"secret generic {volume['secret']['secretName']} " in text
                if "configMap" in volume:
                    assert f"configmap {volume['configMap']['name']} " in text


@pytest.mark.parametrize("folder", [*FOLDERS, "site-gpu"])
def test_kustomize_renders_the_folder(folder):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    rendered = subprocess.run(
        ["kubectl", "kustomize", DEPLOY / "kubernetes" / folder], capture_output=True, text=True, check=True
    )
    resources = list(yaml.safe_load_all(rendered.stdout))
    for resource in resources:
        kubernetes_validate.validate(resource, KUBERNETES_VERSIONS[-1], strict=True)
    limits = {
        r["metadata"]["name"]: r["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        for r in resources
        if r["kind"] == "Deployment"
    }
    assert ("nvidia.com/gpu" in limits.get("apps", {})) == (folder == "site-gpu")
    namespaces = {r["metadata"].get("namespace", r["metadata"]["name"]) for r in resources}
    assert namespaces == {f"condi-{folder.removesuffix('-gpu')}"}
    assert "image: condi\n" not in rendered.stdout  # every image has a registry and a version


def test_systemd_accepts_the_unit_of_a_site(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = (DEPLOY / "systemd" / "condi-site.service").read_text()
    (program,) = re.findall(r"^ExecStart=(\S+)", unit, re.M)
    (tmp_path / "condi-site.service").write_text(unit.replace(program, shutil.which("true")))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "condi-site.service"],
        capture_output=True,
        text=True,
    )
    complaints = [line for line in verified.stderr.splitlines() if "condi-site" in line]
    assert verified.returncode == 0 and not complaints, verified.stderr
