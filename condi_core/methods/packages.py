"""Which packages of other authors a run needs, and whether a site has the same."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from condi_core.config import ConfigError
from condi_core.methods import PLUGINS, find_method

PACKAGES_KEY = "packages"  # of a message, with what `list_packages` returns


def list_packages(methods: Iterable[str]) -> str:
    """Write which methods are those of other packages, with version and hash of each; empty for none."""
    plugins = [PLUGINS[name] for name in methods if name in PLUGINS]
    rows = [[p.name, p.package, p.version, p.fingerprint] for p in plugins]
    return json.dumps(rows) if rows else ""


def require_packages(text: str, allowed: Collection[str]) -> None:
    """Check that this environment has the packages that `list_packages` has written elsewhere.

    Nothing is installed, nothing of the text is executed, and only methods that are `allowed` are imported.

    Raises
    ------
    ConfigError
        A package is missing, not allowed, or has another version or other files.
    PluginError
        A package is the same, and cannot be used here.
    """
    for name, package, version, code in json.loads(text) if text else ():
        plugin, needed = PLUGINS.get(name), f"{package} {version}, from which the run has its method '{name}'"
        if plugin is None:
            raise ConfigError(f"this site lacks the package {needed}: install it, or choose other methods")
        if name not in allowed:
            raise ConfigError(f"the policy of the site does not allow the method {name}")
        if (plugin.package, plugin.version) != (package, version):
            raise ConfigError(
                f"this site has the package {plugin.source}, not {needed}: install the same version"
            )
        if plugin.fingerprint != code:
            raise ConfigError(
                f"this site has other files than the coordinator of the package {plugin.source}, from which "
                f"the run has its method '{name}': install the same version"
            )
        find_method(name)
