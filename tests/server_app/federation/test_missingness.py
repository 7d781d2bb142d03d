"""What a site shows of its data under a run's missingness, and where its completed windows are stored."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from client_app.node import completions
from condi_core.methods import METHODS
from tests.helpers.site_partition import open_sites


def test_what_a_site_lacks_in_a_run_is_not_scored_there_either(federation, small_settings):
    settings = small_settings({"missingness.modality-by-site": 0.5, "missingness.points": 0.4})
    for site in open_sites(federation, settings):
        rows = site.partition.rows("test")
        measured, run = (site.read(rows, all_measured=flag).observed for flag in (True, False))
        whole = torch.from_numpy(site.partition.read(rows)[1])
        lacking = ~measured.flatten(2).any(-1).any(0)
        assert lacking.sum() > (~whole.flatten(2).any(-1).any(0)).sum()
        assert torch.equal(measured[:, ~lacking], whole[:, ~lacking]) and not run[:, lacking].any()


def test_completed_windows_mechanism_the_sampler(federation, small_settings):
    paths = set()
    for steps in (1, 16):
        site = open_sites(federation, small_settings({"imputer.sampling-steps": steps}))[0]
        paths.add(completions.cache_path(site, METHODS["condi"], "the same weights", "test"))
    assert len(paths) == 2


HOLES = {
    "missingness.points": 0.2,
    "missingness.points-mechanism": "mnar",
    "missingness.gaps": 0.1,
    "missingness.gaps-mechanism": "mar",
    "missingness.gap-patches": 3,
    "missingness.bursts": 0.1,
    "missingness.burst-patches": 1.5,
    "missingness.blackout": 0.1,
    "missingness.modality-by-window": 0.2,
    "missingness.modality-by-site": 0.4,
    "missingness.subsample-to": 4.0,
}


def test_completed_windows_mechanism_every_setting_of_the_holes(federation, small_settings):
    changes = [{}] + [{key: value} for key, value in HOLES.items()]
    sites = [open_sites(federation, small_settings(change))[0] for change in changes]
    assert HOLES.keys() == {key for key in small_settings() if key.startswith("missingness.")}
    paths = {completions.cache_path(site, METHODS["condi"], "the same weights", "test") for site in sites}
    assert len(paths) == len(changes)


def test_a_site_lacks_modalities_of_its_own_for_the_whole_run(federation, small_settings):
    none = {key: 0.0 for key in ("missingness.points", "missingness.gaps", "missingness.modality-by-window")}
    lacking = []
    for site in open_sites(federation, small_settings(none | {"missingness.modality-by-site": 0.5})):
        rows = np.arange(len(site.partition))
        _, observed = site.partition.read(rows)
        seen = site.read(rows).observed.numpy()
        lost = (observed & ~seen).any((0, 2, 3))
        np.testing.assert_array_equal(seen, observed & ~lost[None, :, None, None])
        assert lost.sum() in (1, 2) and seen.any((2, 3)).any(1).all(), "half of three or four"
        lacking.append(tuple(lost))
    assert len(set(lacking)) > 1


def test_values_decide_what_the_run_hides_where_they_are_said_to(federation, small_settings):
    none = {key: 0.0 for key in ("missingness.gaps", "missingness.modality-by-window")}
    for key, least in (("mcar", -0.1), ("mnar", 0.7)):
        site = open_sites(federation, small_settings(none | {"missingness.points-mechanism": key}))[2]
        rows = np.arange(len(site.partition))
        values, observed = site.partition.read(rows)
        hidden = observed & ~site.read(rows).observed.numpy()
        z = (values - values.mean((2, 3), keepdims=True)) / values.std((2, 3), keepdims=True)
        assert hidden.mean() == pytest.approx(0.3, abs=0.03)
        assert least < z[hidden].mean() < least + 0.2


def test_a_run_with_every_mechanism_at_once(federation, run_local):
    directory, _ = run_local(federation, HOLES)
    assert all(np.isfinite(a).all() for a in load_file(directory.path / "imputer.safetensors").values())
    assert (directory.path / "result.json").exists()
