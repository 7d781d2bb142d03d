"""`Imputer`: conventions of scikit-learn, arrays and data frames, files, and what it refuses."""

import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from condi_core import ConfigError, Imputer, WeightsFileError, load_model
from condi_core.estimator import NotFittedError
from condi_core.phase_config import ImputerConfig
from condi_core.weights_file import read_weights, weights_to_bytes
from tests.helpers.run_settings import flat_defaults
from tests.helpers.tiny_federation import NAMES, site_data

TINY = {
    "rounds": 1, "steps": 2, "batch": 4, "crop": 8, "relation_rounds": 2,
    "width": 8, "heads": 2, "blocks": 1, "pair_width": 4, "patch": 5,
}  # fmt: skip
TRUTH = np.stack(site_data("site", seed=0)[1]).reshape(14, 4, 60)
MISSING = np.random.default_rng(0).random(TRUTH.shape) < 0.4
SERIES = np.where(MISSING, np.nan, TRUTH)
FRAME = pd.DataFrame(
    SERIES.transpose(0, 2, 1).reshape(-1, 4).astype(np.float64),
    index=pd.MultiIndex.from_product([[f"stay {i}" for i in range(14)], range(60)], names=["stay", "time"]),
    columns=NAMES,
)


@pytest.fixture(scope="module")
def imputer():
    torch.set_num_threads(1)
    return Imputer(**TINY).fit(SERIES)


@pytest.fixture(scope="module")
def of_frames():
    torch.set_num_threads(1)
    return Imputer(**TINY).fit(FRAME)


def test_missing_samples_are_completed_better_than_by_the_mean_and_others_are_unchanged(imputer):
    completed = imputer.transform(SERIES)
    assert completed.shape == SERIES.shape and completed.dtype == SERIES.dtype
    np.testing.assert_array_equal(completed[~MISSING], SERIES[~MISSING])
    means = np.broadcast_to(np.nanmean(SERIES, (0, 2))[None, :, None], TRUTH.shape)
    error, of_mean = (np.sqrt(np.mean((x - TRUTH)[MISSING] ** 2)) for x in (completed, means))
    assert error < 0.2 * of_mean


def test_a_single_window_and_other_types_come_back_as_they_are(imputer, of_frames):
    assert imputer.transform(SERIES[0]).shape == (4, 60)
    assert imputer.transform(SERIES[:1].astype(np.float64)).dtype == np.float64
    table = of_frames.transform(FRAME)
    pd.testing.assert_index_equal(table.index, FRAME.index)
    assert list(table.columns) == list(NAMES) and not table.isna().any().any()
    of_dict = of_frames.transform({name: FRAME.loc[name] for name in ("stay 3", "stay 0")})
    assert list(of_dict) == ["stay 3", "stay 0"]
    pd.testing.assert_frame_equal(of_dict["stay 0"], table.loc["stay 0"], atol=0.01)
    (of_list,) = of_frames.transform([FRAME.loc["stay 3"]])
    pd.testing.assert_frame_equal(of_list, table.loc["stay 3"], atol=0.01)
    exchanged = of_frames.transform(FRAME.loc[["stay 3"], ["d", "a", "c", "b"]])
    assert list(exchanged.columns) == ["d", "a", "c", "b"]
    pd.testing.assert_frame_equal(exchanged[list(NAMES)], table.loc[["stay 3"]], atol=0.01)


def test_columns_without_missing_values_keep_their_type(of_frames):
    frame = FRAME.loc["stay 0"].assign(d=5).astype({"a": "Float64"})
    completed = of_frames.transform(frame)
    assert completed["d"].dtype == frame["d"].dtype and completed["a"].dtype == frame["a"].dtype
    assert (completed["d"] == 5).all() and not completed.isna().any().any()


def test_the_mask_of_a_masked_array_marks_what_was_not_observed(imputer):
    masked = np.ma.masked_array(np.where(MISSING, 999.0, TRUTH)[:2], MISSING[:2])
    expected = imputer.transform(SERIES[:2].astype(np.float64))
    np.testing.assert_array_equal(imputer.transform(masked), expected)
    counts = np.ma.masked_array(np.round(10 * TRUTH[:2]).astype(int), MISSING[:2])
    completed = imputer.transform(counts)
    assert completed.dtype == np.float64 and (completed[~MISSING[:2]] == counts.compressed()).all()


def test_columns_of_integers_and_bools_with_missing_values_come_back_as_floats(of_frames):
    frame = FRAME.loc["stay 0"].assign(c=5, d=True).astype({"c": "Int64", "d": "boolean"})
    frame.iloc[3, 2:] = pd.NA
    completed = of_frames.transform(frame)
    assert (completed.dtypes[["c", "d"]] == "Float64").all() and not completed.isna().any().any()
    assert (completed["c"].drop(3) == 5).all() and (completed["d"].drop(3) == 1).all()
    by_level = of_frames.quantiles([0.5], frame, samples=2)
    assert by_level[0.5]["c"].dtype == "Float64" and frame["c"].dtype == "Int64"


