"""Csv files of values over time, as others write them."""

import numpy as np
import pandas as pd
import pytest

from tests.helpers.generated_run import schema, write_run

NAMES = ("HR", "Temp", "SysABP", "Creatinine")
RANGES = ((0, 300), (25, 45), (0, 300), (0, 30))
HEAD = ["hour", "HR", "Temp", "SysABP"]
# A stay of 48 h; four hours of two variables are missing, and most temperatures.
ROWS = [
    [h, "" if 10 <= h < 14 else 80 + h % 7, 36.8 if h % 4 == 0 else "", "" if 10 <= h < 14 else 118 + h % 9]
    for h in range(48)
]


@pytest.fixture(scope="module")
def stays_run(tmp_path_factory):
    hours = schema(rates=(1,) * 4, patches=48, patch_seconds=3600.0, names=NAMES, unit="")
    fields = hours.model_dump()
    for modality, limits in zip(fields["modalities"], RANGES, strict=True):
        modality["range"] = limits
    return write_run(tmp_path_factory.mktemp("stays") / "run", type(hours).model_validate(fields))


def write_csv(file, rows=ROWS, head=HEAD):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(",".join(map(str, row)) + "\n" for row in [head, *rows]))
    return file


def probabilities(out):
    return pd.read_csv(out).set_index("record")[["well", "ill"]]


def test_completed_cells_are_in_range_and_codes_for_missing_values_are_not_used(tmp_path, call, stays_run):
    write_csv(tmp_path / "in" / "a.csv")
    write_csv(tmp_path / "in" / "b.csv", [[h, -999 if hr == "" else hr, *r] for h, hr, *r in ROWS])
    write_csv(
        tmp_path / "in" / "c.csv",
        [[*row, 99999 if row[0] == 5 else ""] for row in ROWS],
        [*HEAD, "Creatinine"],
    )
    code, output = call("impute", tmp_path / "in", tmp_path / "out", model=stays_run)
    assert code == 0 and "b.csv: 4 values are outside the range of HR, 0 to 300: not used" in output
    assert "c.csv: 1 value is outside the range of Creatinine, 0 to 30" in output
    tables = {name: pd.read_csv(tmp_path / "out" / f"{name}.csv") for name in "abc"}
    for name, table in tables.items():
        for modality, (low, high) in zip(NAMES, RANGES, strict=True):
            if modality in table:
                before = pd.read_csv(tmp_path / "in" / f"{name}.csv")[modality]
                filled = table[modality][before.isna()]
                assert filled.between(low, high).all(), (name, modality)
                np.testing.assert_array_equal(table[modality][before.notna()], before[before.notna()])
    pd.testing.assert_frame_equal(tables["a"], tables["c"][HEAD])
    pd.testing.assert_series_equal(tables["a"]["Temp"], tables["b"]["Temp"])
    call("predict", tmp_path / "in", tmp_path / "p.csv", "--samples", 0, model=stays_run)
    result = probabilities(tmp_path / "p.csv")
    np.testing.assert_allclose(result, np.tile(result.loc["a"], (3, 1)), atol=1e-5)


def test_a_file_of_another_unit_is_refused(tmp_path, call, stays_run):
    fahrenheit = [[h, hr, 98.2, *rest] for h, hr, _, *rest in ROWS]
    file = write_csv(tmp_path / "x.csv", fahrenheit)
    for command in ("impute", "predict"):
        code, output = call(command, file, tmp_path / command, model=stays_run)
        assert code == 1 and "48 of 48 samples of Temp are outside its plausible range" in output
    assert not (tmp_path / "impute").exists() and not (tmp_path / "predict").exists()


def test_a_column_that_begins_like_a_variable_is_none(tmp_path, call, stays_run):
    write_csv(tmp_path / "in" / "without.csv")
    write_csv(
        tmp_path / "in" / "urine.csv",
        [[*row, 120 if row[0] % 12 == 0 else ""] for row in ROWS],
        [*HEAD, "Creatinine urine"],
    )
    code, output = call("predict", tmp_path / "in", tmp_path / "p.csv", "--samples", 0, model=stays_run)
    assert code == 1 and "urine.csv has Creatinine urine, which the model does not know" in output
    out = tmp_path / "q.csv"
    code, _ = call("predict", tmp_path / "in", out, "--samples", 0, "--keep-unknown", model=stays_run)
    assert code == 0 and set(pd.read_csv(out)["missing modalities"]) == {"Creatinine"}
    result = probabilities(out)
    np.testing.assert_array_equal(result.loc["urine"], result.loc["without"])


@pytest.mark.parametrize(
    "head, factor, options, rows",
    [("time", 60, "", 0), ("minute", 60, "", 48), ("time", 60, '[files]\ntime-unit = "min"\n', 48)],
)
def test_minutes_are_never_taken_for_hours(tmp_path, call, stays_run, head, factor, options, rows):
    file = write_csv(tmp_path / "x.csv", [[factor * h, *rest] for h, *rest in ROWS], [head, *HEAD[1:]])
    hours = write_csv(tmp_path / "hours" / "x.csv")
    (tmp_path / "site.toml").write_text(options)
    local = ["--local", tmp_path / "site.toml"] if options else []
    code, output = call("impute", file, tmp_path / "out", *local, model=stays_run)
    if not rows:
        assert code == 1 and 'the unit of the column "time" is not known' in output
        return
    assert code == 0, output
    call("impute", hours, tmp_path / "expected", model=stays_run)
    table, expected = (pd.read_csv(tmp_path / d / "x.csv") for d in ("out", "expected"))
    assert len(table) == rows
    pd.testing.assert_frame_equal(table[HEAD[1:]], expected[HEAD[1:]])


def test_a_number_too_large_for_the_model_is_named_with_its_row(tmp_path, call, stays_run):
    write_csv(tmp_path / "in" / "a.csv")
    large = [[*row, "1.79769313486231E+308" if row[0] == 5 else ""] for row in ROWS]
    write_csv(tmp_path / "in" / "b.csv", large, [*HEAD, "Creatinine"])
    write_csv(tmp_path / "in" / "c.csv")
    code, output = call("predict", tmp_path / "in", tmp_path / "p.csv", "--samples", 0, model=stays_run)
    assert code == 1 and "row 7" in output and "Creatinine" in output
    assert set(probabilities(tmp_path / "p.csv").index) == {"a", "c"}


def test_columns_of_text_are_left_alone(tmp_path, call, stays_run):
    rows = [[*row, "stable"] for row in ROWS]
    file = write_csv(tmp_path / "s.csv", rows, [*HEAD, "Note"])
    code, output = call("impute", file, tmp_path / "out", "--keep-unknown", model=stays_run)
    assert code == 0 and "does not know are not read: Note" in output
    table = pd.read_csv(tmp_path / "out" / "s.csv")
    assert (table["Note"] == "stable").all() and table["HR"].notna().all()
