"""The definition of a setting of a mechanism: its name, type, range, default and meaning."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Value = str | int | float


@dataclass(frozen=True)
class Setting:
    """One setting of a mechanism."""

    name: str  # name of the setting, with dashes, as users write it after `missingness.`
    default: Value  # default value. That of an amount turns the mechanism off
    meaning: str  # one line for documentation
    expected: str  # description of a valid value, which follows the word "expected" in messages
    accepts: Callable[..., bool]  # whether a value of the right type is in range
    # The type of a value. A whole number is also accepted for a `float`.
    kind: type[str] | type[int] | type[float]
    # Whether the value is a share, which must be below 1 in a run; see `Missingness.from_settings`.
    share: bool = False

    def is_valid(self, value: object) -> bool:
        """Return whether a value has the type and the range of the setting."""
        types = (int, float) if self.kind is float else self.kind
        return isinstance(value, types) and not isinstance(value, bool) and self.accepts(value)


def share(name: str, meaning: str) -> Setting:
    """Make a setting for a share, which is 0 by default."""
    return Setting(name, 0.0, meaning, "a share from 0 to 1", lambda x: 0 <= x <= 1, float, share=True)


def positive_count(name: str, default: int, meaning: str) -> Setting:
    """Make a setting for a whole number of at least 1."""
    return Setting(name, default, meaning, "a whole number of at least 1", lambda x: 1 <= x < 2**63, int)


def positive_number(name: str, default: float, meaning: str) -> Setting:
    """Make a setting for a finite number above 0."""
    return Setting(name, default, meaning, "a finite number above 0", lambda x: 0 < x < math.inf, float)


def number_or_zero(name: str, meaning: str) -> Setting:
    """Make a setting for a finite number above 0, or 0 (the default) to turn a mechanism off."""
    return Setting(
        name, 0.0, meaning, "a finite number above 0, or 0 for off", lambda x: 0 <= x < math.inf, float
    )


def choice(name: str, choices: Sequence[str], meaning: str) -> Setting:
    """Make a setting with one of the values `choices`, of which the first is the default."""
    return Setting(name, choices[0], meaning, f"one of {', '.join(choices)}", lambda x: x in choices, str)
