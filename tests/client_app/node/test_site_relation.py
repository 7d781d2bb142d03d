"""The relation between modalities at one site: when it is used, and that nothing else depends on it."""

import numpy as np
import pytest
import torch

from client_app.inference.opening import open_run
from client_app.node import site_relation
from client_app.node.completion_cache import RELATION_SUFFIX, completions_folder, default_cache
from client_app.node.imputer_phase import compute_standardising_sums
from client_app.node.site_relation import use_site_relation
from condi_core.imputer import relation_estimate
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.loading import load_model
from condi_core.serialization import unpack_arrays
from data_partitions.partition import Partition
from tests.helpers.site_partition import open_sites

NAME = "closed_form.cross_spectra.0.spectrum"


@pytest.fixture
def site(federation, small_settings, tmp_path):
    return open_sites(federation, small_settings(), tmp_path / "cache")[1]


def imputer_of(site) -> DiffusionImputer:
    """Return an imputer that knows the scale of the site, and takes modalities for independent."""
    imputer = DiffusionImputer(site.schema, site.config.imputer).eval()
    imputer.standardiser.fit(torch.from_numpy(compute_standardising_sums(site)))
    return imputer


def spectrum(imputer) -> torch.Tensor:
    return dict(imputer.named_buffers())[NAME].clone()


def stored(site) -> list:
    return sorted(site.cache.rglob(f"*{RELATION_SUFFIX}"))


def test_a_site_learns_relations_that_all_sites_do_not_have(site):
    imputer = imputer_of(site)
    rows = site.partition.rows("val")
    before = relation_estimate._validation_error(site, rows, imputer)
    use_site_relation(site, imputer)
    # The error is a logarithm of a mean square: the root mean square falls by more than a tenth.
    assert relation_estimate._validation_error(site, rows, imputer) < before - 0.2
    # Of eight windows against the weight of ten: b and d, two waves of which one is late, correlate by 0.76.
    covariance = imputer.closed_form.cross_spectra[0].covariance()
    assert abs(covariance[1, 3]) > 0.25 * covariance[1, 1].sqrt() * covariance[3, 3].sqrt()


def test_a_site_whose_relation_completes_worse_keeps_that_of_all_sites(site, monkeypatch):
    imputer = imputer_of(site)
    use_site_relation(site, imputer)
    good = spectrum(imputer)
    for path in stored(site):
        path.unlink()

    def unrelated(source, rows, imputer, seed, first):
        return {NAME: imputer.closed_form.cross_spectra[0]._with_prior_shape(torch.eye(4)).numpy()}, None, 0

    monkeypatch.setattr(relation_estimate, "estimate_cross_spectrum", unrelated)
    use_site_relation(site, imputer)
    assert torch.equal(spectrum(imputer), good)


@pytest.mark.parametrize("gain, replaced", [(0.01, False), (0.05, True)])
def test_a_gain_within_the_chance_of_a_few_windows_is_none(site, monkeypatch, gain, replaced):
    errors = iter([-1.0, -1.0 - gain, -1.0])  # of all sites, and after three and nine steps
    monkeypatch.setattr(relation_estimate, "_validation_error", lambda *_: next(errors))
    imputer = imputer_of(site)
    before = spectrum(imputer)
    use_site_relation(site, imputer)
    assert torch.equal(spectrum(imputer), before) != replaced


def test_without_validation_windows_the_weight_of_all_sites_is_that_of_ten_windows(site, monkeypatch):
    imputer, population = imputer_of(site), spectrum(imputer_of(site))
    monkeypatch.setitem(relation_estimate.MAX_WINDOWS, "val", 0)
    own = torch.full_like(population, 3.0)
    monkeypatch.setattr(
        relation_estimate, "estimate_cross_spectrum", lambda *_, **__: ({NAME: own.numpy()}, None, 0)
    )
    use_site_relation(site, imputer)
    windows = len(site.partition.rows("train"))
    expected = (10 * population + windows * own) / (10 + windows)
    torch.testing.assert_close(spectrum(imputer), expected)


def test_a_stored_relation_is_used_again_and_one_that_was_lost_is_the_same(site, monkeypatch):
    results = []
    for lost in (False, True, False):
        for path in stored(site) if lost else ():
            path.unlink()
        imputer = imputer_of(site)
        use_site_relation(site, imputer)
        results.append(spectrum(imputer))
    assert all(torch.equal(result, results[0]) for result in results)
    assert len(stored(site)) == 1
    monkeypatch.setattr(site_relation, "_estimate", None)  # it would fail if it were called
    use_site_relation(site, imputer_of(site))


def test_a_relation_of_other_weights_or_data_is_not_used(federation, small_settings, tmp_path):
    sites = open_sites(federation, small_settings(), tmp_path / "cache")
    other = open_sites(federation, small_settings({"missingness.points": 0.6}), tmp_path / "cache")[0]
    changed = imputer_of(sites[0])
    with torch.no_grad():
        changed.closed_form.cross_spectra[0].spectrum.mul_(1.5)
    paths = {
        site_relation._stored_path(sites[0], imputer_of(sites[0])),
        site_relation._stored_path(sites[0], changed),
        site_relation._stored_path(sites[1], imputer_of(sites[0])),
        site_relation._stored_path(other, imputer_of(sites[0])),
    }
    assert len(paths) == 4


def test_a_cache_that_cannot_be_written_changes_nothing(site, monkeypatch):
    imputer, again = imputer_of(site), imputer_of(site)
    use_site_relation(site, imputer)

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(site_relation, "make_private_directory", full)
    use_site_relation(site, again)
    assert torch.equal(spectrum(again), spectrum(imputer))


def test_under_privacy_of_patients_a_gradient_does_not_depend_on_other_patients(
    federation, small_settings, tmp_path
):
    settings = small_settings({"privacy.patient-epsilon": 3.0, "privacy.value-ranges": "mV=-10:10"})
    site = open_sites(federation, settings, tmp_path / "cache")[1]
    imputer = imputer_of(site)
    before = spectrum(imputer)
    use_site_relation(site, imputer)
    assert torch.equal(spectrum(imputer), before) and not stored(site)


@pytest.mark.slow
def test_commands_use_the_relation_that_the_site_had_in_the_run(federation, run_local, tmp_path):
    run, grid = run_local(federation)
    partition = Partition.open(federation / "site-1")
    [path] = completions_folder(partition, default_cache()).glob(f"*{RELATION_SUFFIX}")
    completing = spectrum(open_run(run.path, partition.path, "cpu").imputer)
    assert np.array_equal(np.load(path)[NAME], completing.numpy())
    shared = spectrum(load_model(run.path).imputer)
    assert not torch.equal(shared, completing)
    phases = [message.content.config_records["config"].get("phase") for message in grid.sent]
    replies = [reply for reply in grid.received if reply.has_content() and "arrays" in reply.content]
    assert phases.count("relation") == 3  # each site sends sums in the one round, and no spectrum afterwards
    sent = [r for r in replies if NAME in unpack_arrays(r.content["arrays"])]
    assert len(sent) == phases.count("relation")


def test_no_more_relations_are_stored_than_stated(site, monkeypatch):
    monkeypatch.setattr(site_relation, "_estimate", lambda site, imputer: {NAME: spectrum(imputer)})
    imputer = imputer_of(site)
    for _ in range(site_relation.MAX_STORED_RELATIONS + 3):
        with torch.no_grad():
            imputer.closed_form.cross_spectra[0].spectrum.mul_(1.1)
        use_site_relation(site, imputer)
    assert len(stored(site)) == site_relation.MAX_STORED_RELATIONS
