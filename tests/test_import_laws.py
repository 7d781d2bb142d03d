"""Imports run one way, and names say what they stand for."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGES = ("condi_core", "data_partitions", "client_app", "server_app")
FORBIDDEN_IMPORTS = {
    "condi_core": {"flwr", "data_partitions", "client_app", "server_app"},
    "data_partitions": {"torch", "flwr", "condi_core", "client_app", "server_app"},
    "client_app": {"server_app"},
    "server_app": {"client_app"},
    "server_app/federation": {"server_app.report", "server_app.study", "server_app.operations"},
    "server_app/artifacts": {
        "flwr",
        "server_app.federation",
        "server_app.report",
        "server_app.study",
        "server_app.operations",
    },
    "server_app/operations": {"server_app.federation", "server_app.report"},
}
MESSAGE_API = ("flwr.app.", "flwr.serverapp.", "flwr.clientapp.ClientApp")
NAMES_OF_NOTHING = {"told", "found", "kept", "mine", "theirs"}


def modules(folder: str) -> Iterator[tuple[str, ast.Module]]:
    for file in sorted((PROJECT / folder).rglob("*.py")):
        yield str(file.relative_to(PROJECT)), ast.parse(file.read_text())


def imported_modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def variables(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


@pytest.mark.parametrize("folder", FORBIDDEN_IMPORTS)
def test_imports_run_one_way(folder):
    wrong = [
        f"{file} imports {module}"
        for file, tree in modules(folder)
        for module in imported_modules(tree)
        if any(f"{module}.".startswith(f"{name}.") for name in FORBIDDEN_IMPORTS[folder])
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", PACKAGES)
def test_pictures_are_drawn_without_pyplot_and_its_backend(folder):
    """A notebook names its backend in the environment, and others may lack it."""
    imported = {module for _, tree in modules(folder) for module in imported_modules(tree)}
    assert not any(module.startswith("matplotlib.pyplot") for module in imported)


@pytest.mark.parametrize("folder", PACKAGES)
def test_variables_are_named_by_what_they_hold(folder):
    wrong = [
        f"{file}: {name}"
        for file, tree in modules(folder)
        for name in variables(tree)
        if name in NAMES_OF_NOTHING
    ]
    assert not wrong, "\n".join(wrong)


def test_tests_share_nothing_but_helpers():
    wrong = [
        f"{file} imports {module}"
        for file, tree in modules("tests")
        for module in imported_modules(tree)
        if module.startswith("tests.") and not module.startswith("tests.helpers.")
    ]
    assert not wrong, "\n".join(wrong)


def test_what_depends_on_internals_of_flower_is_listed():
    page = (PROJECT / "docs" / "flower.md").read_text()
    listed = {
        name
        for line in page.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z_/]+\.py)`", line.split("|")[1])
    }
    internal = {
        file
        for folder in PACKAGES
        for file, tree in modules(folder)
        for module in imported_modules(tree)
        if module.startswith("flwr.") and not module.startswith(MESSAGE_API)
    }
    assert internal == listed
