"""Methods of other packages, by their entry points `condi.methods`; listing them imports none.

The name of the entry point is that of the method, and its object is a `Method`. A package that cannot be used
has one sentence that says why, and does not disturb the others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from condi_core.methods.method import Method

GROUP = "condi.methods"  # of the entry points
NAME_PATTERN = "[a-z][a-z0-9_]*"  # of a method, which is part of the names of files


class PluginError(LookupError):
    """A method of another package cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Plugin:
    """A method of another package.

    Attributes
    ----------
    name : name of the method
    package : name of the distribution that has it
    version : version of that distribution
    target : where its `Method` is, `module:attribute`
    """

    name: str
    package: str
    version: str
    target: str

    @property
    def source(self) -> str:
        """The distribution and its version."""
        return f"{self.package} {self.version}"

    def load(self) -> Method:
        """Import the method.

        Raises
        ------
        PluginError
            The import fails, or there is no method of this name.
        """
        from condi_core.methods.method import Method

        try:
            method = EntryPoint(self.name, self.target, GROUP).load()
        except Exception as error:  # whatever the package does, the other methods can be used
            raise PluginError(
                f"method '{self.name}' of the package {self.source} cannot be imported "
                f"({type(error).__name__}: {error}): mend or uninstall the package"
            ) from None
        if not isinstance(method, Method):
            raise PluginError(
                f"method '{self.name}' of the package {self.source}: expected a Method at {self.target}, got "
                f"{type(method).__name__}"
            )
        if method.name != self.name:
            raise PluginError(
                f"method '{self.name}' of the package {self.source}: its entry point has this name, and the "
                f"Method at {self.target} the name '{method.name}': give both the same"
            )
        return method

    @property
    def fingerprint(self) -> str:
        """Hash of the Python files of the module or package that the method is in."""
        spec = find_spec(self.target.partition(":")[0].partition(".")[0])
        if spec is None:
            return ""
        folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
        files = [(file.relative_to(folder), file) for folder in folders for file in folder.rglob("*.py")]
        if not folders and spec.origin:
            files = [(Path(spec.origin).relative_to(Path(spec.origin).parent), Path(spec.origin))]
        digest = hashlib.sha256()
        for name, file in sorted(files):
            digest.update(name.as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
        return digest.hexdigest()[:16]


def find_plugins(
    candidates: Iterable[EntryPoint], built_in: Collection[str]
) -> tuple[dict[str, Plugin], dict[str, str]]:
    """Select the methods of other packages that have a name of their own.

    Parameters
    ----------
    candidates : entry points
    built_in : names of CondI's own methods

    Returns
    -------
    plugins : methods by name, in alphabetical order
    problems : a sentence for each other name of an entry point
    """
    by_name: dict[str, list[Plugin]] = {}
    for point in candidates:
        package, version = (point.dist.name, point.dist.version) if point.dist else ("?", "?")
        by_name.setdefault(point.name, []).append(Plugin(point.name, package, version, point.value))
    plugins, problems = {}, {}
    for name, rivals in sorted(by_name.items()):
        sources = " and ".join(sorted(plugin.source for plugin in rivals))
        if name in built_in:
            problems[name] = f"the method '{name}' of {sources} is not used: CondI has one of this name"
        elif len(rivals) > 1:
            problems[name] = f"the method '{name}' is not used: {sources} both have it, so uninstall one"
        elif not re.fullmatch(NAME_PATTERN, name):
            problems[name] = (
                f"the method '{name}' of {sources} is not used: its name may have a-z, 0-9 and _ alone"
            )
        else:
            plugins[name] = rivals[0]
    return plugins, problems


@cache
def installed_plugins(built_in: tuple[str, ...]) -> tuple[dict[str, Plugin], dict[str, str]]:
    """Return what `find_plugins` finds in this environment."""
    return find_plugins(entry_points(group=GROUP), built_in)
