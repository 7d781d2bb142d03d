"""All mechanisms. Whatever needs to know mechanisms or their settings takes them from here.

A new mechanism is an object in the file of its family and in MECHANISMS; its settings also go to
pyproject.toml, where Flower wants every setting of a run.
"""

from collections.abc import Mapping
from typing import Any

from data_partitions.missingness.mechanism import Mechanism
from data_partitions.missingness.modalities import MODALITY_BY_SITE, MODALITY_BY_WINDOW
from data_partitions.missingness.setting import Setting
from data_partitions.missingness.single_samples import POINTS, SUBSAMPLE
from data_partitions.missingness.stretches import BLACKOUT, BURSTS, GAPS

MECHANISMS: tuple[Mechanism, ...] = (
    POINTS,
    GAPS,
    BURSTS,
    BLACKOUT,
    MODALITY_BY_WINDOW,
    MODALITY_BY_SITE,
    SUBSAMPLE,
)
# Every setting by its name.
SETTINGS: dict[str, Setting] = {s.name: s for mechanism in MECHANISMS for s in mechanism.settings}
# Names of the settings that say how much a mechanism takes. Zero turns it off.
AMOUNTS: tuple[str, ...] = tuple(mechanism.name for mechanism in MECHANISMS)


def active_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Remove what has no effect: amounts of 0, and parameters of mechanisms that are off.

    Two mappings with equal active settings hide the same samples. Unknown names stay.
    """
    off = {m.name for m in MECHANISMS if settings.get(m.name, 0) == 0}

    def has_effect(name: str) -> bool:
        users = [m.name for m in MECHANISMS if name in {s.name for s in m.settings}]
        return not users or any(user not in off for user in users)

    return {name: value for name, value in settings.items() if has_effect(name)}
