"""The best method and its ties: by intervals over seeds and over test patients."""

import numpy as np
import pytest

from server_app.artifacts.estimates import Estimate
from server_app.study.ranking import rank_marks
from server_app.study.statistics import patient_interval
from server_app.study.tables import imputation_table, task_table
from tests.helpers.study_cells import cell


def by_seed(*values):
    return {seed: Estimate(value) for seed, value in enumerate(values)}


def test_a_tie_is_a_difference_whose_interval_over_seeds_includes_0():
    """Differences 0.00, 0.01 and 0.02 have the interval 0.01 ± 0.0248; 0.09, 0.10 and 0.11 exclude 0."""
    best, near, far = by_seed(0.90, 0.92, 0.94), by_seed(0.90, 0.91, 0.92), by_seed(0.81, 0.82, 0.83)
    assert rank_marks([near, best, far]) == ["tie", "best", ""]
    assert rank_marks([near, best, far], higher_is_better=False) == ["", "", "best"]
    # Both spread by 0.1 over seeds, but in pairs one is always better by 0.01: the spread is no tie.
    assert rank_marks([by_seed(0.7, 0.8, 0.9), by_seed(0.71, 0.81, 0.9101)]) == ["", "best"]


def test_without_an_interval_only_means_that_print_equally_tie():
    assert rank_marks([by_seed(0.8004), by_seed(0.8), by_seed(0.799)]) == ["best", "tie", ""]
    assert rank_marks([by_seed(0.8), by_seed(0.8)]) == ["best", "best"]
    assert rank_marks([by_seed(float("nan")), by_seed(0.5), {}]) == ["", "best", ""]
    assert rank_marks([by_seed(float("nan"))]) == [""]


def test_methods_are_ranked_over_the_seeds_that_all_share():
    """An interrupted study lacks cells: a method without the hard seed would win by its mean."""
    assert rank_marks([by_seed(0.80, 0.60), by_seed(0.79)]) == ["best", ""]
    assert rank_marks([by_seed(0.80, 0.60), by_seed(0.79), {}]) == ["best", "", ""], "it has no score"
    assert rank_marks([by_seed(0.80), {1: Estimate(0.79)}]) == ["", ""], "nothing is shared"
    # Over both seeds of the first two the interval of the difference includes 0; over seed 0 it does not.
    assert rank_marks([by_seed(0.80, 0.60), by_seed(0.79, 0.62), by_seed(0.70)]) == ["best", "", ""]


def test_nothing_is_best_where_a_certain_value_is():
    assert rank_marks([by_seed(1.0), by_seed(0.9)], higher_is_better=None) == ["", ""]


def with_patients(value, replicates):
    return {0: Estimate(value, np.asarray(replicates))}


def test_intervals_over_patients_are_of_paired_differences():
    rng = np.random.default_rng(0)
    patients = rng.normal(0, 0.05, 1000)
    best = with_patients(0.9, 0.9 + patients)
    paired = with_patients(0.88, 0.88 + patients + rng.normal(0, 0.002, 1000))
    noisy = with_patients(0.88, 0.88 + patients + rng.normal(0, 0.02, 1000))
    assert rank_marks([best, paired, noisy]) == ["best", "", "tie"]
    low, high = patient_interval([best[0]])
    assert (low, high) == pytest.approx((0.802, 0.998), abs=0.01)


def test_a_difference_must_hold_over_seeds_and_over_patients():
    replicates = np.linspace(-0.1, 0.1, 101)
    best = {s: Estimate(0.9 + 0.001 * s, 0.9 + replicates) for s in range(3)}
    other = {s: Estimate(0.88 + 0.001 * s, 0.88 - replicates) for s in range(3)}
    assert rank_marks([best, other]) == ["best", "tie"], "seeds agree, and patients do not"


def test_the_interval_of_a_mean_over_seeds_is_as_wide_as_those_of_its_seeds():
    """Seeds share test patients, and their replicates are not paired: their average would be narrower."""
    scores = [Estimate(0.5, np.linspace(0.4, 0.6, 401)), Estimate(0.7, np.linspace(0.8, 0.6, 401))]
    assert patient_interval(scores) == pytest.approx((0.505, 0.695))
    assert np.isnan(patient_interval([*scores, Estimate(0.5)])).all() and np.isnan(patient_interval([])).all()


def test_tables_show_the_interval_over_patients_beside_the_spread_of_seeds():
    draws = {"auroc": np.linspace(0.8, 0.9, 401)}
    cells = [cell("condi", s, 0.84 + 0.01 * s, replicates=draws) for s in (0, 1)] + [cell("mask", 0, 0.7)]
    table = task_table(cells, "a scenario")
    assert [row[1].text for row in table.cells] == ["0.700", "0.845 ± 0.007 (0.802 to 0.897)"]
    assert "interval over test patients" in table.note
    assert "test patients" not in task_table([cell("mask", s, 0.7) for s in (0, 1)], "a scenario").note


def test_the_table_of_imputers_has_intervals_and_ties_over_patients():
    rmse = {"linear": 0.44, "estimate": 0.43, "condi": 0.4}
    patients = np.linspace(-0.04, 0.04, 401)
    draws = {"linear": 0.44 - patients, "estimate": 0.43 + patients, "condi": 0.4 + patients}
    one = cell(
        "condi",
        0,
        0.84,
        imputation={"gaps 50 %": {name: {"rmse": value} for name, value in rmse.items()}},
        imputation_replicates={("gaps 50 %", name, "rmse"): array for name, array in draws.items()},
    )
    table = imputation_table([one], "a scenario")
    assert {row[0].text: (row[1].text, row[1].mark) for row in table.cells} == {
        "linear interpolation": ("0.440 (0.402 to 0.478)", "tie"),
        "closed-form estimate": ("0.430 (0.392 to 0.468)", ""),
        "CondI, point estimate": ("0.400 (0.362 to 0.438)", "best"),
    }
