"""Options of methods in a run: they change the model, are recorded, and come back with its file."""

from __future__ import annotations

import json

from condi_core import load_model
from condi_core.weights_file import read_weights

OPTIONS = "pepsy.controls=3 pepsy.selected=2 pepsy.temperature=0.7"


def test_a_run_with_options_is_recorded_and_its_model_loaded(run_local, federation):
    directory, _ = run_local(federation, {"method": "pepsy", "method-options": OPTIONS, "task.rounds": 1})
    assert json.loads((directory.path / "config.json").read_text())["method-options"] == OPTIONS
    model = load_model(directory.path, site="site-0").classifiers["pepsy"].task
    assert model.controls.shape[0] == 3 and (model.selected, model.temperature) == (2, 0.7)
    metadata = read_weights(next(directory.path.glob("task-pepsy.*")))[1]
    assert json.loads(metadata["options"]) == {"controls": 3, "selected": 2, "temperature": 0.7}


def test_a_run_without_options_has_the_metadata_of_before(finished_run):
    directory, _ = finished_run()
    metadata = read_weights(directory.path / "task-condi.safetensors")[1]
    assert metadata.keys() == {"schema", "settings", "method", "imputer"}
