"""The names that `condi_core` exports."""

import subprocess
import sys

import pytest

import condi_core


@pytest.mark.parametrize("name", condi_core.__all__)
def test_exported_names_are_there(name):
    assert getattr(condi_core, name) is not None and name in dir(condi_core)


def test_a_name_that_is_not_exported_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = condi_core.nothing


def test_importing_the_package_does_not_import_torch():
    code = "import sys, condi_core; condi_core.RunConfig; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
