"""The check of tables over time says with counts what is wrong with stays in which something is wrong."""

import numpy as np
import pytest

from data_partitions.checks.check import check_dataset
from data_partitions.checks.finding import CheckReport
from data_partitions.checks.guess.guess import guess_description
from data_partitions.description.reading import read_description
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.described.reader import DescribedDataset
from tests.helpers.real_data import require_real

STAYS = 60
HOURS = 30


def draw_stay(number: int) -> list[list[float]]:
    """Return hourly rows: hour, heart rate, glucose (mg/dL)."""
    rng = np.random.default_rng(number)
    rate, glucose = rng.normal(80, 8), rng.lognormal(4.8, 0.2)
    return [
        [hour, round(rate + 4 * rng.standard_normal(), 1), round(glucose * rng.lognormal(0, 0.1), 1)]
        for hour in range(HOURS)
    ]


def write_stays(folder, change=lambda number, rows: rows) -> None:
    """Write all stays into one csv file, after a change of the rows of each."""
    lines = ["stay_id,hours,hr,glu"]
    for number in range(STAYS):
        for row in change(number, draw_stay(number)):
            lines.append(f"{number}," + ",".join("" if np.isnan(value) else f"{value:g}" for value in row))
    (folder / "events.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "icu"
    source.mkdir()
    write_stays(source)
    rows = ["stay_id,patient,hospital,died,age,survival"]
    for number in range(STAYS):
        died = number % 3 == 0
        rows.append(f"{number},p{number},h{number % 6},{int(died)},{50 + number % 30},{5 if died else -1}")
    (source / "outcomes.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "dataset.toml").write_text(guess_description(source))
    return source


def check(folder) -> CheckReport:
    description = read_description(folder.parent / "dataset.toml")
    return check_dataset(description, folder, lambda step, done, total: None)


def sentences(report: CheckReport, level: str) -> str:
    return "\n".join(f"{f.subject}: {f.sentence}" for f in report.findings if f.level == level)


def add(folder, text: str) -> None:
    path = folder.parent / "dataset.toml"
    path.write_text(path.read_text() + text)


def test_clean_stays_have_no_smell(folder):
    report = check(folder)
    assert not report.has_errors
    assert not [f for f in report.of_level("warning") if f.subject.startswith(("signals", "files", "table"))]
    assert "patients: 60 stays of 60 patients (one each)" in sentences(report, "fact")
    assert "(2 signals, 24 patches, 1 sample) = 48 numbers" in sentences(report, "fact")
    table = next(table for table in report.tables if table.title == "Signals")
    assert [row[:4] for row in table.rows] == [
        ["hr", "60 of 60", "bpm", "100%"],
        ["glu", "60 of 60", "mg/dL", "100%"],
    ]


def test_a_code_for_missing_is_named_with_what_to_do(folder):
    text = (folder.parent / "dataset.toml").read_text()
    (folder.parent / "dataset.toml").write_text(text.replace("range = [1, 350]\n", ""))

    def fill(number, rows):
        return [[hour, -1 if hour % 10 == 0 and number < 5 else hr, glu] for hour, hr, glu in rows]

    write_stays(folder, fill)
    warnings = sentences(check(folder), "warning")
    assert "signals.hr: -1 seems to stand for missing" in warnings
    assert '15 times in 5 stays (0, 1, 2 and 2 more); if so, add "-1" to files.missing' in warnings


def test_values_outside_the_range_are_counted_with_the_extremes(folder):
    write_stays(folder, lambda n, rows: [[h, 8000 if h == 3 else hr, glu] for h, hr, glu in rows])
    warnings = sentences(check(folder), "warning")
    assert "signals.hr: 3.3% of the values are outside 1 to 350 bpm" in warnings
    assert "(the highest is 8000), in 60 stays" in warnings


def test_a_hospital_in_another_unit_is_named(folder):
    write_stays(folder, lambda n, rows: [[h, hr, glu / 18.02 if n % 6 == 2 else glu] for h, hr, glu in rows])
    warnings = sentences(check(folder), "warning")
    assert "signals.glu: about 18 times smaller at site h2 than at the others" in warnings


def test_several_values_in_a_cell_are_counted(folder):
    write_stays(folder, lambda n, rows: rows + [[h + 0.5, hr, float("nan")] for h, hr, _ in rows])
    assert "steps of 1 h with several values: hr 100% (last counts)" in sentences(check(folder), "fact")


def test_stays_that_end_early_with_the_event_are_counted(folder):
    write_stays(folder, lambda n, rows: rows[:8] if n % 3 == 0 else rows)
    warnings = sentences(check(folder), "warning")
    assert "task.after: 20 of 20 stays with the event end before the window does (100%), and 0%" in warnings


def test_a_covariate_that_tells_the_outcome_is_named(folder):
    add(folder, '\n[covariates.survival]\nunit = "d"\n')
    assert "covariates.survival: it alone tells the outcome" in sentences(check(folder), "warning")


def test_stays_with_the_same_values_are_duplicates(folder):
    write_stays(folder, lambda n, rows: draw_stay(7) if n == 8 else rows)
    warnings = sentences(check(folder), "warning")
    assert (
        "duplicates: 2 recordings of different patients have the same samples as another one (7 = 8)"
        in warnings
    )


def test_a_variable_without_values_is_an_error(folder):
    write_stays(folder, lambda n, rows: [[h, hr, float("nan")] for h, hr, _ in rows])
    assert "signals.glu: no value of glu in any stay" in sentences(check(folder), "error")


def test_signals_with_the_same_measurements_are_named(folder):
    write_stays(folder, lambda n, rows: [[h, hr, hr] for h, hr, _ in rows])
    assert "signals.glu: the same measurements as hr in all stays" in sentences(check(folder), "warning")


def test_cells_that_are_no_numbers_are_counted(folder):
    path = folder / "events.csv"
    path.write_text(path.read_text() + "1,31,high,100\n2,31,,low\n")
    assert "files: dropped, not a number: 2 cells" in sentences(check(folder), "warning")


def edit(folder, old: str, new: str) -> None:
    path = folder.parent / "dataset.toml"
    text = path.read_text()
    assert old in text, text
    path.write_text(text.replace(old, new, 1))


def test_minutes_that_are_described_as_hours_are_asked_about(folder):
    write_stays(folder, lambda n, rows: [[60 * hour, *values] for hour, *values in rows])
    sentence = (
        "times are 60 h apart (median, 60 recordings), but the grid is 1 h, so that most steps are empty"
    )
    assert f"files.time-unit: {sentence}" in sentences(check(folder), "warning")
    description, log = read_description(folder.parent / "dataset.toml"), PreparationLog()
    dataset = DescribedDataset(description)
    list(dataset.read(folder, dataset.index(folder, log), log))
    assert f'{sentence[0].upper()}{sentence[1:]}: is time-unit = "h" wrong?' in log.notes
    draft = guess_description(folder)
    assert "times are 60 h apart (median): is time-unit wrong?" in draft
    assert "recordings last 1740 h (median)" in draft


def test_hours_that_are_described_as_minutes_are_asked_about(folder):
    edit(folder, 'time-unit = "h"', 'time-unit = "min"')
    sentence = (
        "the last times are 29 min (median, 60 recordings), but a window is 24 h, so that most steps are "
        'empty: is time-unit = "min" wrong?'
    )
    assert f"files.time-unit: {sentence}" in sentences(check(folder), "warning")
    description, log = read_description(folder.parent / "dataset.toml"), PreparationLog()
    dataset = DescribedDataset(description)
    list(dataset.read(folder, dataset.index(folder, log), log))
    assert f"{sentence[0].upper()}{sentence[1:]}" in log.notes


def test_a_unit_that_fits_worse_than_another_is_asked_about(folder):
    write_stays(folder, lambda n, rows: [[hour, hr, 36 + hr / 100] for hour, hr, _ in rows])
    text = (folder.parent / "dataset.toml").read_text()
    text = text.replace("[signals.glu]", "[signals.temp]").replace('unit = "mg/dL"', 'unit = "degF"')
    text = text.replace("range = [10, 2000]", 'channels = ["glu"]')
    (folder.parent / "dataset.toml").write_text(text)
    warnings = sentences(check(folder), "warning")
    assert "signals.temp: values of about 36.8 in 60 stays are usual in degC, but not in degF" in warnings
    (folder.parent / "dataset.toml").write_text(text.replace('"degF"', '"degC"'))
    assert "are usual in" not in sentences(check(folder), "warning")


def test_a_misspelt_column_of_the_task_is_named_with_its_line_once(folder):
    edit(folder, 'column = "died"', 'column = "dies"')
    errors = sentences(check(folder), "error")
    assert 'task.column: the table has no column "dies": did you mean "died"? (it has ' in errors
    assert errors.count(", line ") == 1


def test_a_folder_that_does_not_exist_is_not_blamed_on_the_description(folder):
    description = read_description(folder.parent / "dataset.toml")
    report = check_dataset(description, folder / "absent", lambda step, done, total: None)
    assert "there is no folder" in sentences(report, "error")
    assert ", line " not in sentences(report, "error")


def test_stays_without_values_are_counted(folder):
    write_stays(folder, lambda n, rows: [[h + 24, *v] for h, *v in rows] if n % 4 == 0 else rows)
    warnings = sentences(check(folder), "warning")
    assert "window: 15 of 60 windows (25%) have no value: with least-observed = 0.01" in warnings


def test_covariates_that_are_no_numbers_are_counted(folder):
    add(folder, '\n[covariates.hospital]\nunit = "1"\n')
    warnings = sentences(check(folder), "warning")
    assert "Covariate hospital is missing where its text is not a number (60): " in warnings


def test_shares_of_observed_steps_are_those_of_the_windows(folder):
    """12 h windows of 30 h, of which hours 0 to 5 have no rate and hours 12 to 14 one outside its range."""

    def change(number, rows):
        rates = [np.nan if h < 6 else 900 if 12 <= h < 15 else hr for h, hr, _ in rows]
        return [[h, rate, glucose] for (h, _, glucose), rate in zip(rows, rates, strict=True)]

    write_stays(folder, change)
    edit(folder, 'length = "24 h"', 'length = "12 h"')
    edit(folder, 'take = "first"', 'take = "all"')
    table = next(table for table in check(folder).tables if table.title == "Signals")
    assert [row[3] for row in table.rows] == ["62%", "100%"]  # 15 of 24 steps


@pytest.mark.parametrize("name", ["physionet2012", "mimic-iv-demo-meds", "yaib-demo/mortality24/eicu-demo"])
@pytest.mark.real
def test_real_tables_are_accepted_as_drafted(tmp_path, name):
    source = require_real(name)
    file = tmp_path / "dataset.toml"
    file.write_text(guess_description(source))
    report = check_dataset(read_description(file), source, lambda step, done, total: None)
    assert not report.has_errors
    assert len([f for f in report.of_level("warning") if f.subject.startswith("signals")]) <= 3
