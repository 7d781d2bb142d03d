"""Replies as a malicious site may send them: honest ones with random changes of records and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from condi_core.protocol import COMPLETIONS_MISSING
from condi_core.serialization import PACKED, unpack_arrays
from server_app.federation.records import to_record

ODD_TEXTS = ("", "\x1b]0;owned\x07\x1b[2J", "../../x", "a\nb", "\ud800", "x" * 10**6, "<script>alert(1)")
ODD_NUMBERS: tuple[Any, ...] = (
    float("nan"), float("inf"), -1e308, 1e308, 1e-308, 0, -1, 0.5, 10**18, 10**400, [], [1.0],
    [float("nan")] * 16,
)  # fmt: skip
DTYPES = ("f8", "f2", "u1", "i8", "?", "c8")
ERROR_CODES = (0, 2, COMPLETIONS_MISSING, 999)


def mutate(reply: Message, rng: np.random.Generator) -> Message | None:
    """Return an odd reply in place of an honest one; None for no reply."""
    kind = rng.choice(["array", "array", "array", "metrics", "metrics", "records", "error", "none"])
    if kind == "none":
        return None
    if kind == "error" or reply.has_error():
        return _error(reply, rng)
    content = reply.content
    if kind == "records" or "arrays" not in content:
        _change_records(content, rng)
    elif kind == "metrics":
        _change_metrics(content, rng)
    else:
        _change_arrays(content, rng)
    return reply


def _error(reply: Message, rng: np.random.Generator) -> Message:
    text = rng.choice(np.array(ODD_TEXTS, object)) + "\n" + rng.choice(np.array(ODD_TEXTS, object))
    error = Message(Error(int(rng.choice(ERROR_CODES)), text), reply_to=reply)
    error.metadata.__dict__.update(reply.metadata.__dict__)
    return error


def _change_records(content: RecordDict, rng: np.random.Generator) -> None:
    for name in list(content):
        if rng.random() < 0.5:
            del content[name]
    odd = [MetricRecord({"a": 1.0}), ConfigRecord({"a": "b"}), ArrayRecord({"a": Array(np.zeros(2))})]
    content[str(rng.choice(["arrays", "metrics", "more"]))] = odd[rng.integers(len(odd))]


def _change_metrics(content: RecordDict, rng: np.random.Generator) -> None:
    metrics = dict(content.metric_records["metrics"])
    name = str(rng.choice(sorted(metrics)))
    if rng.random() < 0.2:
        del metrics[name]
    else:
        metrics[name] = ODD_NUMBERS[rng.integers(len(ODD_NUMBERS))]
    content["metrics"] = MetricRecord(metrics)


def _change_arrays(content: RecordDict, rng: np.random.Generator) -> None:
    if rng.random() < 0.1:
        packed = [b"", b"{}", rng.bytes(100), b"\xff" * 10**6][rng.integers(4)]
        content["arrays"] = ConfigRecord({PACKED: packed})
        return
    arrays = unpack_arrays(content["arrays"])
    name = str(rng.choice(sorted(arrays))) if arrays else "x"
    array = arrays.pop(name, np.zeros(3, np.float32))
    arrays[name] = _change_array(array, rng)
    if rng.random() < 0.1:
        arrays[str(rng.choice(["x" * 1000, "\x1b[2J", "site-0/x", "a/b/c"]))] = arrays.pop(name)
    content["arrays"] = to_record(arrays)


def _change_array(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.2:
        return array.astype(rng.choice(DTYPES))
    if rng.random() < 0.2:
        return [array.ravel(), array[..., None], array[:0], np.zeros((1,) * 30, array.dtype)][rng.integers(4)]
    scale = 10.0 ** rng.integers(-40, 39)
    changed = np.array(
        [scale * array, -scale * array, scale * rng.standard_normal(array.shape), np.full(array.shape, scale)]
    )[rng.integers(4)]
    if changed.size and rng.random() < 0.3:
        changed.reshape(-1)[rng.integers(changed.size)] = rng.choice([np.nan, np.inf, -np.inf, 1e6, -1e6])
    with np.errstate(over="ignore"):
        return changed.astype(array.dtype)
