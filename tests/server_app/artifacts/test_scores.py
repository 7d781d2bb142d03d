"""Names of a run's own scores and of those that it is compared with."""

import pytest

from condi_core.evaluation.imputers import find_own_imputer
from server_app.artifacts.scores import final_scores


@pytest.mark.parametrize(("method", "rmse"), [("pooled", 0.4), ("local", 0.3), ("condi", 0.5), ("mask", 0.5)])
def test_the_imputer_of_a_run_is_that_of_the_scope_of_its_method(method, rmse):
    errors = {"linear": 1.0, "condi": 0.5, "pooled": 0.4, "local": 0.3}
    imputers = {name: {"rmse": error, "mae": error} for name, error in errors.items()}
    scores = final_scores({"task": {}, "imputation": {"points 50 %": imputers}}, method)
    assert scores["test/points 50 percent/rmse"] == rmse
    assert scores["compared/points 50 percent/linear/rmse"] == 1.0


def test_without_an_imputer_of_the_scope_the_own_one_is_the_first_that_was_trained():
    assert find_own_imputer(["linear", "condi"], "local") == "condi"
    assert find_own_imputer(["linear", "condi, draws"], "local") is None