def test_quantiles_are_ordered_and_equal_what_was_observed(imputer, of_frames):
    low, median, high = imputer.quantiles([0.05, 0.5, 0.95], SERIES[:2], samples=19)
    observed = ~MISSING[:2]
    np.testing.assert_array_equal(low[observed], SERIES[:2][observed])
    np.testing.assert_array_equal(low[observed], high[observed])
    assert ((low < median) & (median < high))[~observed].mean() > 0.99
    by_level = of_frames.quantiles([0.1, 0.9], FRAME.loc[["stay 1"]], samples=9)
    assert list(by_level) == [0.1, 0.9]
    pd.testing.assert_index_equal(by_level[0.1].index, FRAME.loc[["stay 1"]].index)


def test_defaults_are_those_of_a_run():
    defaults = flat_defaults()
    for name, parameter in inspect.signature(Imputer).parameters.items():
        key = f"imputer.{name.replace('_', '-')}" if name in ImputerConfig.model_fields else name
        if name not in ("patch", "device", "site", "verbose"):
            assert parameter.default == defaults[key], name


def test_parameters_are_read_and_set(imputer):
    assert imputer.get_params() == Imputer().get_params() | TINY
    assert Imputer().set_params(rounds=9, seed=2).get_params() == Imputer(rounds=9, seed=2).get_params()
    with pytest.raises(ValueError, match="no parameter 'round' .did you mean 'rounds'"):
        Imputer().set_params(round=3)


@pytest.mark.slow
def test_it_can_be_cloned_and_be_a_step_of_a_pipeline(imputer):
    from sklearn.base import clone
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    copy = clone(imputer)
    assert copy.get_params() == imputer.get_params() and not copy.__sklearn_is_fitted__()
    flatten = FunctionTransformer(lambda x: x.reshape(len(x), -1))
    model = make_pipeline(copy, flatten, StandardScaler())
    features = model.fit(SERIES[:6], imputer__validation=SERIES[6:8]).transform(SERIES[8:10])
    assert features.shape == (2, 240) and np.isfinite(features).all()
    assert model[0].history_["rmse"].notna().sum() == 1


# Checks of scikit-learn that cannot apply. Its data (sample, feature) are one window (channel, time).
INAPPLICABLE_CHECKS = {
    "check_n_features_in": "the features are rows, the channels, and not columns",
    "check_n_features_in_after_fitting": "the same",
    "check_methods_subset_invariance": "some rows of a window are other channels than all of them",
    "check_fit_idempotent": "the same",
    "check_dtype_object": "expects the words of scikit-learn in a message",
    "check_estimators_empty_data_messages": "the same",
    "check_fit2d_predict1d": "the same",
}


class Of2dArrays(Imputer):  # for another kind of input, scikit-learn checks next to nothing
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


@pytest.mark.slow
def test_all_checks_of_scikit_learn_pass_that_apply_to_windows():
    from sklearn.utils.estimator_checks import check_estimator

    small = TINY | {"steps": 1, "relation_rounds": 1, "patch": None}
    results = check_estimator(Of2dArrays(**small), on_fail=None, on_skip=None)
    failed = {result["check_name"] for result in results if result["status"] == "failed"}
    assert failed == set(INAPPLICABLE_CHECKS)
    assert sum(result["status"] == "passed" for result in results) >= 30


def test_equal_seeds_give_equal_weights_and_leave_random_numbers_of_others_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, second, other = (Imputer(**TINY, seed=seed).fit(SERIES[:2]) for seed in (2, 2, 3))
    assert torch.equal(torch.rand(3), expected)
    assert first.model_.imputer_hash == second.model_.imputer_hash != other.model_.imputer_hash


def test_a_saved_imputer_completes_the_same_and_can_be_read_as_a_run(of_frames, tmp_path):
    file = tmp_path / "imputer.safetensors"
    of_frames.save(file)
    loaded = Imputer.load(file)
    assert loaded.get_params() == of_frames.get_params() and list(tmp_path.iterdir()) == [file]
    part = FRAME.loc[["stay 2"]]
    pd.testing.assert_frame_equal(loaded.transform(part), of_frames.transform(part))
    window = SERIES[2]
    expected = of_frames.transform(part).to_numpy().T
    np.testing.assert_array_equal(load_model(tmp_path).impute(window).point, expected.astype(np.float32))
    assert pickle.loads(pickle.dumps(loaded)).model_.imputer_hash == of_frames.model_.imputer_hash
    with pytest.raises(ValueError, match="expected X, as a loaded imputer does not hold"):
        loaded.quantiles([0.5])
    arrays, metadata = read_weights(file)
    for estimator, reason in (("{", "its weights or metadata are not those"), ("{}", "it has no named")):
        file.write_bytes(weights_to_bytes(arrays, metadata | {"estimator": estimator}))
        with pytest.raises(WeightsFileError, match=reason):
            Imputer.load(file)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(WeightsFileError, match="damaged"):
        Imputer.load(file)


