"""A small study on the engine, interrupted during a run and then completed."""

import csv
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from data_partitions.sources import demo
from tests.helpers.condi_process import CONDI, processes_left, run_condi
from tests.helpers.fake_runs import STUDY_FILE
from tests.helpers.run_settings import without_paths

# Settings that a study makes itself, in addition to missingness.
SET_BY_STUDY = (
    "sites",
    "method",
    "method-options",
    "compare-with",
    "seed",
    "test-missingness",
    "task.learning-rate",
    "task.learning-rate-by-method",
)


def wait_for_file(process, folder, pattern):
    while process.poll() is None and not list(folder.glob(pattern)):
        time.sleep(0.2)


@pytest.mark.engine
def test_an_interrupted_study_resumes_and_writes_its_tables(tmp_path, small_settings):
    demo.write_source(tmp_path / "source", patients=40)
    settings = without_paths(
        small_settings({"imputer.relation-rounds": 0, "task.rounds": 10, "sites-timeout": 120.0})
    )
    lines = [
        f"{key} = {json.dumps(value)}"
        for key, value in settings.items()
        if key not in SET_BY_STUDY and not key.startswith("missingness.")
    ]
    (tmp_path / "study.toml").write_text(STUDY_FILE + "\n".join(lines))
    command = [CONDI, "study", "study.toml", "--nodes", "2"]
    with subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"CONDI_TEST": str(tmp_path)}) as first:
        # Tried while the first study prepares, because its only run ends soon after the first round.
        wait_for_file(first, tmp_path, "studies/study/.lock")
        second = run_condi("study", "study.toml", cwd=tmp_path)
        wait_for_file(first, tmp_path, "studies/study/runs/*/history.jsonl")
        first.send_signal(signal.SIGINT)
    assert first.returncode == 130 and not processes_left(tmp_path)
    assert second.returncode == 1 and re.search(
        rf"studies/study is in use by process {first.pid} on", second.stderr
    )
    runs = tmp_path / "studies" / "study" / "runs"
    (interrupted,) = runs.iterdir()

    completed = run_condi("study", "study.toml", "--nodes", 2, "--json", cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    summary = json.loads(completed.stdout)
    assert not summary["failed"] and len(summary["cells"]) == 2
    assert [run.name for run in runs.iterdir()] == [interrupted.name], (
        "the run is resumed, and no other is started"
    )
    columns = dict.fromkeys(key for cell in summary["cells"] for key in cell)
    rows = [{column: cell.get(column) for column in columns} for cell in summary["cells"]]
    with Path(summary["files"]["cells.csv"]).open() as file:
        table = list(csv.DictReader(file))
    as_text = [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]
    assert table == as_text, "as text, since NaN is not NaN"
    for cell in summary["cells"]:
        result = json.loads((runs / cell["run"] / "result.json").read_text())
        assert cell["auroc"] == result["task"][cell["method"]]["auroc"]
        assert cell["seconds"] > 0 and cell["bytes-up"] > 0 and cell["missing-fraction"] == pytest.approx(0.6)
    table = Path(summary["files"]["table.txt"]).read_text()
    assert table.count("Task, ecg, iid, 2 sites; missingness: 60 % of points") == 1
    assert table.index("\n  FedAvg") < table.index("\n  CondI")
    assert not processes_left(tmp_path)
