"""What docker-compose.yml allows containers, and what is installed in their image."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
LISTS = {name: (PROJECT / "requirements" / f"{name}.txt").read_text() for name in ("image", "torch", "cuda")}
REQUIREMENT = re.compile(
    r"([\w.-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}( \\\n    --hash=sha256:[0-9a-f]{64})*\n"
)


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_a_service_has_no_more_rights_and_resources_than_it_needs(service):
    settings = COMPOSE["services"][service]
    assert settings["read_only"] and settings["cap_drop"] == ["ALL"] and "privileged" not in settings
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert settings["mem_limit"] and settings["pids_limit"] == 512
    (tmpfs,) = settings["tmpfs"]
    assert re.fullmatch(r"/tmp:size=\d+m,mode=1777", tmpfs)
    assert not settings.keys() & {"ports", "pid", "ipc", "devices"}
    assert settings.get("network_mode", "none") == "none"


def test_no_network_has_a_route_to_the_outside():
    assert all(network == {"internal": True} for network in COMPOSE["networks"].values())


def test_every_package_of_the_image_has_a_version_and_hashes():
    for name, text in LISTS.items():
        assert REQUIREMENT.sub("", text) == "# Written by .ci/lock.\n", name


def test_the_packages_of_the_image_are_those_that_the_project_needs():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    versions = {
        canonicalize_name(match[1]): match[2]
        for text in LISTS.values()
        for match in REQUIREMENT.finditer(text)
    }
    for line in [*project["project"]["dependencies"], *project["build-system"]["requires"]]:
        wanted = Requirement(line)
        version = versions.get(canonicalize_name(wanted.name), "")
        assert version and wanted.specifier.contains(version), f"{wanted} is not in the image: run .ci/lock"
    assert "ray" not in versions  # which only the simulation needs


def test_the_image_is_built_from_packages_whose_hash_is_known():
    text = (PROJECT / "Dockerfile").read_text().replace("\\\n", " ")
    assert "--extra-index-url" not in text  # from there any package could come, also one of PyPI's names
    assert "--require-hashes" in re.search('INSTALL="([^"]*)"', text)[1]
    installs = re.findall(r"\$PIP (\S+)", text)
    assert installs == ["$INSTALL", "$INSTALL", "$INSTALL", "check", "install"]
    assert "--no-index --no-deps --no-build-isolation -e ." in text
