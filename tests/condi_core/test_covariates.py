"""Covariates as inputs of the task model, and subgroups of windows by them."""

import math

import numpy as np
import pytest
import torch

from condi_core.evaluation.subgroups import subgroup_shapes, subgroups
from condi_core.methods import METHODS
from condi_core.task.batch import TaskBatch
from condi_core.task.model import TaskModel
from condi_core.task.numbers import CovariateHead, NumberStandardiser
from condi_core.windows import Schema
from tests.helpers.toy import perturb, schema, standardise, task_config, windows

AGE = Schema.Covariate(name="age", unit="years", groups=(40, 65))
SEX = Schema.Covariate(name="sex", categories=("f", "m"))
WEIGHT = Schema.Covariate(name="weight", unit="kg")
NAN = math.nan


@pytest.fixture
def of() -> Schema:
    return schema().model_copy(update={"covariates": (AGE, SEX, WEIGHT)})


def test_subgroups_are_ranges_with_their_lower_bound_categories_and_what_is_not_recorded(of):
    groups = subgroups(of)
    assert [(g.covariate_name, g.name) for g in groups] == [
        ("age", "under 40 years"),
        ("age", "40 to 65 years"),
        ("age", "65 years and over"),
        ("age", "not recorded"),
        ("sex", "f"),
        ("sex", "m"),
        ("sex", "not recorded"),
    ]
    covariates = np.array([[39.9, 0, 1], [40, 1, NAN], [64, NAN, 1], [65, 1, 1], [NAN, 0, 1]], np.float32)
    members = np.array([group.contains(covariates) for group in groups])
    assert members.sum(1).tolist() == [1, 2, 1, 1, 2, 2, 1]
    assert (members[:4].sum(0) == 1).all() and (members[4:].sum(0) == 1).all(), "each window is in one"


def test_sums_of_subgroups_have_names_of_their_own(of):
    groups = subgroups(of)
    shapes = subgroup_shapes({"task": (2, 3), "confusion": (2, 2)}, groups)
    assert len(shapes) == 2 * (1 + len(groups))
    sums = {name: np.full(shape, i) for i, (name, shape) in enumerate(shapes.items())}
    selected = groups[1].select(sums, ["task", "confusion"])
    assert {name: array.shape for name, array in selected.items()} == {"task": (2, 3), "confusion": (2, 2)}
    assert selected["task"][0, 0] == sums["task/0.1"][0, 0]


def test_standardising_sums_skip_what_is_missing_and_add_up():
    numbers = np.array([[1.0, NAN], [3.0, 5.0], [NAN, NAN]])
    sums = NumberStandardiser.sums(numbers)
    assert sums.tolist() == [[2, 4, 10], [1, 5, 25]]
    np.testing.assert_array_equal(
        NumberStandardiser.sums(numbers[:1]) + NumberStandardiser.sums(numbers[1:]), sums
    )
    standardiser = NumberStandardiser(2)
    standardiser.fit(torch.from_numpy(sums))
    assert standardiser.mean.tolist() == [2, 5] and standardiser.std.tolist() == [1, 1]
    x = torch.tensor([[7.0, NAN]])
    torch.testing.assert_close(standardiser.inverse(standardiser(x)), x, equal_nan=True)


def test_a_head_adds_nothing_before_training_and_reads_categories_and_what_is_recorded(of):
    head = CovariateHead(of, width=8, outputs=3)
    head.fit(torch.tensor([[10.0, 500.0, 26000.0], [10.0, 3.0, 3.0], [0.0, 0.0, 0.0]]))
    assert head.standardiser.mean.tolist() == [50, 0, 0], "categories are not standardised"
    covariates = torch.tensor([[50.0, 0, 70], [50.0, 1, 70], [50.0, NAN, 70], [NAN, 0, 70], [NAN, NAN, NAN]])
    assert not head(covariates).any()
    perturb(head)
    outputs = head(covariates)
    assert torch.isfinite(outputs).all()
    assert len({tuple(row) for row in outputs.tolist()}) == 5, "all five differ"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_read_covariates(of, name):
    model = METHODS[name].model(of, task_config(covariates=True))
    values, observed = windows(of, 4)
    standardise(model, values, observed)
    perturb(model)
    model.eval()
    labels = torch.eye(3)[[0, 1, 2, 0]]
    young, old = (torch.tensor([[age, 0.0, 70.0]]).expand(4, 3) for age in (-1.0, 1.0))
    batch = (values, observed, observed)
    assert not torch.equal(model(*batch, young), model(*batch, old))
    assert not torch.equal(
        *(model.training_loss(TaskBatch(*batch, labels, recorded)) for recorded in (young, old))
    )
    nothing = torch.full((4, 3), NAN)
    torch.testing.assert_close(model(*batch), model(*batch, nothing), rtol=0, atol=0)


def test_without_the_setting_covariates_are_not_read_and_weights_are_as_without_them(of):
    torch.manual_seed(0)
    plain = TaskModel(schema(), task_config())
    torch.manual_seed(0)
    model = TaskModel(of, task_config())
    assert list(model.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
    values, observed = windows(of, 3)
    assert torch.equal(model(values, observed, observed, torch.rand(3, 3)), model(values, observed, observed))
