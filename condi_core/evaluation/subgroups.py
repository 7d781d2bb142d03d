"""Subgroups of windows by covariates, such as age, and the sums of an evaluation of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from condi_core.windows import Schema

NOT_RECORDED = "not recorded"
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Subgroup:
    """Windows with one category of a covariate, with a number in a range, or without a record of it.

    Attributes
    ----------
    covariate, position : position of the covariate, and of the subgroup among those of the covariate
    covariate_name, name : as tables show them
    low, high : the values of the covariate, low included; both NaN for windows without one
    """

    covariate: int
    position: int
    covariate_name: str
    name: str
    low: float
    high: float

    def contains(self, covariates: np.ndarray) -> np.ndarray:
        """Return which windows belong to the subgroup, bool (window,), by covariates (window, covariate)."""
        values = covariates[:, self.covariate]
        return np.isnan(values) if np.isnan(self.low) else (values >= self.low) & (values < self.high)

    def sum_name(self, name: str) -> str:
        """Return the name of the subgroup's part of a sum of an evaluation."""
        return f"{name}/{self.covariate}.{self.position}"

    def select(self, sums: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the subgroup's part of the sums, under the names of the sums of all windows."""
        return {name: sums[self.sum_name(name)] for name in names if self.sum_name(name) in sums}


def subgroups(schema: Schema) -> list[Subgroup]:
    """Return the subgroups of all covariates; a number without bounds of subgroups has none."""
    return [
        Subgroup(covariate, position, schema.covariates[covariate].name, *bounds)
        for covariate in range(len(schema.covariates))
        for position, bounds in enumerate(_bounds(schema.covariates[covariate]))
    ]


def _bounds(covariate: Schema.Covariate) -> Iterator[tuple[str, float, float]]:
    """Yield name, low and high of each subgroup of a covariate."""
    unit = f" {covariate.unit}" if covariate.unit else ""
    if covariate.categories:
        yield from ((name, i - 0.5, i + 0.5) for i, name in enumerate(covariate.categories))
    elif covariate.groups:
        first, last = covariate.groups[0], covariate.groups[-1]
        yield f"under {first:g}{unit}", -np.inf, first
        for low, high in pairwise(covariate.groups):
            yield f"{low:g} to {high:g}{unit}", low, high
        yield f"{last:g}{unit} and over", last, np.inf
    else:
        return
    yield NOT_RECORDED, np.nan, np.nan


def subgroup_shapes(shapes: Shapes, groups: Sequence[Subgroup]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of sums by name, with those of each subgroup."""
    return {**shapes, **{group.sum_name(name): shape for group in groups for name, shape in shapes.items()}}
