"""Methods of other packages: found by their entry points, imported when used, each refused in a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from condi_core.config import ConfigError
from condi_core.methods import METHODS, packages
from condi_core.methods.method import Method
from condi_core.methods.packages import list_packages, require_packages
from condi_core.methods.plugins import Plugin, PluginError, find_plugins
from tests.helpers.plugin_packages import write_package

LIST_NAMES = """
import json, sys
from client_app.node.site_policy import NO_POLICY, SitePolicy
from condi_core import METHOD_NAMES
from condi_core.config import ConfigError
from server_app.operations.run_config import default_settings
from server_app.settings import validate_settings
def complaint(method):
    try:
        validate_settings(default_settings() | {"method": method})
    except ConfigError as error:
        return str(error)
names = ["own", "broken", "twice", "ow"]
print(json.dumps({
    "names": METHOD_NAMES[18:],
    "complaints": [complaint(name) for name in names],
    "policies": ["own" in p.methods for p in (SitePolicy(), NO_POLICY, SitePolicy(methods=("own",)))],
    "torch": "torch" in sys.modules,
}))
"""


def test_names_of_other_packages_are_listed_without_importing_them(tmp_path):
    write_package(tmp_path)
    write_package(tmp_path, "broken", "raise RuntimeError('at import')", package="broken-method")
    for package in ("first", "second"):
        write_package(tmp_path, "twice", package=package)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    listed = subprocess.run(
        [sys.executable, "-c", LIST_NAMES], env=environment, capture_output=True, text=True
    )
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout) == {
        "names": ["broken", "own"],
        "complaints": [
            None,
            None,
            "setting 'method': the method 'twice' is not used: first 1.0 and second 1.0 both have it, so "
            "uninstall one",
            "setting 'method': unknown method 'ow' (did you mean 'own'?)",
        ],
        "policies": [False, True, True],
        "torch": False,
    }


def test_clashes_and_unusable_names_do_not_disturb_the_others(tmp_path):
    names = {"own-method": "own", "rival-mask": "mask", "a-one": "same", "b-two": "same", "spaced": "My way"}
    points = [
        p
        for package, name in names.items()
        for p in write_package(tmp_path, name, package=package).entry_points
    ]
    plugins, problems = find_plugins(points, ("condi", "mask"))
    assert list(plugins) == ["own"] and plugins["own"].source == "own-method 1.0"
    assert problems == {
        "mask": "the method 'mask' of rival-mask 1.0 is not used: CondI has one of this name",
        "same": "the method 'same' is not used: a-one 1.0 and b-two 1.0 both have it, so uninstall one",
        "My way": "the method 'My way' of spaced 1.0 is not used: its name may have a-z, 0-9 and _ alone",
    }


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise RuntimeError('no GPU')", "cannot be imported (RuntimeError: no GPU): mend or uninstall"),
        ("METHOD = 3", "expected a Method at broken_0:METHOD, got int"),
        ("OTHER = 3", "cannot be imported (AttributeError: module 'broken_1' has no attribute 'METHOD')"),
        (
            "from condi_core.methods import METHODS\nMETHOD = METHODS['mask']",
            "its entry point has this name, and the Method at broken_2:METHOD the name 'mask': give both",
        ),
        (
            "from condi_core.methods import Method\nMETHOD = Method('own', '', imputer_training='diffusion')",
            "(ValueError: a Method has `complete` if and only if `imputer_training` is not 'none')",
        ),
    ],
)
def test_a_broken_package_is_refused_in_a_sentence(tmp_path, monkeypatch, module, reason):
    monkeypatch.syspath_prepend(tmp_path)
    stem = reason.partition("broken_")[2][:1] or "x"
    write_package(tmp_path, "own", module, package=f"broken-{stem}")
    plugin = Plugin("own", f"broken-{stem}", "1.0", f"broken_{stem}:METHOD")
    with pytest.raises(PluginError) as refused:
        plugin.load()
    assert str(refused.value).startswith(f"method 'own' of the package broken-{stem} 1.0")
    assert reason in str(refused.value)
    monkeypatch.setattr("condi_core.methods.PLUGINS", {"own": plugin})
    assert "own" not in METHODS and "mask" in METHODS
    sys.modules.pop(f"broken_{stem}", None)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A package that is installed, as the registry has it."""
    monkeypatch.syspath_prepend(tmp_path)
    write_package(tmp_path)
    plugin = Plugin("own", "own-method", "1.0", "own_method:METHOD")
    for module in ("condi_core.methods", "condi_core.methods.packages"):
        monkeypatch.setattr(f"{module}.PLUGINS", {"own": plugin})
    yield plugin
    sys.modules.pop("own_method", None)


def test_a_method_of_another_package_is_like_one_of_condi(own):
    assert isinstance(METHODS["own"], Method) and METHODS["own"].summary == "zeros and the mask, again"


def test_a_site_needs_the_same_package(own, tmp_path, monkeypatch):
    assert list_packages(["mask", "condi"]) == "" and require_packages("", ()) is None
    (row,) = json.loads(list_packages(["mask", "own"]))
    assert row[:3] == ["own", "own-method", "1.0"] and row[3] == own.fingerprint

    def refusal(*needed):
        with pytest.raises(ConfigError) as refused:
            require_packages(json.dumps([needed]), ("own",))
        return str(refused.value)

    with pytest.raises(ConfigError, match="the policy of the site does not allow the method own"):
        require_packages(json.dumps([row]), ("mask",))
    assert "own_method" not in sys.modules, "what the policy does not allow is not imported"
    require_packages(json.dumps([row]), ("own",))
    assert "own_method" in sys.modules
    assert refusal("own", "own-method", "2.0", row[3]) == (
        "this site has the package own-method 1.0, not own-method 2.0, from which the run has its method "
        "'own': install the same version"
    )
    (tmp_path / "own_method.py").write_text("METHOD = None")
    assert refusal(*row).startswith(
        "this site has other files than the coordinator of the package own-method"
    )
    monkeypatch.setattr(packages, "PLUGINS", {})
    assert refusal(*row) == (
        "this site lacks the package own-method 1.0, from which the run has its method 'own': install it, or "
        "choose other methods"
    )