def test_the_round_with_the_lowest_error_on_validation_windows_is_selected(monkeypatch):
    rounds, errors = [], iter([0.5, 0.2, 0.9])

    def score(windows, rows, network, seed):
        rounds.append([parameter.detach().clone() for parameter in network.parameters()])
        return {}

    monkeypatch.setattr("condi_core.single_site.score_imputer", score)
    monkeypatch.setattr("condi_core.single_site.rmse_over_patterns", lambda *_: next(errors))
    network = Imputer(**TINY | {"rounds": 3}).fit(SERIES[:2], validation=SERIES[2:3]).model_.imputer
    same = [all(map(torch.equal, weights, network.parameters())) for weights in rounds]
    assert same == [False, True, False]


def test_it_can_be_fitted_again_and_saves_the_parameters_of_the_fit(tmp_path):
    imputer = Imputer(**TINY, seed=np.int64(0)).fit(FRAME.loc[["stay 0", "stay 1"]])
    file = tmp_path / "imputer.safetensors"
    imputer.fit(SERIES[:2]).set_params(width=16).save(file)
    assert not hasattr(imputer, "feature_names_in_")
    loaded = Imputer.load(file)
    assert loaded.get_params() == Imputer(**TINY).get_params() and not hasattr(loaded, "feature_names_in_")
    np.testing.assert_array_equal(loaded.transform(SERIES[:2]), imputer.transform(SERIES[:2]))


def test_it_says_what_it_is_and_reports_rounds(imputer, capsys):
    assert repr(Imputer(rounds=9)) == "<Imputer(rounds=9), not fitted>"
    assert repr(imputer).endswith("fitted to windows (4, 60) of (channel, time)>")
    verbose = Imputer(**TINY, verbose=True).fit(SERIES[:2])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["relation 1/2", "relation 2/2", "imputer 1/1"]
    assert list(imputer.history_["phase"]) == ["relation", "relation", "imputer"]
    of_fitted = verbose.quantiles([0.5], samples=3)  # without X, of the windows that were fitted
    np.testing.assert_array_equal(of_fitted, verbose.quantiles([0.5], SERIES[:2], samples=3))


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"rounds": 0}, "parameter 'rounds'.* got 0"),
        ({"learning_rate": -1.0}, "parameter 'learning_rate'.* got -1"),
        ({"heads": 3}, "parameter 'heads'"),
        ({"patch": 7}, "parameter 'patch' must divide the 60 samples of a window, got 7"),
        ({"patch": 0}, "parameter 'patch' must be a positive integer or None, got 0"),
        ({"patch": 2.5}, "parameter 'patch' must be a positive integer or None, got 2.5"),
        ({"patch": "5"}, "parameter 'patch' must be a positive integer or None, got '5'"),
    ],
)
def test_invalid_parameters_are_refused(parameters, message):
    with pytest.raises(ConfigError, match=message):
        Imputer(**parameters).fit(SERIES)


@pytest.mark.parametrize(
    "levels, samples, message",
    [
        ([5, 95], 9, r"levels between 0 and 1, such as \[0.05, 0.95\], got \[5, 95\]"),
        ([], 9, r"levels between 0 and 1.* got \[\]"),
        (0.5, 9, "a list of levels .* got 0.5"),
        ([np.nan], 9, "levels between 0 and 1.* got .nan"),
        ([0.5], -1, "samples, a number of draws, as an integer from 1 up, got -1"),
        ([0.5], 0, "from 1 up, got 0"),
        ([0.5], 2.0, "from 1 up, got 2.0"),
    ],
)
def test_wrong_levels_and_draws_are_refused_before_anything_is_drawn(
    imputer, monkeypatch, levels, samples, message
):
    monkeypatch.setattr(imputer.model_, "impute", None)
    with pytest.raises(ValueError, match=message):
        imputer.quantiles(levels, SERIES, samples=samples)


def test_other_windows_than_those_fitted_are_refused(imputer, of_frames):
    with pytest.raises(ValueError, match=r"expected windows \(4, 60\).* got \(3, 60\)"):
        imputer.transform(SERIES[:, :3])
    with pytest.raises(ValueError, match="expected the columns a, b, c, d, got a, b, c"):
        of_frames.transform(FRAME[["a", "b", "c"]])
    with pytest.raises(NotFittedError, match="not fitted: call fit"):
        Imputer().transform(SERIES)
