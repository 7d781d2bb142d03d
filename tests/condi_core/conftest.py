"""Small models of four modalities with every weight moved away from its initial zeros."""

import pytest
import torch

from condi_core.imputer.imputer import DiffusionImputer
from condi_core.task.model import TaskModel
from tests.helpers.toy import imputer_config, perturb, schema, standardise, task_config, windows


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def batch():
    """Six windows with 40 % of the samples not observed, in unusual units."""
    return windows(schema(), 6)


@pytest.fixture
def imputer(batch) -> DiffusionImputer:
    """An imputer whose output depends on every input: the zero heads of a new one would hide leaks."""
    model = DiffusionImputer(schema(), imputer_config())
    standardise(model, *batch)
    return perturb(model).eval()


@pytest.fixture
def task_model(batch) -> TaskModel:
    model = TaskModel(schema(), task_config())
    standardise(model, *batch)
    return perturb(model).eval()
