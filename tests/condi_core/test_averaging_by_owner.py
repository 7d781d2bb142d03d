"""FedAvg by owner: each modality and each pair is the mean over the sites that have it."""

import numpy as np
import pytest

from condi_core.averaging import SiteUpdate, average
from tests.helpers.small_models import BASE, OWNERS, counts_with, filled


def test_sites_with_disjoint_modalities_do_not_average_each_other():
    out = average(
        BASE,
        OWNERS,
        [SiteUpdate(filled(10), counts_with(0, 1), 2.0), SiteUpdate(filled(20), counts_with(2), 6.0)],
    )
    assert out["rows"][:, 0].tolist() == [
        10,
        10,
        20,
        6,
    ]  # no site trained the last row, which keeps its value
    assert out["shared"].tolist() == [17.5, 17.5]  # (2 · 10 + 6 · 20) / 8


def test_pairs_are_averaged_per_pair():
    out = average(
        BASE,
        OWNERS,
        [SiteUpdate(filled(10), counts_with(0, 1), 2.0), SiteUpdate(filled(20), 2 * counts_with(1, 2), 4.0)],
    )["pairs"][..., 0]
    assert out[0, 1] == out[1, 0] == out[0, 0] == 10
    assert out[1, 2] == out[2, 2] == 20
    assert out[1, 1] == pytest.approx((2 * 10 + 4 * 20) / 6)
    assert out[0, 2] == out[3, 3] == 0


def test_weights_are_windows_per_modality():
    counts = np.diag([1.0, 3.0, 0.0, 0.0])
    out = average(
        BASE,
        OWNERS,
        [SiteUpdate(filled(10), counts, 4.0), SiteUpdate(filled(20), np.diag([3.0, 1.0, 0, 0]), 4.0)],
    )
    assert out["rows"][:, 1].tolist() == [17.5, 12.5, 5, 7]


def test_dtypes_are_preserved_and_one_site_is_its_own_average():
    out = average(BASE, OWNERS, [SiteUpdate(filled(0.1), counts_with(0, 1, 2, 3), 3.0)])
    assert all(a.dtype == np.float32 and (a == np.float32(0.1)).all() for a in out.values())
