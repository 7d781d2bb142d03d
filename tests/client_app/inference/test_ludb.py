"""LUDB, whose headers have wrong gains, is completed by a run on PTB-XL as a site says that it is written."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from data_partitions.prepare import prepare_federation
from data_partitions.sources import ptb_xl
from tests.helpers.finished_runs import run_in
from tests.helpers.real_data import require_real
from tests.helpers.run_settings import small_run_settings
from tests.helpers.wfdb_files import MISSING

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
RECORDS = 10
WINDOWS = {"train": 240, "val": 4, "test": 4}
GAP = slice(2000, 2400)  # of lead II, at 500 Hz
DIGITAL = '[files]\nformat = "wfdb"\npath = "*.hea"\ngains = "none"\n' + "".join(
    f"[signals.{lead}]\nscale = 0.001\n" for lead in LEADS
)


@pytest.fixture(scope="module")
def ptb_xl_run(tmp_path_factory):
    """Return a run on some windows of PTB-XL, which has learnt how the leads depend."""
    source, folder = require_real("ptbxl"), tmp_path_factory.mktemp("ptb-xl")

    def list_some(*arguments):
        index = ptb_xl.index(*arguments)
        return index[index.groupby("split").cumcount() < index["split"].map(WINDOWS)]

    few = SimpleNamespace(schema=ptb_xl.schema, index=list_some, read=ptb_xl.read)
    prepare_federation(few, source, folder / "federation", sites=1, split="iid")
    steps = {"imputer.rounds": 1, "imputer.steps": 1, "task.rounds": 1, "task.steps": 1}
    settings = {"name": "ptb-xl", "sites-timeout": 0.2, "imputer.samples": 0, "imputer.crop": 100}
    return run_in(folder, folder / "federation", small_run_settings(settings | steps))


def read_digital(header):
    return np.fromfile(header.with_suffix(".dat"), "<i2").reshape(-1, len(LEADS))


@pytest.mark.slow
def test_the_augmented_leads_and_a_gap_are_right_only_with_the_digital_samples(tmp_path, call, ptb_xl_run):
    headers = sorted(require_real("ludb").glob("*.hea"))[:RECORDS]
    (tmp_path / "in").mkdir()
    for header in headers:
        samples = read_digital(header).copy()
        samples[:, 3:6] = MISSING  # aVR, aVL, aVF
        samples[GAP, 1] = MISSING
        samples.tofile(tmp_path / "in" / f"{header.stem}.dat")
        shutil.copy(header, tmp_path / "in")
    (tmp_path / "site.toml").write_text(DIGITAL)
    errors = {}
    for name, options in (("digital", ("--local", tmp_path / "site.toml")), ("header", ())):
        code, output = call(
            "impute", tmp_path / "in", tmp_path / name, "--resample", *options, model=ptb_xl_run
        )
        assert code == 0 and "from 500 Hz to 100 Hz" in output, output
        squares = []
        for header in headers:
            truth, completed = read_digital(header), read_digital(tmp_path / name / header.name)
            assert (completed != MISSING).all()
            deviation = (completed - truth) / truth.std(axis=0)
            squares.append([(deviation[:, 3:6] ** 2).mean(), (deviation[GAP, 1] ** 2).mean()])
        errors[name] = np.sqrt(np.mean(squares, axis=0))
    assert (errors["digital"] < 0.3).all(), errors
    assert (errors["header"] > 1.5 * errors["digital"]).all(), errors
