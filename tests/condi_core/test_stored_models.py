"""Models of released versions are loaded, and give the results that they gave then."""

import numpy as np
import pytest

from tests.helpers.stored_model import RESULTS_FILE, STORED_MODELS, compute_results

TOLERANCE = 1e-3  # of results in standard deviations or probabilities: processors round differently


@pytest.mark.parametrize("version", sorted(folder.name for folder in STORED_MODELS.iterdir()))
def test_a_stored_model_gives_its_results(version):
    folder = STORED_MODELS / version
    with np.load(folder / RESULTS_FILE, allow_pickle=False) as file:
        expected = {name: file[name] for name in file.files}
    values = expected.pop("values")
    results = compute_results(folder, values)
    assert results.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(results[name], array, atol=TOLERANCE, err_msg=name)
    observed = ~np.isnan(values)
    np.testing.assert_array_equal(results["point"][observed], values[observed])
