"""Arrays packed into one come out as they went in, and nothing else is taken for them."""

import numpy as np
import pytest
from safetensors import SafetensorError

from condi_core.packing import pack, unpack

ARRAYS = {
    "z.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
    "scalar": np.array(-2.5),
    "none": np.zeros((0, 4), np.float32),
    "points 50 %/condi, draws": np.array([[np.nan, np.inf]]),
    "counts": np.array([2**40]),
    "seen": np.array([True, False]),
}


def test_names_shapes_kinds_and_bits_are_kept():
    packed = pack(ARRAYS)
    assert packed.dtype == np.uint8 and packed.ndim == 1
    found = unpack(packed)
    assert list(found) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_the_bytes_are_those_of_the_arrays_and_a_line_for_each():
    arrays = {f"layer.{i}.weight": np.zeros(1000, np.float32) for i in range(300)}
    assert 4000 * 300 < pack(arrays).size < (4000 + 100) * 300


@pytest.mark.parametrize("cut", [0, 4, 40, -1])
def test_what_was_cut_short_is_not_read(cut):
    with pytest.raises(SafetensorError):
        unpack(pack(ARRAYS)[:cut])
