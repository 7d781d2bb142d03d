import re

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from data_partitions.cli import inspect, prepare
from data_partitions.federation import write_federation
from data_partitions.inspection import format_rate
from data_partitions.partition import Partition, write_partition
from tests.helpers.small_partition import index_of, manifest_of, windows_of


def run(*arguments):
    app = typer.Typer()
    app.command("inspect")(inspect)
    app.add_typer(prepare, name="prepare")
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)], env={"COLUMNS": "80"})


def read_rows(result, first):
    """Return the cells of the table rows whose first cell is `first`."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in result.stdout.splitlines()]
    return [row for row in rows if row[0] == first]


def make_known_windows():
    """Make six windows that miss 90 of the 300 samples of the first EEG, and Resp in every second window."""
    values = windows_of()
    values[:, 0], values[:, 2] = 1.0, 2.0
    values[0, 0, :, :30] = np.nan
    values[::2, 2, :, 0] = np.nan
    return values


@pytest.fixture
def federation(tmp_path):
    sites = [
        (
            manifest_of(name),
            index_of(prefix=name),
            make_known_windows() if name == "a" else windows_of(seed=1),
        )
        for name in ("a", "b")
    ]
    path = tmp_path / "all"
    write_federation(path, sites, dataset="sleep", split="iid", seed=0, made_by="a test")
    return path


def test_missing_samples_are_counted(tmp_path):
    write_partition(tmp_path / "here", manifest_of(), index_of(), make_known_windows())
    missing = Partition.open(tmp_path / "here").missing_counts()
    assert missing == {"EEG Fpz-Cz": (1800, 90, 6, 0), "Resp": (18, 9, 6, 3)}


def test_a_site_is_inspected(federation):
    result = run(federation / "a")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert read_rows(result, "a") == [["a", "4", "1", "1", "6", "2 of 3: not EOG"]]
    assert read_rows(result, "windows") == [["windows", "4", "1", "1"]]
    assert read_rows(result, "W") == [["W", "2", "0", "1"]] and read_rows(result, "REM") == [
        ["REM", "2", "1", "0"]
    ]
    assert read_rows(result, "EEG Fpz-Cz") == [["EEG Fpz-Cz", "uV", "100 Hz", "1", "5.0%", "0.0%"]]
    assert read_rows(result, "Resp") == [["Resp", "a.u.", "1 Hz", "1", "50.0%", "50.0%"]]
    assert read_rows(result, "EOG") == [["EOG", "uV", "100 Hz", "0"]]


def test_the_tables_of_a_federation_sum_over_its_sites(federation):
    result = run(federation)
    assert result.exit_code == 0, result.output
    assert read_rows(result, "all") == [["all", "8", "2", "2", "12"]]
    assert read_rows(result, "W") == [["W", "4", "0", "2"]]
    counts = [Partition.open(federation / site).missing_counts()["EEG Fpz-Cz"] for site in ("a", "b")]
    share = sum(c[1] for c in counts) / sum(c[0] for c in counts)
    assert read_rows(result, "EEG Fpz-Cz")[0][3:] == ["2", f"{share:.1%}", "0.0%"]


@pytest.mark.parametrize("directory", ["all", "all/a"])
def test_a_picture_is_drawn(federation, tmp_path, directory):
    picture = tmp_path / "sites.png"
    result = run(federation.parent / directory, "--plot", picture)
    assert result.exit_code == 0, result.output
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 10_000
    assert f"Picture written to {picture}" in result.stdout


def test_errors_are_one_sentence(federation, tmp_path):
    for arguments, part in [
        ((tmp_path / "nowhere",), "there is no federation at"),
        ((tmp_path,), "has no federation.json"),
        ((federation, "--plot", tmp_path / "picture.xyz"), "cannot draw to"),
        ((federation, "--plot", tmp_path / "no" / "folder.png"), "No such file"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 1 and part in result.stderr
        assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1


def test_rates_have_readable_units():
    texts = {100: "100 Hz", 1: "1 Hz", 0.25: "15/min", 1 / 60: "1/min", 1 / 3600: "1/h", 1 / 86400: "1/d"}
    assert {rate: format_rate(rate) for rate in texts} == texts


def test_covariates_and_windows_without_labels_are_shown(tmp_path):
    covariates = ({"name": "age", "unit": "years"}, {"name": "sex", "categories": ("f", "m")})
    index = index_of().assign(
        **{"covariate age": [30, 50, None, 40, None, 40], "covariate sex": ["f", "m", "m", "m", "", "f"]}
    )
    index = index.astype({"W": float, "REM": float})
    index.loc[1, ["W", "REM"]] = np.nan
    manifest = manifest_of(covariates=covariates)
    write_partition(tmp_path / "here", manifest, index, make_known_windows())
    result = run(tmp_path / "here")
    assert result.exit_code == 0, result.output
    assert read_rows(result, "age") == [["age", "66.7%", "30 to 50 years, mean 40"]]
    assert read_rows(result, "sex") == [["sex", "83.3%", "f 2, m 3"]]
    assert read_rows(result, "without labels") == [["without labels", "1", "0", "0"]]
