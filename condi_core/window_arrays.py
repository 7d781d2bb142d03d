"""Arrays of windows as users give them: checked, and brought to the shape that every model works on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from condi_core.windows import Schema


class WindowArrays(NamedTuple):
    """Windows, and the shape in which they came.

    Attributes
    ----------
    values : float32 (batch, modality, patch, sample)
    observed : bool (batch, modality, patch, sample)
    shape : of the array that was given
    """

    values: np.ndarray
    observed: np.ndarray
    shape: tuple[int, ...]

    @property
    def is_single(self) -> bool:
        """Whether one window was given without an axis of windows."""
        return len(self.shape) == 2

    def restore_shape(self, completed: np.ndarray) -> np.ndarray:
        """Bring an array (..., batch, modality, patch, sample) to the shape that was given, (..., *shape)."""
        return completed.reshape(*completed.shape[:-4], *self.shape)

    def drop_batch(self, numbers: np.ndarray) -> np.ndarray:
        """Remove the axis of windows from (..., batch, column) where one window was given without it."""
        return numbers[..., 0, :] if self.is_single else numbers


def read_floats(numbers: ArrayLike, name: str) -> np.ndarray:
    """Read an array of floats, float32 or else float64, with NaN where a masked array is masked.

    Parameters
    ----------
    numbers : array, or nested lists
    name : of the argument, for messages

    Raises
    ------
    ValueError
        They are no numbers, or rows differ in their length.
    """
    try:
        array = np.asanyarray(numbers)
        if np.iscomplexobj(array):
            raise TypeError("Complex data not supported")
        array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
    except (TypeError, ValueError) as error:
        reason = str(error).split(". ")[0]
        raise ValueError(
            f"expected {name} as an array of numbers, got one that cannot become floats ({reason}): "
            "give rows of equal length, and NaN where nothing was observed"
        ) from None
    return np.asarray(np.ma.filled(array, np.nan))


def _read_masks(observed: ArrayLike) -> np.ndarray:
    try:
        return np.ma.filled(observed, False)
    except ValueError:
        raise ValueError(
            "expected observed as an array of bools, got rows of different lengths: give one bool for each "
            "value"
        ) from None


def read_windows(schema: Schema, values: ArrayLike, observed: ArrayLike | None = None) -> WindowArrays:
    """Check windows in one of three shapes.

    These are `(channel, time)` for one window, `(n, channel, time)`, and `(batch, modality, patch, sample)`.
    Time is the axes of patches and samples as one; a modality with fewer samples in a patch than the fastest
    one has them at the beginning of each patch.

    Parameters
    ----------
    schema : of the windows
    values : in source units; NaN, or the mask of a masked array, marks what was not observed
    observed : bool, of the same shape; by default what is not NaN

    Raises
    ------
    ValueError
        The arrays have another shape or type. The message says how to get there.
    """
    x = read_floats(values, "values").astype(np.float32, copy=False)
    masks = ~np.isnan(x) if observed is None else _read_masks(observed)
    channels, patches, samples = schema.shape
    is_joined = x.ndim in (2, 3) and x.shape[-2:] == (channels, patches * samples)
    if not (is_joined or (x.ndim == 4 and x.shape[1:] == schema.shape)) or not x.size:
        raise ValueError(
            f"expected values of shape ({channels}, {patches * samples}) for one window (channel, time), "
            f"(n, {channels}, {patches * samples}), or (n, {channels}, {patches}, {samples}) by patches, "
            f"got {x.shape}: {_advice(schema, x.shape)}"
        )
    if masks.shape != x.shape:
        raise ValueError(
            f"expected observed of the shape of values, {x.shape}, got {masks.shape}: give one bool for each "
            "value, or leave it out and mark what was not observed by NaN"
        )
    if masks.dtype != bool:
        raise ValueError(f"expected observed to be bool, got {masks.dtype}: give observed.astype(bool)")
    masks = masks & ~np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else masks
    shape = (-1, *schema.shape)
    return WindowArrays(x.reshape(shape), masks.reshape(shape), x.shape)


def _advice(schema: Schema, shape: tuple[int, ...]) -> str:
    """Say how to get from an array of this shape to windows of the schema."""
    channels, patches, samples = schema.shape
    length = patches * samples
    if 0 in shape:
        return "give at least one window"
    if shape[-2:] == (length, channels):
        return "exchange the last two axes, values.swapaxes(-1, -2)"
    if shape == schema.shape:
        return "add the axis of windows, values[None]"
    if len(shape) not in (2, 3, 4):
        return "give one window as a row of samples per channel"
    if shape[-2 if len(shape) < 4 else 1] != channels:
        order = ", ".join(schema.names[:8]) + (", ..." if channels > 8 else "")
        return f"give the channels in the order {order}, with NaN for those that were not recorded"
    rate = samples / schema.patch_seconds
    if len(shape) < 4 and shape[-1] < length:
        return f"fill up to {length} samples at {rate:g} Hz with NaN, which marks what was not observed"
    return f"cut recordings into windows of {length} samples at {rate:g} Hz"
