"""The definition of a missingness mechanism."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from condi_core.missingness.setting import Setting


@dataclass(frozen=True)
class Window:
    """A window, as a mechanism may look at it."""

    values: np.ndarray  # `(modality, patch, sample)`, in any unit; valid only where `observed`
    observed: np.ndarray  # bool, `(modality, patch, sample)`: what was measured
    # Number of samples per patch of each modality; samples beyond it are padding.
    samples_per_patch: Sequence[int]
    present: np.ndarray  # bool, `(modality,)`: which modalities the site has

    @property
    def patches(self) -> int:
        return self.observed.shape[1]


# (window, settings by name, random numbers) → bool (modality, patch, sample), True = missing
MaskFunction = Callable[[Window, Mapping[str, Any], np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Mechanism:
    """A way in which samples go missing.

    Parameters
    ----------
    amount
        The setting that says how much goes missing. Its name is the mechanism's, and 0 turns it off.
    mask
        Turns a stream of random numbers into a mask. The mask may cover padding and samples that are not
        observed, which the caller removes. Only the expectation of the hidden share has to be met.
    stream
        Name of the mechanism's stream of random numbers. Masks depend on it, so it must never change.
    parameters
        Further settings. Mechanisms may share one, such as the length of gaps.
    expected_share
        `(amount, samples per patch of each modality)` → share of the observed samples that is expected to go
        missing, on average over modalities. By default it is the amount.
    level
        A mechanism of level "record" draws a mask for each window. One of level "site" draws it once for the
        whole run, and what it hides counts as never observed for all other mechanisms.
    label
        What tables call it, with {} for the amount, such as "{} of points"; by default its name.
    """

    amount: Setting
    mask: MaskFunction
    stream: str
    parameters: tuple[Setting, ...] = ()
    expected_share: Callable[[float, Sequence[int]], float] = lambda amount, samples_per_patch: amount
    level: Literal["record", "site"] = "record"
    label: str = ""

    @property
    def name(self) -> str:
        """The name of the amount."""
        return self.amount.name

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The amount and the parameters."""
        return (self.amount, *self.parameters)

    def describe(self, amount: float) -> str:
        """Describe an amount in words, such as "20 % of points"."""
        text = f"{100 * amount:.3g} %" if self.amount.share else f"{amount:g}"
        return (self.label or f"{{}} {self.name}").format(text)


def round_at_random(x: float, rng: np.random.Generator) -> int:
    """Round x up or down at random, so that the expected value is x."""
    return int(np.floor(x + rng.random()))
