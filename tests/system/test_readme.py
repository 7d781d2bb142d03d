"""The Python example of the README works."""

import re
from pathlib import Path

import numpy as np
import wfdb

from data_partitions.sources.ptb_xl import LEADS
from tests.helpers.generated_run import schema, write_run

README = Path(__file__).parents[2] / "README.md"


def test_the_python_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "runs" / "demo", schema(rates=(10,) * 12, patches=100, names=LEADS))
    signal = np.random.default_rng(0).standard_normal((1000, 12)).cumsum(0) / 10
    signal[200:300, 3] = np.nan
    wfdb.wrsamp("ecg", 100, ["mV"] * 12, list(LEADS), signal, fmt=["16"] * 12, write_dir=str(tmp_path))
    (lines,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) <= 11
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(lines, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    for label in ("well", "ill"):
        assert re.search(rf"{label}: 0\.\d\d ± \d\.\d\d", printed), printed
    gap = np.isnan(names["values"])
    assert gap.sum() == 100 and (names["low"] < names["high"])[gap].all()
    np.testing.assert_array_equal(names["low"][~gap], names["high"][~gap])
