"""How a window is divided into patches, the units that are imputed."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import gcd
from typing import TYPE_CHECKING, NamedTuple

from data_partitions.description.durations import format_number, format_seconds
from data_partitions.sentences import count_noun, list_some

if TYPE_CHECKING:
    from data_partitions.description.sections import Description

# Fewer patches are coarse units of imputation, and more cost attention over long sequences.
FEWEST_PATCHES, MOST_PATCHES = 50, 200


class PatchPlan(NamedTuple):
    """The patches of a window.

    Attributes
    ----------
    seconds : length of a patch (s)
    patches : number of patches in a window
    samples : samples per patch of each signal
    note : a sentence on the choice, for users
    """

    seconds: float
    patches: int
    samples: dict[str, int]
    note: str


class PatchError(ValueError):
    """A window cannot be divided; `key` is the setting to change, such as "window.patch"."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


def plan_patches(description: Description) -> PatchPlan:
    """Divide the window of a description into patches that have whole samples of every signal.

    With `patch = "auto"` it is the largest number of patches from 50 to 200, or the nearest to these numbers.
    Where no signal is sampled, a patch is a step of the grid, unless these are more than 200.

    Raises
    ------
    PatchError
        A signal has no whole number of samples in a window or in a patch.
    """
    window = description.window
    length = _exact(window.length)
    samples = {name: _samples(description, name, length) for name in description.signals}
    divisor = gcd(*samples.values())
    if window.patch == "auto":
        is_gridded = all(signal.rate is None for signal in description.signals.values())
        count = divisor if is_gridded and divisor <= MOST_PATCHES else _choose_count(divisor)
        seconds = float(length / count)
    else:
        seconds = window.patch
        exact_count = length / _exact(seconds)
        count = round(exact_count)
        if exact_count != count:
            raise PatchError(
                "window.patch",
                f"{format_seconds(seconds)} is no whole part of the window of "
                f"{format_seconds(window.length)}",
            )
        for name, number in samples.items():
            if number % count:
                possible = format_seconds(float(length / _choose_count(divisor)))
                raise PatchError(
                    "window.patch",
                    f"{format_seconds(seconds)} has {number / count:g} samples of {name}, expected a whole "
                    f'number: write "auto", or a length such as "{possible}"',
                )
    per_patch = {name: number // count for name, number in samples.items()}
    return PatchPlan(seconds, count, per_patch, _note(seconds, count, per_patch))


def _exact(number: float) -> Fraction:
    """Return the fraction that a decimal stands for, so that 0.1 s at 360 Hz are 36 samples."""
    return Fraction(number).limit_denominator(10**6)


def _samples(description: Description, name: str, length: Fraction) -> int:
    """Return the samples of a signal in a window."""
    signal, grid = description.signals[name], description.window.grid
    if signal.rate is not None:
        exact, key = length * _exact(signal.rate), f"signals.{name}.rate"
        step = f"{format_number(signal.rate)} Hz"
    else:
        assert grid is not None, "the description is checked"
        exact, key, step = length / _exact(grid), "window.grid", f"steps of {format_seconds(grid)}"
    if exact.denominator != 1 or exact < 1:
        raise PatchError(
            key,
            f"a window of {format_seconds(float(length))} has {float(exact):g} samples of {name} at {step}, "
            "expected a whole number: change the length of the window, or the rate or grid",
        )
    return int(exact)


def _choose_count(divisor: int) -> int:
    """Return the divisor that is the largest number from 50 to 200, or else nearest to them."""

    def distance(count: int) -> float:
        return max(FEWEST_PATCHES / count, count / MOST_PATCHES, 1.0)

    counts = [count for count in range(1, divisor + 1) if divisor % count == 0]
    return min(counts, key=lambda count: (distance(count), -count))


def _note(seconds: float, patches: int, samples: Mapping[str, int]) -> str:
    by_samples: dict[int, list[str]] = {}
    for name, number in samples.items():
        by_samples.setdefault(number, []).append(name)
    first, *others = sorted(by_samples.items(), reverse=True)
    parts = [f"{count_noun(first[0], 'sample')} of {list_some(first[1])}"]
    parts += [f"{number} of {list_some(names)}" for number, names in others]
    patches_text = f"{count_noun(patches, 'patch')} of {format_seconds(seconds)}"
    return f"A window has {patches_text}, each with {'; '.join(parts)}."
