"""The protocols of others: which cells they hide, and how these are scored."""

import hashlib

import numpy as np
import pytest
import torch


def test_the_crps_of_a_point_is_its_mean_absolute_error(load_benchmark):
    stays = load_benchmark("published.stays")
    values = np.array([[[1.0, -2.0], [np.nan, 4.0]]])
    hidden = np.array([[[True, True], [False, False]]])
    row = stays.score_estimates(values, hidden, {"zero": np.zeros_like(values)})["zero"]
    assert row == pytest.approx(
        {"MAE": 1.5, "RMSE": 2.5**0.5, "CRPS by sum of |x|": 1.0, "CRPS by cell": 1.5}
    )


def test_the_crps_of_draws_is_the_mean_of_twice_the_quantile_losses(load_benchmark):
    draws = torch.arange(101.0)[:, None] / 100  # its quantile of a level is the level
    levels = np.arange(0.05, 1.0, 0.05)
    expected = np.mean([2 * max(q * (2 - q), (q - 1) * (2 - q)) for q in levels])
    total = load_benchmark("published.stays").sum_quantile_losses(
        draws, torch.tensor([2.0]), torch.tensor([True])
    )
    assert total == pytest.approx(expected, rel=1e-6)


def test_csdi_hides_a_share_of_the_measured_cells_of_every_stay_and_its_folds_are_disjoint(load_benchmark):
    csdi = load_benchmark("published.csdi")
    values = np.where(np.random.default_rng(0).random((20, 48, 35)) < 0.2, 1.0, np.nan)
    hidden = csdi.choose_hidden_cells(values, 0.5)
    measured = ~np.isnan(values)
    assert (hidden & ~measured).sum() == 0
    assert (hidden.sum((1, 2)) == (measured.sum((1, 2)) * 0.5).astype(int)).all()
    splits = [csdi.split_stays(4000, fold) for fold in range(5)]
    assert [len(part) for part in splits[2].values()] == [2800, 400, 800]
    assert sorted(np.concatenate([split["test"] for split in splits])) == list(range(4000))


def test_a_lead_is_scored_in_its_unit_and_by_its_shape(load_benchmark):
    truth = np.sin(np.arange(200) / 9)[None, None] * np.ones((1, 2, 1))
    errors, correlations = load_benchmark("published.ecg_leads").lead_scores(
        truth, np.stack([truth[0] + 0.5, 0 * truth[0]])
    )
    np.testing.assert_allclose(errors[0], 0.5)
    np.testing.assert_allclose(correlations[0], 1)
    assert np.isnan(correlations[1]).all()


@pytest.mark.parametrize("share", [0.2, 0.8, 1.0])
def test_both_modes_of_mutebench_hide_the_share(load_benchmark, share):
    mutebench = load_benchmark("published.mutebench")
    whole = mutebench.hide("modality missing", (30, 12, 100), share, 0)
    assert (whole.all(2) == whole.any(2)).all()
    assert (whole.all(2).sum(1) == min(round(12 * share), 11)).all()
    segments = mutebench.hide("within-modality missing", (30, 12, 100), share, 0)
    assert (segments.sum(2) == 100 * share).all()
    changes = (segments[..., 1:] != segments[..., :-1]).sum(2)
    assert (changes <= 2).all()


def test_hidden_cells_are_written_with_the_hash_of_their_file(load_benchmark, tmp_path, capsys):
    outcome = load_benchmark("published.outcome")
    hidden = np.array([[True, False]])
    result = outcome.Outcome("10% hidden, fold 0", hidden, {"mean": {"MAE": 0.5}}, ("as published",))
    outcome.report("P1", result, tmp_path)
    output = capsys.readouterr().out
    file = tmp_path / "P1-10-hidden-fold-0.npy"
    assert np.array_equal(np.load(file), hidden) and "as published" in output
    assert hashlib.sha256(file.read_bytes()).hexdigest() in output
