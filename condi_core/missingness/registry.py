"""All mechanisms. Every other module takes the mechanisms and their settings from here.

A new mechanism changes two files. It is a `Mechanism` in the tuple of its family (`single_samples`,
`stretches` or `modalities`), and its settings get their defaults in pyproject.toml, where Flower requires
every setting of a run. The order of mechanisms does not matter for masks: each mechanism draws from its own
random stream, and the mask is the union of what they hide.
"""

from collections.abc import Mapping
from typing import Any

from condi_core.missingness.mechanism import Mechanism
from condi_core.missingness.modalities import MODALITY_MECHANISMS
from condi_core.missingness.setting import Setting
from condi_core.missingness.single_samples import SINGLE_SAMPLE_MECHANISMS
from condi_core.missingness.stretches import STRETCH_MECHANISMS

MECHANISMS: tuple[Mechanism, ...] = (*SINGLE_SAMPLE_MECHANISMS, *STRETCH_MECHANISMS, *MODALITY_MECHANISMS)
# Settings by name. A setting that several mechanisms share has one entry.
SETTINGS: dict[str, Setting] = {s.name: s for mechanism in MECHANISMS for s in mechanism.settings}
# Names of the settings that say how much a mechanism hides. 0 turns the mechanism off.
AMOUNTS: tuple[str, ...] = tuple(mechanism.name for mechanism in MECHANISMS)


def active_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Remove settings without effect: amounts of 0, and parameters of mechanisms that are off.

    Two mappings with equal active settings hide the same samples.

    Parameters
    ----------
    settings
        Values by name, with dashes. A missing amount counts as 0.

    Returns
    -------
    dict
        The settings that have an effect, in their order. Settings with unknown names are retained.
    """
    off = {m.name for m in MECHANISMS if settings.get(m.name, 0) == 0}

    def has_effect(name: str) -> bool:
        users = [m.name for m in MECHANISMS if name in {s.name for s in m.settings}]
        return not users or any(user not in off for user in users)

    return {name: value for name, value in settings.items() if has_effect(name)}


def describe_settings(settings: Mapping[str, Any]) -> str:
    """Describe missingness in words for tables, such as "20 % of points, 50 % in gaps".

    Parameters
    ----------
    settings
        Values by name, as in `active_settings`. Parameters are named where they differ from their defaults.
    """
    parts, active = [], active_settings(settings)
    for mechanism in MECHANISMS:
        if amount := active.get(mechanism.name):
            changed = [
                f"{s.name} {active[s.name]}"
                for s in mechanism.parameters
                if active.get(s.name, s.default) != s.default
            ]
            parts.append(mechanism.describe(amount) + (f" ({', '.join(changed)})" if changed else ""))
    return ", ".join(parts) or "complete"
