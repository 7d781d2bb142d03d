"""Packed arrays are unpacked unchanged, and other records are refused."""

import numpy as np
import pytest

from condi_core.serialization import PACKED, PackingError, max_packed_size, to_bytes, unpack_arrays

ARRAYS = {
    "z.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
    "scalar": np.array(-2.5),
    "none": np.zeros((0, 4), np.float32),
    "points 50 %/condi, draws": np.array([[np.nan, np.inf]]),
    "counts": np.array([2**40]),
    "observed": np.array([True, False]),
}


def test_names_shapes_types_and_bits_are_unchanged():
    unpacked = unpack_arrays({PACKED: to_bytes(ARRAYS)})
    assert list(unpacked) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        assert unpacked[name].dtype == array.dtype and unpacked[name].flags.writeable
        np.testing.assert_array_equal(unpacked[name], array, strict=True)


def test_packing_adds_few_bytes_per_array():
    arrays = {f"layer.{i}.weight": np.zeros(1000, np.float32) for i in range(300)}
    assert 4000 * 300 < len(to_bytes(arrays)) < (4000 + 100) * 300


@pytest.mark.parametrize("cut", [0, 4, 40, -1])
def test_truncated_bytes_are_refused(cut):
    with pytest.raises(PackingError, match="cannot be read"):
        unpack_arrays({PACKED: to_bytes(ARRAYS)[:cut]})


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"other": to_bytes(ARRAYS)},
        {PACKED: to_bytes(ARRAYS), "other": b""},
        {PACKED: 1.0},
        {PACKED: [to_bytes(ARRAYS)]},
    ],
)
def test_records_with_other_entries_are_refused(record):
    with pytest.raises(PackingError, match="not packed as one"):
        unpack_arrays(record)


def test_a_type_that_numpy_does_not_know_is_refused():
    header = b'{"x":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    with pytest.raises(PackingError, match="cannot be read"):
        unpack_arrays({PACKED: len(header).to_bytes(8, "little") + header + b"\0\0"})


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_the_size_limit_admits_the_expected_arrays_but_not_many_empty_ones(dtype):
    shapes = {"a \u4e2d" * 20: (3, 4), "b": (), "c": (0, 10**6)} | {f"d.{i}": (10**i,) for i in range(5)}
    packed = to_bytes({name: np.zeros(shape, dtype) for name, shape in shapes.items()})
    assert unpack_arrays({PACKED: packed}, max_packed_size(shapes)).keys() == shapes.keys()
    flood = to_bytes({str(i): np.zeros(0, np.float32) for i in range(10**4)})
    with pytest.raises(PackingError, match="expected at most"):
        unpack_arrays({PACKED: flood}, max_packed_size({"a": (100,)}))
