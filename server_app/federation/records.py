"""Named arrays as Flower's records."""

from __future__ import annotations

from collections.abc import Sequence

from flwr.app import Array, ArrayRecord, ConfigRecord

from condi_core.averaging import Arrays, has_site_versions, site_view
from condi_core.serialization import MAX_OBJECT_BYTES, PACKED, halve_exact, to_bytes

Record = ArrayRecord | ConfigRecord


def to_record(arrays: Arrays) -> Record:
    """Pack named arrays as one, for a message."""
    packed = to_bytes(arrays)
    if len(packed) <= MAX_OBJECT_BYTES:
        return ConfigRecord({PACKED: packed})
    return ArrayRecord({PACKED: Array("uint8", (len(packed),), PACKED, packed)})


def records_by_site(state: Arrays, sites: Sequence[str], half: bool = False) -> dict[str, Record]:
    """Return what each site is sent of a state; with `half`, in float16 what this has exactly.

    Sites without versions of their own share one record, which is packed once, as it may be large.
    """

    def pack(site: str) -> Record:
        arrays = site_view(state, site)
        return to_record(halve_exact(arrays) if half else arrays)

    if has_site_versions(state, sites):
        return {name: pack(name) for name in sites}
    return dict.fromkeys(sites, pack(""))
