"""Early stopping: which rounds are left out, and which weights are selected and kept."""

import json
import shutil

import numpy as np
import pytest

from condi_core.config import ConfigError
from condi_core.run_files import read_history
from server_app.app import coordinate
from server_app.settings import validate_settings
from tests.helpers.run_settings import flat_defaults

# Scores are worse in the second round of both phases than in the first, by a factor of two or more.
DIVERGING = {
    "imputer.relation-rounds": 1,
    "imputer.rounds": 4,
    "imputer.learning-rate": 2.0,
    "imputer.samples": 0,
    "task.rounds": 4,
    "task.learning-rate": 10.0,
    "patience": 1,
}


@pytest.mark.slow
def test_a_phase_stops_after_rounds_without_a_better_score_and_stays_stopped(finished_run, tmp_path):
    directory, grid = finished_run(DIVERGING)
    before, state = read_history(directory.path), directory.load()
    for phase in ("imputer", "task-condi"):
        lines = [line for line in before if line["phase"] == phase]
        # The score of the second round, which is worse, arrives with the weights of the third.
        assert [line["round"] for line in lines] == [1, 2, 3]
        first, second = (line["selection-score"] for line in lines[:2])
        assert second > first and state.scores[phase] == (first, 1)
        # The checkpoint has the best weights and the last ones.
        best, last = state.best[phase], state.models[phase]
        assert any(not np.array_equal(best[name], last[name]) for name in last)

    copy = tmp_path / "copy"
    shutil.copytree(directory.path, copy)
    (copy / "result.json").unlink()
    settings = json.loads((copy / "config.json").read_text())
    coordinate(grid, validate_settings(settings | {"resume": str(copy)}))
    assert read_history(copy) == before
    assert (copy / "result.json").read_bytes() == (directory.path / "result.json").read_bytes()


@pytest.mark.parametrize("privacy", [{"privacy.noise-multiplier": 1.0}, {"privacy.patient-epsilon": 1.0}])
def test_patience_is_refused_where_scores_would_be_revealed(privacy):
    with pytest.raises(ConfigError, match="cannot be combined with patience"):
        validate_settings(flat_defaults() | {"patience": 1, "compare-with": ""} | privacy)
