"""An imputer of another package: phase 1 trains it, and its scores and files have the name of its method."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from client_app.node import request
from condi_core import load_model
from condi_core.config import ConfigError
from condi_core.imputer.diffusion import DiffusionNoise
from condi_core.imputer.imputer import ConditionedBatch, DiffusionImputer, Generators
from condi_core.methods import METHODS
from condi_core.methods.method import Method
from condi_core.methods.plugins import Plugin
from condi_core.run_files import read_result
from condi_core.weights_file import load_imputer, read_weights
from server_app.artifacts.run_estimates import estimates_by_row
from server_app.artifacts.run_record import read_run
from server_app.errors import RunError
from server_app.report.site_scores import site_rmse


class ShiftedEstimate(DiffusionImputer):
    """The closed-form estimate plus a learned constant: no network."""

    def __init__(self, schema, config) -> None:
        super().__init__(schema, config)
        del self.encoder, self.denoiser
        self.shift = torch.nn.Parameter(torch.ones(()))

    def loss_given_noise(self, batch: ConditionedBatch, drawn: DiffusionNoise) -> Tensor:
        error = batch.references.conditional_mean + self.shift - batch.x
        return (error.square() * batch.target).sum() / batch.target.sum().clamp(min=1)

    @torch.no_grad()
    def sample(
        self, batch: ConditionedBatch, num_draws: int, generator: Generators = None
    ) -> tuple[Tensor, Tensor]:
        point = batch.references.conditional_mean + self.shift
        return point, point.expand(num_draws, *point.shape)


METHOD = Method(
    "shifted",
    "estimate and a constant",
    imputer_training="diffusion",
    imputer=ShiftedEstimate,
    complete=lambda imputer, values, observed, draws, generator: imputer.impute(values, observed).point[None],
)


@pytest.fixture
def shifted(monkeypatch):
    """The method of this file, as if a package had it."""
    plugin = Plugin("shifted", "shifted-method", "1.0", "shifted_method:METHOD")
    monkeypatch.setattr(Plugin, "load", lambda self: METHOD)
    allowed = request.NO_POLICY.model_copy(update={"methods": ("shifted", "mask", "estimate")})
    monkeypatch.setattr(request, "NO_POLICY", allowed)
    for module in ("condi_core.methods", "condi_core.methods.packages", "client_app.node.completions"):
        monkeypatch.setattr(f"{module}.PLUGINS", {"shifted": plugin})
    assert METHODS["shifted"] is METHOD


@pytest.mark.slow
def test_a_run_trains_scores_and_stores_it(shifted, run_local, federation, monkeypatch):
    monkeypatch.setattr("server_app.artifacts.run_estimates.MIN_PATIENTS", 9)  # there are no more
    changes = {"method": "shifted", "compare-with": "estimate", "imputer.learning-rate": 0.1}
    with pytest.raises((ConfigError, RunError), match="'shifted' and 'estimate' train different imputers"):
        run_local(federation, changes)
    directory, _ = run_local(federation, changes | {"compare-with": "mask", "name": "run"})
    rows = read_result(directory.path)["imputation"]["points 50 %"]
    assert {"estimate", "linear", "mean", "shifted", "shifted, draws"} == rows.keys()
    assert rows["shifted"]["rmse"] != rows["estimate"]["rmse"]
    metadata = read_weights(directory.path / "imputer.safetensors")[1]
    assert (metadata["method"], metadata["package"]) == ("shifted", "shifted-method 1.0")
    imputer, _ = load_imputer(directory.path / "imputer.safetensors")
    assert isinstance(imputer, ShiftedEstimate) and 0 < imputer.shift.item() < 1, "training lowers the shift"
    classifier = load_model(directory.path).classifiers["shifted"]
    assert isinstance(classifier.imputer, ShiftedEstimate)
    assert "shifted" in (directory.path / "report.html").read_text()
    record = read_run(directory.path)
    assert record.own_imputer == "shifted"
    assert "shifted" in site_rmse(record)["site-0"]["points 50 %"]
    shown = estimates_by_row(record)["points 50 %"]["shifted"]["rmse"]
    assert shown.value == rows["shifted"]["rmse"] and shown.replicates is not None
    assert json.loads((directory.path / "config.json").read_text())["method"] == "shifted"
