"""Conversion between units, in the spellings of clinical files, by pint."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data_partitions.signals.unit_spellings import (
    ARBITRARY_UNITS,
    COMMON_UNITS,
    DEFINITIONS,
    clean_unit,
    to_expression,
)

if TYPE_CHECKING:
    from decimal import Decimal

    from pint import Quantity, UnitRegistry


class UnitError(ValueError):
    """A unit is not understood, or cannot be converted; the message is one sentence."""


class Conversion(NamedTuple):
    """A value in the new unit is factor × value + offset."""

    factor: float
    offset: float

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Convert values; the same array if there is nothing to convert."""
        return values if self == SAME_UNIT else values * self.factor + self.offset

    def invert(self, values: np.ndarray) -> np.ndarray:
        """Convert values in the new unit to the old one."""
        return values if self == SAME_UNIT else (values - self.offset) / self.factor


SAME_UNIT = Conversion(1.0, 0.0)
AMOUNTS = {"[mass]", "[substance]", "[equivalent]", "[osmole]"}  # dimensions


def is_arbitrary(unit: str) -> bool:
    """Whether a text states no unit: it is empty, or stands for arbitrary units."""
    return clean_unit(unit).lower() in ARBITRARY_UNITS


def require_unit(unit: str) -> None:
    """Raise UnitError, with the nearest common unit, if a unit is not understood."""
    if not is_arbitrary(unit) and clean_unit(unit) not in COMMON_UNITS:
        _parse(unit)


@lru_cache(maxsize=1024)
def conversion(from_unit: str, to_unit: str) -> Conversion:
    """Return the conversion from one unit to another, as files write them; UnitError when there is none.

    Masses and amounts (mg, mmol, mEq) are not converted to each other, because the factor depends on the
    substance.
    """
    if clean_unit(from_unit) == clean_unit(to_unit):
        return SAME_UNIT
    source, target = _parse(from_unit), _parse(to_unit)
    if source.dimensionality != target.dimensionality:
        raise UnitError(_describe_mismatch(from_unit, to_unit))
    of_0, of_1 = (_convert(value, source, target) for value in (0, 1))
    return Conversion(float(of_1 - of_0), float(of_0))


@cache
def _registry() -> UnitRegistry:
    # Two seconds, so it is made when there is something to convert. With decimals, 1 mV is exactly 1000 uV.
    from decimal import Decimal

    import pint

    registry: UnitRegistry = pint.UnitRegistry(non_int_type=Decimal)
    for definition in DEFINITIONS:
        registry.define(definition)
    return registry


def _convert(value: int, source: Quantity, target: Quantity) -> Decimal:
    quantity = _registry().Quantity(value * source.magnitude, source.units)
    return quantity.to(target.units).magnitude / target.magnitude


@lru_cache(maxsize=1024)
def _parse(unit: str) -> Quantity:
    """Parse a unit; UnitError with the nearest common unit if it is not understood."""
    import pint

    registry = _registry()
    try:
        parsed = registry.parse_expression(to_expression(clean_unit(unit)))
        return parsed if isinstance(parsed, pint.Quantity) else registry.Quantity(parsed, "dimensionless")
    except (ValueError, ArithmeticError, AttributeError, TypeError, AssertionError, pint.PintError):
        nearest = _find_nearest(unit, COMMON_UNITS, cutoff=0.5)
        raise UnitError(
            f'the unit "{_show(unit)}" is not understood'
            + (f', did you mean "{nearest}"?' if nearest else "")
        ) from None


def _describe_mismatch(from_unit: str, to_unit: str) -> str:
    sentence = f'"{_show(from_unit)}" cannot be converted to "{_show(to_unit)}"'
    source, target = (set(map(str, _parse(unit).dimensionality)) for unit in (from_unit, to_unit))
    if source & AMOUNTS and target & AMOUNTS and source ^ target <= AMOUNTS:
        if source ^ target == {"[equivalent]", "[substance]"}:
            return (
                f"{sentence} without the charge of the ion: if it is 1, as of sodium, potassium, chloride or "
                f'bicarbonate, give file-unit = "{to_unit}"'
            )
        return (
            f"{sentence} without the substance, on which the factor depends: give the factor as scale, and "
            f'file-unit = "{to_unit}"'
        )
    dimension = _parse(to_unit).dimensionality
    convertible = [unit for unit in COMMON_UNITS if _parse(unit).dimensionality == dimension]
    nearest = _find_nearest(from_unit, convertible, cutoff=0.0)
    return f'{sentence}: expected a unit such as "{nearest or to_unit}"'


def _show(unit: str) -> str:
    return " ".join(unit.split())[:40]


def _find_nearest(unit: str, candidates: Sequence[str], cutoff: float) -> str:
    """Find the candidate whose symbol or name, such as "mV" or "millivolt", is spelled like a unit; or ""."""
    by_lower = {str(_parse(candidate).units).lower(): candidate for candidate in reversed(candidates)}
    by_lower |= {candidate.lower(): candidate for candidate in reversed(candidates)}
    nearest = difflib.get_close_matches(clean_unit(unit).lower(), by_lower, 1, cutoff)
    return by_lower[nearest[0]] if nearest else ""
