"""What a run writes to MLflow, read back by MLflow's client."""

import json
import os
import sys

import pytest

from condi_core.config import RunConfig
from server_app.artifacts import mlflow_tracking
from server_app.artifacts.mlflow_tracking import DEFAULT_ENVIRONMENT, MlflowWriter
from server_app.artifacts.scores import final_scores
from server_app.artifacts.tensorboard import scalars
from server_app.artifacts.tracking import Tracking
from server_app.errors import RunError
from tests.helpers.finished_runs import run_in, write_hostile
from tests.helpers.run_settings import flat_defaults

LINE = {"phase": "imputer", "round": 1, "metrics": {"rmse": 0.5}, "site-seconds": {"a": 1.0}, "loss": 1.0}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Undo what MLflow is told, and let no variable of the developer name a server."""
    monkeypatch.delenv(mlflow_tracking.URI_VARIABLE, raising=False)
    monkeypatch.delenv(mlflow_tracking.EXPERIMENT_VARIABLE, raising=False)
    for name in DEFAULT_ENVIRONMENT:
        monkeypatch.setenv(name, os.environ.get(name, DEFAULT_ENVIRONMENT[name]))


@pytest.mark.slow
def test_an_interrupted_and_resumed_run_is_one_run_of_mlflow(tmp_path, small_settings):
    mlflow = pytest.importorskip("mlflow")
    federation = write_hostile(tmp_path / "federation")
    settings = {"name": "resumed", "track": "mlflow", "on-end": "/bin/true --password secret"}

    def silent(request, reply):
        round_ = request.content["config"].get("server-round", 0)
        return None if request.metadata.message_type == "train.imputer" and round_ == 2 else reply

    with pytest.raises(RunError):
        run_in(tmp_path, federation, small_settings(settings), silent)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("condi").experiment_id
    assert [r.info.status for r in client.search_runs([experiment])] == ["FAILED"]

    again = small_settings(settings | {"resume": str(tmp_path / "runs" / "resumed")})
    run = run_in(tmp_path, federation, again)
    (tracked,) = client.search_runs([experiment])
    assert (tracked.info.run_name, tracked.info.status) == ("resumed", "FINISHED")
    assert tracked.data.params["imputer.rounds"] == "2" and tracked.data.params["method"] == "condi"
    assert str(federation) not in str(tracked.data.params)
    assert "secret" not in str(tracked.data) and "script" not in str(tracked.data.metrics)

    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    points = {}
    for line in history:
        for key, value in scalars(line).items():
            if "site-seconds" not in key:
                points.setdefault(key, []).append((line["round"], pytest.approx(value)))
    for key, expected in points.items():
        assert [(m.step, m.value) for m in client.get_metric_history(tracked.info.run_id, key)] == expected
    result = json.loads((run / "result.json").read_text())
    scores = final_scores(result, "condi")
    assert tracked.data.metrics["test/auroc"] == pytest.approx(result["task"]["condi"]["auroc"])
    tracked_scores = {k: v for k, v in tracked.data.metrics.items() if k.startswith(("test/", "compared/"))}
    assert tracked_scores == pytest.approx(scores)
    artifacts = client.list_artifacts(tracked.info.run_id)
    assert {file.path for file in artifacts} == {"report.html", "model-card.md"}
    assert (tmp_path / "runs" / "mlflow-artifacts").is_dir()


@pytest.mark.slow
def test_a_server_that_cannot_be_used_does_not_end_a_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mlflow")
    monkeypatch.setenv(mlflow_tracking.URI_VARIABLE, "nonsense://nowhere")
    writer = MlflowWriter(tmp_path, {"seed": 0}, resumed=False)
    writer.write([LINE, LINE])
    writer.close([LINE], {}, completed=True)
    assert capsys.readouterr().out.count("note: nothing more is written to MLflow at nonsense://nowhere") == 1


def test_scores_have_names_that_mlflow_takes_and_values_that_are_finite():
    rmse = {"rmse": 0.5, "mae": 0.4, "crps": 0.4, "coverage": 0.0, "rmse by modality": [0.5]}
    result = {
        "task": {"condi": {"auroc": 0.9, "score": 1.0, "f1": float("nan")}, "mask": {"auroc": 0.8}},
        "imputation": {"gaps 50 %": {"condi": rmse, "condi, draws": rmse | {"coverage": 0.9}}},
    }
    scores = final_scores(result, "condi")
    assert scores["test/auroc"] == 0.9 and scores["compared/mask/auroc"] == 0.8
    assert scores["test/gaps 50 percent/rmse"] == 0.5
    assert scores["compared/gaps 50 percent/condi draws/coverage"] == 0.9
    assert len(scores) == 2 + 3 + 4, "no F1, and no interval of the point estimate"


def test_nothing_is_written_to_mlflow_unless_the_settings_say_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    tracking = Tracking(RunConfig.from_flat(flat_defaults()), tmp_path)
    tracking.write([LINE, LINE])
    tracking.complete([LINE], {"task": {}, "imputation": {}})
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_asks_for_mlflow_where_it_is_not_is_refused(tmp_path, run_local, monkeypatch):
    monkeypatch.setattr(mlflow_tracking, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"track='mlflow' needs MLflow.*pip install 'condi\[mlflow\]'"):
        run_local(tmp_path / "no federation is read", {"track": "mlflow"})
    assert not (tmp_path / "runs").exists()
