"""Bootstrap over patients, and the intervals that it gives."""

import numpy as np
import pytest

from client_app.inference.bootstrap import bootstrap_counts, with_intervals


def test_patients_are_drawn_with_all_their_windows():
    patients = np.array(["b", "a", "b", "c", "b"])
    counts = bootstrap_counts(patients, 200)
    assert counts.shape == (201, 5) and (counts[0] == 1).all()
    np.testing.assert_array_equal(counts[:, [2, 4]], counts[:, [0, 0]])  # the windows of patient b
    assert (counts[:, [0, 1, 3]].sum(1) == 3).all()  # as many patients as there are
    assert {tuple(row) for row in counts[1:, [0, 1, 3]]} >= {(3, 0, 0), (0, 3, 0), (0, 0, 3), (1, 1, 1)}


def test_intervals_are_quantiles_of_the_resamples_that_define_a_metric():
    resampled = [{"auroc": value, "kappa": np.nan} for value in [np.nan, *np.linspace(0, 1, 101)]]
    results = with_intervals([{"auroc": 0.7, "kappa": 0.1}, *resampled])
    assert results["auroc"]["value"] == 0.7
    assert results["auroc"]["interval"] == pytest.approx([0.025, 0.975])
    assert results["kappa"] == {"value": 0.1, "interval": None}
    assert with_intervals([{"auroc": 0.7}])["auroc"]["interval"] is None
