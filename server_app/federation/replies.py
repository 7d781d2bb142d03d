"""Check and unpack the replies of sites. Whatever a site sends, only its own reply is lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from flwr.app import RecordDict

from condi_core.averaging import Arrays, SiteUpdate
from condi_core.protocol import REPLICATES, SCORE_PREFIX
from condi_core.serialization import PackingError, packed_size, unpack_arrays
from server_app.artifacts.site_info import SiteInfo
from server_app.errors import printable

MAX_SECONDS = 1e7  # that a site may report to have worked for a reply
MAX_ABS_WEIGHT = 1e6  # largest magnitude that a weight or a standardised spectrum may have in a reply
MAX_DEVIATION = 100.0  # of a replicate, in multiples of the largest sum

Reply = TypeVar("Reply")


class ReplyError(ValueError):
    """A reply was refused; the message says what is wrong with it."""


@dataclass(frozen=True)
class Content:
    """What a reply contains: named arrays and numbers.

    A reply to training may have the scores of the weights that were sent, too, under names with a prefix.
    """

    arrays: Arrays
    metrics: Mapping[str, Any]
    num_bytes: int

    def select(self, scores: bool) -> Content:
        """Return the scores alone, without their prefix, or everything else."""

        def choose(values: Mapping[str, Any]) -> dict[str, Any]:
            return {
                name.removeprefix(SCORE_PREFIX): value
                for name, value in values.items()
                if name.startswith(SCORE_PREFIX) == scores
            }

        metrics = choose(self.metrics)
        if scores and not metrics and not choose(self.arrays):
            raise ReplyError("it has no scores, which the policy of its site may not allow")
        return Content(
            choose(self.arrays), {"seconds": self.metrics.get("seconds")} | metrics, self.num_bytes
        )


@dataclass(frozen=True)
class TrainingReply:
    """What a site replied to a training request."""

    update: SiteUpdate
    loss: float
    seconds: float


@dataclass(frozen=True)
class EvaluationReply:
    """What a site replied to an evaluation request."""

    sums: Arrays
    scalars: dict[str, float]
    seconds: float
    replicates: np.ndarray | None = None  # (replicate, column)


def unpack(content: RecordDict, max_bytes: int) -> Content:
    """Unpack the records `arrays` and `metrics` of a reply; ReplyError for anything that goes wrong."""
    if "arrays" not in content or "metrics" not in content.metric_records:
        raise ReplyError("its arrays or metrics are missing")
    record, metrics = content["arrays"], content.metric_records["metrics"]
    try:
        return Content(unpack_arrays(record, max_bytes), metrics, packed_size(record))
    except PackingError as error:
        raise ReplyError(str(error)) from None
    except Exception as error:
        raise ReplyError(f"it cannot be read ({type(error).__name__})") from None


def read_reply(read: Callable[[Content, SiteInfo], Reply], content: Content, site: SiteInfo) -> Reply:
    """Return what `read` makes of a reply; ReplyError for anything that goes wrong."""
    try:
        return read(content, site)
    except ReplyError:
        raise
    except Exception as error:
        raise ReplyError(f"it cannot be read ({type(error).__name__})") from None


def read_training_reply(
    content: Content,
    site: SiteInfo,
    *,
    base: Arrays,
    returned: Collection[str],
    max_steps: int,
    counts_samples: bool = False,
    check_arrays: Callable[[Arrays], None] | None = None,
    half: bool = False,
) -> TrainingReply:
    """Check a training reply.

    Parameters
    ----------
    content : Content
    site : SiteInfo
        The site that replied.
    base : Arrays
        The state that it was sent, whose shapes and types its arrays must have.
    returned : collection of str
        Names of the arrays that it must send back.
    max_steps : int
        Largest number of optimiser steps that it may have taken.
    counts_samples : bool
        Whether its counts are of samples, and not of windows.
    check_arrays : callable, optional
        Raises ReplyError for arrays that no data can give.
    half : bool
        Whether its arrays must be float16, which are converted to the types of the state.

    Raises
    ------
    ReplyError
        The reply is not one that such a site can give.
    """
    arrays, metrics = dict(content.arrays), content.metrics
    if missing := sorted(set(returned) - arrays.keys()):
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise ReplyError(f"{missing[0]}{more} is missing")
    if unknown := sorted(arrays.keys() - set(returned)):
        raise ReplyError(f"{printable(unknown[0])} was not requested")
    for name, array in list(arrays.items()):
        shape, dtype = base[name].shape, np.dtype(np.float16) if half else base[name].dtype
        if array.shape != shape or array.dtype != dtype:
            raise ReplyError(f"{name} is {array.dtype} {array.shape}, expected {dtype} {shape}")
        array = array.astype(base[name].dtype, copy=False)
        arrays[name] = array
        if not np.isfinite(array).all():
            raise ReplyError(f"{name} is not finite")
        if np.abs(array).max(initial=0) > MAX_ABS_WEIGHT:
            raise ReplyError(f"{name} has values beyond {MAX_ABS_WEIGHT:g}")
    if check_arrays:
        check_arrays(arrays)

    num_modalities = len(site.manifest.modalities)
    counts = np.array(metrics.get("counts", []), float)
    seconds, windows, loss, steps = scalars = _scalars(metrics, ("seconds", "windows", "loss", "steps"))
    if len(counts) != num_modalities**2 or not np.isfinite([*counts, *scalars]).all():
        raise ReplyError("its counts, seconds, windows, loss or steps are missing or not finite")
    if (counts < 0).any() or windows <= 0 or not 1 <= steps <= max_steps:
        raise ReplyError("it trained on no window, in no step, or in more steps than were requested")
    check_seconds(seconds)
    if windows != site.manifest.windows["train"]:
        raise ReplyError(f"it reports {windows:g} windows, but has {site.manifest.windows['train']}")
    if counts.max() > windows * (math.prod(site.manifest.shape[1:]) if counts_samples else 1):
        raise ReplyError(f"it counts more {'samples' if counts_samples else 'windows'} than it has")
    if abs(loss) > MAX_ABS_WEIGHT:
        raise ReplyError(f"its loss is beyond {MAX_ABS_WEIGHT:g}")
    update = SiteUpdate(
        arrays, counts.reshape(num_modalities, num_modalities), windows, int(steps), site.manifest.site
    )
    return TrainingReply(update, loss, seconds)


def read_evaluation_reply(
    content: Content,
    site: SiteInfo,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    names: Sequence[str],
    max_value: float = MAX_ABS_WEIGHT,
) -> EvaluationReply:
    """Check an evaluation reply.

    Parameters
    ----------
    content : Content
    site : SiteInfo
        The site that replied.
    shapes : mapping of str to tuple of int
        The sums that were requested, perhaps with their `REPLICATES`.
    names : sequence of str
        The scalars that were requested with them.
    max_value : float
        Largest value of a sum per sample of all windows.

    Raises
    ------
    ReplyError
        The reply is not one that such a site can give.
    """
    sums, metrics = dict(content.arrays), content.metrics
    windows = max(site.manifest.windows.values())
    largest = max_value * max(windows, 1) * np.prod(site.manifest.shape)
    reported = {name: array.shape for name, array in sums.items()}
    if reported != shapes:
        odd = min(n for n in reported.keys() | shapes.keys() if reported.get(n) != shapes.get(n))
        raise ReplyError(
            f"{printable(odd)} is {reported.get(odd, 'missing')}, expected {shapes.get(odd, 'none')}"
        )
    replicates = sums.pop(REPLICATES, None)
    if replicates is not None:
        if replicates.dtype != np.float32:
            raise ReplyError(f"{REPLICATES} is {replicates.dtype}, expected float32")
        if not (np.abs(replicates) <= MAX_DEVIATION * largest).all():  # also where it is not finite
            raise ReplyError(f"{REPLICATES} has no deviations of sums of counts and errors")
    for name, array in sums.items():
        if array.dtype != np.float64:  # sums of another type could wrap around, or have imaginary parts
            raise ReplyError(f"{name} is {array.dtype}, expected float64")
        if not np.isfinite(array).all() or (array < 0).any() or (array > largest).any():
            raise ReplyError(f"{name} is not a sum of counts and errors")
    scalars = dict(zip(("seconds", *names), _scalars(metrics, ("seconds", *names)), strict=True))
    values = np.array(list(scalars.values()))
    if not np.isfinite(values).all() or (values < 0).any() or (values > largest).any():
        raise ReplyError(f"its {', '.join(scalars)} are missing, not finite, negative or too large")
    check_seconds(scalars["seconds"])
    if scalars.get("windows", 0) > windows:
        raise ReplyError("it scored more windows than it has")
    return EvaluationReply(sums, scalars, scalars["seconds"], replicates)


def _scalars(metrics: Mapping[str, Any], names: Sequence[str]) -> list[float]:
    """Return single numbers of a reply; NaN for those that are missing or not a number."""
    values = [metrics.get(name) for name in names]
    return [float(value) if isinstance(value, int | float) else float("nan") for value in values]


def check_seconds(seconds: float) -> None:
    """Raise ReplyError unless the seconds that a site reports are a plausible number."""
    if not 0 <= seconds <= MAX_SECONDS:
        raise ReplyError(f"it reports {seconds:g} seconds, expected 0 to {MAX_SECONDS:g}")
