"""Named arrays as Flower's records, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flwr.app import Array, ArrayRecord

from condi_core.averaging import Arrays, has_site_versions, site_view
from condi_core.serialization import PACKED, from_bytes, halve_exact, to_bytes


def to_record(arrays: Arrays) -> ArrayRecord:
    """Pack named arrays as one array of bytes."""
    packed = to_bytes(arrays)
    return ArrayRecord({PACKED: Array("uint8", (len(packed),), PACKED, packed)})


def to_numpy(record: ArrayRecord, max_bytes: float = math.inf) -> Arrays:
    """Unpack named arrays; PackingError when the record holds anything else, or more than `max_bytes`."""
    return from_bytes({name: array.data for name, array in record.items()}, max_bytes)


def num_bytes(record: ArrayRecord) -> int:
    """Return the size of a record's arrays."""
    return sum(len(array.data) for array in record.values())


def records_by_site(state: Arrays, sites: Sequence[str], half: bool = False) -> dict[str, ArrayRecord]:
    """Return what each site is sent of a state; with `half`, in float16 what this has exactly.

    Sites without versions of their own share one record, which is packed once, as it may be large.
    """

    def pack(site: str) -> ArrayRecord:
        arrays = site_view(state, site)
        return to_record(halve_exact(arrays) if half else arrays)

    if has_site_versions(state, sites):
        return {name: pack(name) for name in sites}
    return dict.fromkeys(sites, pack(""))
