"""The samples that a site observes under a run's missingness, and where its completed windows are stored."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.helpers.run_settings import EVERY_MISSINGNESS
from tests.helpers.site_partition import open_sites


def test_modalities_that_a_run_hides_at_a_site_are_not_scored_there(federation, small_settings):
    settings = small_settings({"missingness.modality-by-site": 0.5, "missingness.points": 0.4})
    for site in open_sites(federation, settings):
        rows = site.partition.rows("test")
        measured, run = (site.read(rows, all_measured=flag).observed for flag in (True, False))
        recorded = torch.from_numpy(site.partition.read(rows)[1])
        hidden = ~measured.flatten(2).any(-1).any(0)
        assert hidden.sum() > (~recorded.flatten(2).any(-1).any(0)).sum()
        assert torch.equal(measured[:, ~hidden], recorded[:, ~hidden]) and not run[:, hidden].any()


def test_each_site_is_without_its_own_modalities_for_the_whole_run(federation, small_settings):
    none = {key: 0.0 for key in ("missingness.points", "missingness.gaps", "missingness.modality-by-window")}
    hidden_by_site = []
    for site in open_sites(federation, small_settings(none | {"missingness.modality-by-site": 0.5})):
        rows = np.arange(len(site.partition))
        _, observed = site.partition.read(rows)
        seen = site.read(rows).observed.numpy()
        lost = (observed & ~seen).any((0, 2, 3))
        np.testing.assert_array_equal(seen, observed & ~lost[None, :, None, None])
        assert lost.sum() in (1, 2) and seen.any((2, 3)).any(1).all(), "half of three or four"
        hidden_by_site.append(tuple(lost))
    assert len(set(hidden_by_site)) > 1


def test_hidden_samples_depend_on_values_only_under_mnar(federation, small_settings):
    none = {key: 0.0 for key in ("missingness.gaps", "missingness.modality-by-window")}
    for mechanism, min_mean in (("mcar", -0.1), ("mnar", 0.7)):
        changes = none | {"missingness.points-mechanism": mechanism}
        site = open_sites(federation, small_settings(changes))[2]
        rows = np.arange(len(site.partition))
        values, observed = site.partition.read(rows)
        hidden = observed & ~site.read(rows).observed.numpy()
        z = (values - values.mean((2, 3), keepdims=True)) / values.std((2, 3), keepdims=True)
        assert hidden.mean() == pytest.approx(0.3, abs=0.03)
        assert min_mean < z[hidden].mean() < min_mean + 0.2


def test_a_run_with_every_mechanism_at_once(federation, run_local):
    directory, _ = run_local(federation, EVERY_MISSINGNESS)
    assert all(np.isfinite(a).all() for a in load_file(directory.path / "imputer.safetensors").values())
    assert (directory.path / "result.json").exists()
