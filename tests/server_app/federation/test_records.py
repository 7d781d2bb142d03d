"""Small models are one object of a message, and large ones are sent in pieces."""

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from client_app.node import request
from condi_core.serialization import MAX_OBJECT_BYTES, packed_size, unpack_arrays
from server_app.federation import records
from server_app.federation.replies import unpack


@pytest.mark.parametrize("to_record", [request.to_record, records.to_record])
@pytest.mark.parametrize(
    ("num_values", "kind", "num_objects"),
    [(1000, ConfigRecord, 1), (MAX_OBJECT_BYTES // 4, ArrayRecord, 2 + 2), (10**7, ArrayRecord, 2 + 8)],
)
def test_arrays_are_one_object_up_to_the_size_of_a_piece(to_record, num_values, kind, num_objects):
    arrays = {"a": np.arange(num_values, dtype=np.float32), "b": np.ones(2)}
    record = to_record(arrays)
    assert isinstance(record, kind)
    assert len(get_all_nested_objects(record)) == num_objects
    assert packed_size(record) == pytest.approx(4 * num_values, abs=500)
    reply = unpack(RecordDict({"arrays": record, "metrics": MetricRecord({})}), 10**8)
    for name, array in arrays.items():
        np.testing.assert_array_equal(reply.arrays[name], array, strict=True)
        np.testing.assert_array_equal(unpack_arrays(record)[name], array, strict=True)
