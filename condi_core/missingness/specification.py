"""The settings of the simulated missingness as one immutable value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from condi_core.config import ConfigError
from condi_core.missingness.registry import MECHANISMS, SETTINGS
from condi_core.missingness.setting import Value
from condi_core.settings_text import suggest_name


class MissingnessError(ConfigError):
    """Settings of the missingness are not valid. `complaints` has one sentence for each."""


class Missingness(Mapping[str, Any]):
    """What to hide: an immutable mapping from the name of every setting to its value.

    Shares are expected ones, from 0 to 1. By default nothing is hidden.

    Parameters
    ----------
    **settings
        Settings of `MECHANISMS`, with underscores for dashes: `Missingness(gaps=0.3, gap_patches=2)`.

    Raises
    ------
    MissingnessError
        A setting is unknown or out of range; all of them are named.
    """

    def __init__(self, **settings: Value) -> None:
        named = {name.replace("_", "-"): value for name, value in settings.items()}
        if complaints := _describe_faults(named, of_run=False):
            raise MissingnessError(*complaints)
        self._values: dict[str, Any] = {
            name: setting.kind(named.get(name, setting.default)) for name, setting in SETTINGS.items()
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Missingness:
        """Read the settings of a run, which must be complete.

        In a run a share must be below 1, because otherwise no samples remain to learn from.

        Parameters
        ----------
        settings
            Values by name, with dashes.

        Raises
        ------
        MissingnessError
            A setting is unknown, missing or out of range; all of them are named.
        """
        complaints = _describe_faults(settings, of_run=True)
        complaints += [
            f"setting 'missingness.{name}' is missing" for name in SETTINGS if name not in settings
        ]
        if complaints:
            raise MissingnessError(*complaints)
        return cls(**settings)

    @classmethod
    def for_split(
        cls, split: str, settings: Mapping[str, Any], test_overrides: Mapping[str, Value]
    ) -> Missingness:
        """Read the missingness of a split; `test_overrides` apply to test windows only."""
        missingness = cls.from_settings(settings)
        return missingness.with_overrides(test_overrides) if split == "test" else missingness

    def with_overrides(self, overrides: Mapping[str, Value]) -> Missingness:
        """Replace some settings, such as `{"points": 0.8, "gaps": 0.1}`.

        Raises
        ------
        MissingnessError
            A setting is unknown or out of range for a run.
        """
        if faults := _find_faults(overrides, of_run=True):
            raise MissingnessError(
                *(
                    f"{n}: {fault}" if fault else f"unknown '{n}'{suggest_name(n, SETTINGS)}"
                    for n, fault in faults.items()
                )
            )
        return Missingness(**(dict(self) | dict(overrides)))

    def of_site(self) -> Missingness:
        """Return only the missingness of a site for the whole run, without that of single windows."""
        names = {m.name for m in MECHANISMS if m.level == "site"}
        names |= {s.name for m in MECHANISMS if m.level == "site" for s in m.parameters}
        return Missingness(**{name: self[name] for name in names})

    def expected_share(self, samples_per_patch: Sequence[int]) -> float:
        """Compute the share of the measured samples that is expected to be hidden.

        Mechanisms are independent of each other, so the shares that they retain multiply.

        Parameters
        ----------
        samples_per_patch
            Of each modality. The result is an average over modalities.
        """
        retained = 1.0
        for mechanism in MECHANISMS:
            if self[mechanism.name]:
                retained *= 1 - mechanism.expected_share(self[mechanism.name], samples_per_patch)
        return 1 - retained

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __repr__(self) -> str:
        changed = [
            f"{name.replace('-', '_')}={value!r}"
            for name, value in self.items()
            if value != SETTINGS[name].default
        ]
        return f"Missingness({', '.join(changed)})"


def _find_faults(settings: Mapping[str, Any], of_run: bool) -> dict[str, str | None]:
    """Return what is wrong with each wrong setting, by its name; None for an unknown one."""
    faults: dict[str, str | None] = {}
    for name, value in settings.items():
        setting = SETTINGS.get(name)
        if setting is None:
            faults[name] = None
        elif not setting.is_valid(value):
            faults[name] = f"expected {setting.expected}, got {value!r}"
        elif of_run and setting.share and value == 1:
            faults[name] = f"expected a share below 1, as a run must have samples left, got {value!r}"
    return faults


def _describe_faults(settings: Mapping[str, Any], of_run: bool) -> list[str]:
    complaints = []
    for name, fault in _find_faults(settings, of_run).items():
        if fault is None:
            similar = suggest_name(name, SETTINGS).replace("'", "'missingness.", 1)
            complaints.append(f"unknown setting 'missingness.{name}'{similar}")
        else:
            complaints.append(f"setting 'missingness.{name}': {fault}")
    return complaints
