"""The hash of the package's source."""

import importlib.util
import shutil
from pathlib import Path

import pytest

import condi_core.protocol as original


@pytest.fixture
def copied(tmp_path):
    package = Path(original.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(package, tmp_path / "condi_core", ignore=ignored))


def fingerprint_of(package: Path) -> str:
    spec = importlib.util.spec_from_file_location("copied_fingerprint", package / "protocol.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fingerprint()


def test_it_does_not_depend_on_the_location_of_the_package(copied):
    assert original.fingerprint() == original.fingerprint() == fingerprint_of(copied)
    assert len(original.fingerprint()) == 16
    int(original.fingerprint(), 16)


def test_it_changes_with_any_source_file(copied):
    fingerprints = {fingerprint_of(copied)}
    files = sorted(copied.rglob("*.py"))
    assert len(files) > 15
    for file in files:
        before = file.read_bytes()
        file.write_bytes(before + b"\n")
        fingerprints.add(fingerprint_of(copied))
        file.write_bytes(before)
    assert len(fingerprints) == len(files) + 1


def test_it_changes_with_file_names_but_not_with_other_files(copied):
    before = fingerprint_of(copied)
    (copied / "notes.txt").write_text("nothing")
    assert fingerprint_of(copied) == before
    (copied / "config.py").rename(copied / "configuration.py")
    assert fingerprint_of(copied) != before
