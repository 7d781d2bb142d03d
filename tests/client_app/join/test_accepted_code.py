"""The code of an app is accepted when it is that which is installed, or when the policy names its hash."""

from __future__ import annotations

import hashlib
import io
import zipfile

import pytest
from flwr.cli.build import build_fab_from_disk

from client_app.join.accepted_code import find_code_refusal
from tests.helpers.run_settings import PROJECT


@pytest.fixture(scope="module")
def files():
    """The files of the app that `flwr build` makes of this project, by name."""
    with zipfile.ZipFile(io.BytesIO(build_fab_from_disk(PROJECT))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(files) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return packed.getvalue()


def test_the_code_that_is_installed(files):
    assert find_code_refusal(pack(files), ("installed",)) == ""


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"client_app/app.py": b"print(1)"}, "'client_app/app.py' differs"),
        ({"torch.py": b"print(1)"}, "'torch.py' differs"),
        ({"client_app/more.py": b""}, "'client_app/more.py' differs"),
        ({"tests/__init__.py": b""}, "'tests/__init__.py' differs"),
        ({"client_app/app.so": b""}, "'client_app/app.so' differs"),
        ({"client_app/../client_app/app.py": b""}, "'client_app/../client_app/app.py' differs"),
        ({"/etc/passwd": b""}, "'/etc/passwd' differs"),
        ({"pyproject.toml": b"["}, "something cannot be read (TOMLDecodeError)"),
        ({"pyproject.toml": b"[project]"}, "something cannot be read (KeyError)"),
        ({"client_app/app.py": b"#" * 2**21}, "'client_app/app.py' has more than 1048576 bytes"),
    ],
)  # fmt: skip
def test_a_difference_from_the_code_that_is_installed(files, changes, difference):
    app = pack(files | changes)
    digest = hashlib.sha256(app).hexdigest()
    assert find_code_refusal(app, ("installed",)) == (
        f"it runs only the code of CondI that is installed here, and in the coordinator's app {difference}: "
        f'install the same version at both, or accept it in its policy by accepted-apps = ["{digest}"]'
    )


def test_an_app_that_starts_something_else(files):
    other = files["pyproject.toml"].replace(b"client_app.app:app", b"os:system")
    assert "'pyproject.toml' names another app" in find_code_refusal(
        pack(files | {"pyproject.toml": other}), ("installed",)
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_contained_twice(files):
    app = pack([*files.items(), ("client_app/app.py", b"print(1)")])
    assert "a file is contained twice" in find_code_refusal(app, ("installed",))


def test_what_is_not_a_zip_file():
    assert "something cannot be read (BadZipFile)" in find_code_refusal(b"x", ("installed",))


def test_other_settings_are_not_other_code(files):
    settings = files["pyproject.toml"].replace(b"rounds = 3", b"rounds = 4")
    assert settings != files["pyproject.toml"]
    assert find_code_refusal(pack(files | {"pyproject.toml": settings}), ("installed",)) == ""


def test_an_app_that_the_policy_names_by_its_hash():
    digest = hashlib.sha256(b"an app").hexdigest()
    assert find_code_refusal(b"an app", (digest,)) == "" == find_code_refusal(b"an app", ("any",))
    expected = f"it runs only apps that its policy accepts, and not {hashlib.sha256(b'x').hexdigest()}: "
    assert find_code_refusal(b"x", (digest,)).startswith(expected)
