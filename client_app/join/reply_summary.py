"""What a reply contains, in short: what the audit log keeps of what leaves the site."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message

from condi_core.serialization import PackingError, unpack_arrays

MAX_NUMBERS = 16  # of a list, which is else given by its length
MAX_CHARACTERS = 200


def summarise_reply(reply: Message, contents: Iterable[bytes]) -> dict[str, Any]:
    """Return names, shapes and norms of arrays, counts and other numbers, size and hash of a reply.

    Parameters
    ----------
    reply : Message
    contents : iterable of bytes
        What is sent of it, in this order.

    Returns
    -------
    dict
        `bytes` and `sha256` of all that is sent, and either `error` and `reason`, or `arrays` and `values`.
    """
    digest, size = hashlib.sha256(), 0
    for content in contents:
        digest.update(content)
        size += len(content)
    summary: dict[str, Any] = {"bytes": size, "sha256": digest.hexdigest()}
    if reply.has_error():
        return summary | {"error": reply.error.code, "reason": reply.error.reason}
    arrays: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, record in reply.content.items():
        try:
            arrays[name] = _summarise_arrays(unpack_arrays(record))
        except PackingError:
            if isinstance(record, ArrayRecord):  # of an app that packs arrays in another way
                arrays[name] = {
                    key: {"shape": list(array.shape), "bytes": len(array.data)}
                    for key, array in record.items()
                }
            else:
                values[name] = {key: _summarise(value) for key, value in record.items()}
    return summary | {"arrays": arrays, "values": values}


def _summarise_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return shape and L2 norm of each array."""
    return {
        name: {
            "shape": list(array.shape),
            "norm": _summarise(float(np.linalg.norm(array.astype(np.float64)))),
        }
        for name, array in arrays.items()
    }


def _summarise(value: Any) -> Any:
    """Return a value that JSON can hold, with long lists and texts given by their length."""
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _summarise_text(value)
    if isinstance(value, dict):
        return {str(key): _summarise(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_summarise(part) for part in value] if len(value) <= MAX_NUMBERS else {"length": len(value)}
    return value


def _summarise_text(text: str) -> Any:
    if text.startswith("{"):  # the description of a site
        try:
            return _summarise(json.loads(text))
        except (ValueError, RecursionError):
            pass
    return text if len(text) <= MAX_CHARACTERS else {"characters": len(text)}
