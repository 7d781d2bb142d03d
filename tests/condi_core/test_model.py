"""A run's models from Python: what they do not change, what they depend on, and arrays that are refused."""

import numpy as np
import pandas as pd
import pytest

from condi_core import load_model
from condi_core.weights_file import WeightsFileError
from tests.helpers.generated_run import schema, write_run

SCHEMA = schema()


def windows(count: int, seed: int = 0) -> np.ndarray:
    """Generate windows with half of the samples NaN, the first with one lead complete and one missing."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, *SCHEMA.shape)).cumsum(-1).astype(np.float32)
    missing = rng.random(x.shape) < 0.5
    missing[0, 0], missing[0, 1] = False, True
    return np.where(missing, np.nan, x)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run", SCHEMA)


@pytest.fixture(scope="module")
def model(run):
    return load_model(run)


def test_observed_samples_are_returned_and_all_others_completed(model):
    x = windows(5)
    imputation = model.impute(x, samples=3)
    assert imputation.point.shape == x.shape and imputation.draws.shape == (3, *x.shape)
    observed = ~np.isnan(x)
    for completed in (imputation.point, *imputation.draws):
        np.testing.assert_array_equal(completed[observed], x[observed])
        assert np.isfinite(completed).all()
    complete = np.nan_to_num(x)
    np.testing.assert_array_equal(model.impute(complete).point, complete)


def test_unobserved_values_do_not_matter(model):
    x = windows(3)
    observed = ~np.isnan(x)
    for bad in (0.0, 1e30, np.inf):
        other = np.where(observed, x, np.float32(bad))
        np.testing.assert_array_equal(
            model.impute(other, observed, 2).draws, model.impute(x, samples=2).draws
        )
        prediction, expected = model.predict(other, observed, 2), model.predict(x, samples=2)
        np.testing.assert_array_equal(prediction.draws, expected.draws)


def test_the_mask_of_a_masked_array_marks_what_was_not_observed(model):
    x = windows(3)
    masked = np.ma.masked_array(np.where(np.isnan(x), 999.0, x), np.isnan(x))
    np.testing.assert_array_equal(model.impute(masked).point, model.impute(x).point)
    np.testing.assert_array_equal(model.predict(masked).values, model.predict(x).values)
    observed = np.ones(x.shape, bool)
    np.testing.assert_array_equal(model.impute(masked, observed).point, model.impute(x).point)
    masked_observed = np.ma.masked_array(observed, np.isnan(x))
    np.testing.assert_array_equal(model.impute(masked.data, masked_observed).point, model.impute(x).point)


def test_what_is_outside_a_plausible_range_is_dropped_and_nothing_is_imputed_outside(tmp_path):
    limits = (-0.5, 0.5)
    fields = SCHEMA.model_dump()
    fields["modalities"][1]["range"] = limits
    narrow = load_model(write_run(tmp_path / "run", SCHEMA.model_validate(fields)))
    x = windows(3)
    outside = (x < limits[0]) | (x > limits[1])
    outside[:, [0, 2]] = False
    imputation, prediction = narrow.impute(x, samples=3), narrow.predict(x, samples=2)
    assert outside.sum() > 100
    for result in (imputation, prediction):
        np.testing.assert_array_equal(result.dropped, [0, outside.sum(), 0])
    for completed in (imputation.point, *imputation.draws):
        assert (completed[:, 1] >= limits[0]).all() and (completed[:, 1] <= limits[1]).all()
        observed = ~np.isnan(x) & ~outside
        np.testing.assert_array_equal(completed[observed], x[observed])
    without = np.where(outside, np.nan, x)
    np.testing.assert_array_equal(narrow.impute(without, samples=3).draws, imputation.draws)
    np.testing.assert_array_equal(narrow.predict(without).values, prediction.values)
    assert not narrow.impute(without).dropped.any()


def test_windows_are_completed_the_same_in_any_batch_and_order(model):
    x = windows(19)
    together = model.impute(x, samples=2, seed=4)
    spread = together.draws.std()
    for order in (np.arange(19)[::-1], np.array([7]), np.array([3, 18, 0])):
        other = model.impute(x[order], samples=2, seed=4)
        np.testing.assert_allclose(other.point, together.point[order], atol=1e-4 * spread)
        np.testing.assert_allclose(other.draws, together.draws[:, order], atol=1e-4 * spread)
        prediction, expected = model.predict(x[order], samples=2), model.predict(x, samples=2)
        np.testing.assert_allclose(prediction.draws, expected.draws[:, order], atol=1e-4)


def test_draws_depend_on_the_seed_and_on_the_window(model):
    x = windows(2)
    x[1] = x[0]
    first = model.impute(x, samples=2).draws
    np.testing.assert_allclose(first[:, 0], first[:, 1], atol=1e-3)
    missing = np.isnan(x[0])
    for other in (first[1, 0], model.impute(x, samples=2, seed=1).draws[0, 0]):
        assert np.abs(first[0, 0] - other)[missing].mean() > 0.05


def test_quantiles_are_those_of_the_draws(model):
    imputation = model.impute(windows(1), samples=19)
    levels = (0.05, 0.5, 0.95)
    ordered = np.sort(imputation.draws, 0)[[0, 9, 18]]
    np.testing.assert_allclose(imputation.quantiles(levels), ordered, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="quantiles need draws"):
        model.impute(windows(1)).quantiles(levels)
    of_array = imputation.quantiles(np.array(levels))  # float64
    np.testing.assert_array_equal(of_array, imputation.quantiles(levels))
    with pytest.raises(ValueError, match=r"levels between 0 and 1, such as .*, got \[5, 95\]"):
        imputation.quantiles([5, 95])


def test_a_negative_number_of_draws_is_refused(model):
    for call in (model.impute, model.predict):
        with pytest.raises(ValueError, match="a number of draws, as an integer from 0 up, got -1"):
            call(windows(1), samples=-1)


def test_predictions_come_with_their_spread(model):
    x = windows(4)
    prediction = model.predict(x, samples=6)
    assert prediction.values.shape == (4, 2) and prediction.draws.shape == (6, 4, 2)
    np.testing.assert_allclose(prediction.spread, prediction.draws.std(0, ddof=1))
    assert (prediction.spread > 0).all()
    complete = model.predict(np.nan_to_num(x), samples=3)
    np.testing.assert_allclose(complete.spread, 0, atol=1e-6)  # nothing is uncertain if nothing is missing
    np.testing.assert_allclose(complete.draws, np.repeat(complete.values[None], 3, 0), atol=1e-6)
    assert np.isnan(model.predict(x).spread).all()
    mask = model.predict(x, samples=3, method="mask")
    assert mask.draws.shape == (0, 4, 2) and not np.allclose(mask.values, prediction.values)


def test_a_task_model_trained_on_draws_averages_over_as_many(tmp_path):
    model = load_model(write_run(tmp_path / "run", SCHEMA, **{"task.completions": 3}))
    x = windows(2)
    np.testing.assert_allclose(model.predict(x, samples=3).draws.mean(0), model.predict(x).values, atol=1e-6)


def test_a_slow_modality_is_nan_in_its_padding(tmp_path):
    mixed = schema(rates=(10, 10, 2))
    model = load_model(write_run(tmp_path / "run", mixed))
    x = np.random.default_rng(0).standard_normal((2, *mixed.shape)).astype(np.float32)
    x[:, :, 5:9] = np.nan
    imputation = model.impute(x)
    assert np.isfinite(imputation.point[:, :2]).all() and np.isfinite(imputation.point[:, 2, :, :2]).all()
    assert np.isnan(imputation.point[:, 2, :, 2:]).all()


@pytest.mark.parametrize("shape", [(3, 200), (2, 3, 200)])
def test_channels_by_time_give_what_patches_give_in_their_own_shape(model, shape):
    x = windows(2)[: None if len(shape) == 3 else 1]
    imputation, expected = model.impute(x.reshape(shape), samples=1), model.impute(x, samples=1)
    assert imputation.point.shape == shape and imputation.draws.shape == (1, *shape)
    np.testing.assert_array_equal(imputation.point, expected.point.reshape(shape))
    np.testing.assert_array_equal(imputation.quantiles([0.5])[0], expected.quantiles([0.5])[0].reshape(shape))
    prediction, expected = model.predict(x.reshape(shape)), model.predict(x)
    np.testing.assert_array_equal(prediction.values, expected.values.reshape(*shape[:-2], 2))
    assert prediction.spread.shape == prediction.values.shape


@pytest.mark.parametrize(
    "shape, advice",
    [
        ((200, 3), "exchange the last two axes, values.swapaxes(-1, -2)"),
        ((5, 200, 3), "exchange the last two axes, values.swapaxes(-1, -2)"),
        ((3, 20, 10), "add the axis of windows, values[None]"),
        ((5, 2, 200), "give the channels in the order I, II, V1, with NaN for those that were not recorded"),
        ((3, 150), "fill up to 200 samples at 100 Hz with NaN"),
        ((3, 5000), "cut recordings into windows of 200 samples at 100 Hz"),
        ((1, 3, 20, 9), "cut recordings into windows of 200 samples at 100 Hz"),
        ((0, 3, 200), "give at least one window"),
        ((200,), "give one window as a row of samples per channel"),
    ],
)
def test_another_shape_is_refused_with_the_way_to_get_there(model, shape, advice):
    expected = "(3, 200) for one window (channel, time), (n, 3, 200), or (n, 3, 20, 10) by patches"
    for call in (model.impute, model.predict):
        with pytest.raises(ValueError) as error:
            call(np.zeros(shape))
        assert f"expected values of shape {expected}, got {shape}: " in str(error.value)
        assert advice in str(error.value)


def test_a_run_says_what_it_is(model):
    models = "imputer, classifiers mask and condi"
    assert repr(model) == f"<TrainedRun of condi on generated: {models}, windows (3, 200) of (channel, time)>"


@pytest.mark.parametrize(
    "values, observed, message",
    [
        (np.zeros((1, 3, 20, 10)), np.ones((1, 3, 200), bool), "observed of the shape of values"),
        (np.zeros((1, 3, 20, 10)), np.ones((1, 3, 20, 10)), "to be bool"),
        (np.full((1, 3, 20, 10), np.nan), np.ones((1, 3, 20, 10), bool), "not finite"),
        (np.ma.zeros((1, 3, 20, 10)), np.ones((1, 3, 200), bool), "observed of the shape of values"),
        ([[1.0, pd.NA]], None, "expected values as an array of numbers, got one that cannot become floats"),
        ([[1.0], [1.0, 2.0]], None, "got one that .* with a sequence.: give rows of equal length, and NaN"),
        (np.zeros((3, 200)) + 1j, None, "Complex data not supported"),
        (np.zeros((3, 200)), [[True], [True, False]], "observed as an array of bools, got rows of different"),
    ],
)
def test_other_arrays_are_refused(model, values, observed, message):
    with pytest.raises(ValueError, match=message):
        model.impute(values, observed)
    with pytest.raises(ValueError, match=message):
        model.predict(values, observed)


def test_a_run_without_imputation_predicts_and_says_that_it_cannot_impute(tmp_path):
    model = load_model(write_run(tmp_path / "run", SCHEMA, methods=("mask",)))
    assert model.predict(windows(2)).values.shape == (2, 2)
    with pytest.raises(WeightsFileError, match="no trained imputer"):
        model.impute(windows(1))
    with pytest.raises(WeightsFileError, match="no task model 'condi': choose from mask"):
        model.predict(windows(1), method="condi")
