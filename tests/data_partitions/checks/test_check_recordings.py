"""The check of recordings says with counts what is wrong with files in which something is wrong."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from data_partitions.checks.check import check_dataset
from data_partitions.checks.finding import CheckReport
from data_partitions.checks.guess.guess import guess_description
from data_partitions.dataset_cli import dataset
from data_partitions.description.reading import read_description
from tests.helpers.real_data import require_real
from tests.helpers.wfdb_files import write_record

LEADS = ("I", "II", "III", "V1", "V2", "V6")
FILES = 24


def draw_ecg(seed: int, seconds: int = 10, rate: int = 100) -> np.ndarray:
    """Draw leads `(time, lead)` in uV that agree with each other, with beats of about 1 mV."""
    rng = np.random.default_rng(seed)
    time = np.arange(seconds * rate) / rate
    beats = np.exp(-0.5 * (((time + rng.uniform(0, 0.8)) % 0.8 - 0.4) / 0.03) ** 2)
    source = 1000 * beats + 200 * np.sin(time + rng.uniform(0, 6))
    noise = 30 * rng.standard_normal((4, time.size))
    first, second = 0.7 * source + noise[0], source + noise[1]
    chest = [-0.8 * source + noise[2], 0.6 * source + noise[3], 0.9 * source + noise[0]]
    return np.stack([first, second, second - first, *chest], axis=1) * rng.lognormal(0, 0.2)


@pytest.fixture
def folder(tmp_path):
    """A clean data set: files that a test changes before it checks them."""
    source = tmp_path / "ecg"
    rows = ["record,patient,hospital,label"]
    for i in range(FILES):
        write_record(source, f"r{i:02d}", np.round(draw_ecg(i)).astype(int), names=LEADS)
        rows.append(f"r{i:02d},p{i:02d},{'AB'[i % 2]},{'SR' if i % 2 else 'AF'}")
    (source / "labels.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "dataset.toml").write_text(guess_description(source))
    return source


def rewrite(folder, number: int, change, **options) -> None:
    samples = draw_ecg(number)
    write_record(folder, f"r{number:02d}", np.round(change(samples)).astype(int), names=LEADS, **options)


def check(folder) -> CheckReport:
    description = read_description(folder.parent / "dataset.toml")
    return check_dataset(description, folder, lambda step, done, total: None)


def edit(folder, old: str, new: str, file: str = "../dataset.toml") -> None:
    path = folder / file
    text = path.read_text()
    assert old in text, text
    path.write_text(text.replace(old, new, 1))


def sentences(report: CheckReport, level: str) -> str:
    return "\n".join(f"{f.subject}: {f.sentence}" for f in report.findings if f.level == level)


def smells(report: CheckReport) -> list[str]:
    """Return the subjects of warnings about files and signals, not about numbers of patients."""
    return [f.subject for f in report.of_level("warning") if not f.subject.startswith(("task", "split"))]


def test_clean_files_have_no_smell(folder):
    report = check(folder)
    assert not report.has_errors
    assert smells(report) == []
    facts = sentences(report, "fact")
    assert "patients: 24 files of 24 patients (one each)" in facts
    assert "2 sites with 12 recordings each" in facts
    assert "(6 signals, 200 patches, 5 samples) = 6000 numbers" in facts
    assert "III = II - I and the augmented leads hold in all of 24 files" in facts


def test_a_flat_channel_and_identical_channels_are_named(folder):
    rewrite(folder, 3, lambda x: x * [1, 1, 1, 0, 1, 1])
    rewrite(folder, 4, lambda x: x[:, [0, 1, 2, 3, 4, 4]])
    report = check(folder)
    assert "signals.V1: flat in 1 file (r03.hea), at 0" in sentences(report, "warning")
    assert "signals.V6: the same samples as V2 in 1 file (r04.hea)" in sentences(report, "warning")


def test_values_outside_the_range_are_counted(folder):
    rewrite(folder, 5, lambda x: np.where(np.arange(1000)[:, None] < 100, 20000, x))
    facts = sentences(check(folder), "fact")
    assert (
        "signals.I: 0.4% of the values are outside -10 to 10 mV and count as missing (the highest is 20), in "
        in facts
    )


def test_clipped_and_filled_channels_are_named(folder):
    rewrite(folder, 6, lambda x: np.minimum(x, 500))
    rewrite(folder, 7, lambda x: np.where(np.arange(1000)[:, None] < 400, 0, x))
    warnings = sentences(check(folder), "warning")
    assert "signals.II: cut off at its highest or lowest value in 1 file (r06.hea)" in warnings
    assert "the same value for 2 s and longer in 1 file (r07.hea), mostly 0" in warnings


def test_another_gain_in_some_files_is_noticed(folder):
    for number in (8, 9):
        rewrite(folder, number, lambda x: x, gain="1(0)/mV")
    warnings = sentences(check(folder), "warning")
    assert "about 1000 times larger than in the other files in 2 files (r08.hea, r09.hea)" in warnings


def test_gains_wrong_lead_by_lead_are_noticed_with_what_mends_them(folder):
    for i in range(FILES):
        header = folder / f"r{i:02d}.hea"
        lines = header.read_text().splitlines()
        lines[2] = lines[2].replace("1000(0)/mV", f"{600 + 10 * i}(3)/mV")
        lines[3] = lines[3].replace("1000(0)/mV", "1400(0)/mV")
        header.write_text("\n".join(lines) + "\n")
    report = check(folder)
    warnings = sentences(report, "warning")
    assert "fail in 24 of 24 files" in warnings
    assert 'set gains = "none" in [files] and scale = 0.001 in each lead' in warnings
    edit(folder, 'path = "{record}.hea"', 'path = "{record}.hea"\ngains = "none"')
    edit(folder, "rate = 100", "scale = 0.001\nrate = 100")
    assert smells(check(folder)) == []


def test_exchanged_names_and_exchanged_arms_are_noticed(folder):
    rewrite(folder, 10, lambda x: x[:, [0, 2, 1, 3, 4, 5]])
    rewrite(folder, 11, lambda x: x * [-1, 0, 0, 1, 1, 1] + x[:, [0, 2, 1, 3, 4, 5]] * [0, 1, 1, 0, 0, 0])
    warnings = sentences(check(folder), "warning")
    assert "the names of II and III are exchanged in 1 file" in warnings
    assert "lead I is opposite to V6 in 1 file (r11.hea)" in warnings


def test_a_lead_upside_down_is_named(folder):
    rewrite(folder, 12, lambda x: x * [1, 1, 1, 1, -1, 1])
    assert "signals.V2: opposite to the other signals in 1 file (r12.hea)" in sentences(
        check(folder), "warning"
    )


def test_rows_without_files_and_files_without_rows_are_counted(folder):
    edit(folder, "r00,p00,A,AF\n", "x00,p00,A,AF\n", "labels.csv")
    warnings = sentences(check(folder), "warning")
    assert "table: 1 row without a file (x00): left out" in warnings
    assert "files: 1 file without a row in the table (r00.hea): left out" in warnings


def test_patients_at_two_sites_and_duplicates_are_counted(folder):
    edit(folder, "r01,p01,B", "r01,p00,B", "labels.csv")
    (folder / "r03.dat").write_bytes((folder / "r02.dat").read_bytes())
    warnings = sentences(check(folder), "warning")
    assert "table.site: 1 patient (p00) at several sites" in warnings
    assert (
        "duplicates: 2 recordings of different patients have the same samples as another one (r02 = r03)"
        in warnings
    )


def test_a_misspelt_event_is_an_error_with_what_there_is(folder):
    edit(folder, 'event = ["', 'event = ["x')
    report = check(folder)
    assert report.has_errors
    lines = (folder.parent / "dataset.toml").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.startswith("event ="))
    errors = sentences(report, "error")
    assert 'no row has "xAF" in label: did you mean "AF"? There are "AF" (12), "SR" (12)' in errors
    assert errors.endswith(f"dataset.toml, line {line})")


def test_a_channel_that_no_file_has_is_an_error_with_a_suggestion(folder):
    edit(folder, 'channels = ["V2"]', 'channels = ["V22"]')
    assert 'signals.V2: no file has any of its channels: did you mean "V2"' in sentences(
        check(folder), "error"
    )


def test_unreadable_files_are_named_and_the_others_checked(folder):
    (folder / "r13.hea").write_text("not a header\n")
    (folder / "r14.dat").unlink()
    warnings = sentences(check(folder), "warning")
    assert "source: 2 of 24 files cannot be used: r13.hea" in warnings


def test_a_pattern_that_matches_nothing_is_one_error(folder):
    edit(folder, "{record}.hea", "{record}.edf")
    report = check(folder)
    assert len(report.of_level("error")) == 1
    assert "no file fits" in report.of_level("error")[0].sentence


def test_the_command_ends_with_what_to_do_next(folder):
    runner, file = CliRunner(), str(folder.parent / "dataset.toml")
    result = runner.invoke(dataset, ["check", file, "--source", str(folder)])
    assert result.exit_code == 0
    expected = f"ready: condi prepare {file} --source {folder} --split column --out FOLDER"
    assert result.stdout.splitlines()[-1] == expected
    result = runner.invoke(dataset, ["check", file, "--source", str(folder), "--json"])
    assert json.loads(result.stdout)["errors"] == []
    edit(folder, 'event = ["', 'event = ["x')
    result = runner.invoke(dataset, ["check", file, "--source", str(folder)])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("not ready: 1 error")


@pytest.mark.parametrize("name", ["ptbxl", "mitdb"])
@pytest.mark.real
def test_clean_real_files_have_no_smell_of_signals(tmp_path, name):
    source = require_real(name)
    file = tmp_path / "dataset.toml"
    file.write_text(guess_description(source))
    report = check_dataset(read_description(file), source, lambda step, done, total: None)
    assert not report.has_errors
    subjects = [f.subject for f in report.of_level("warning") if "only" not in f.sentence]
    assert not [subject for subject in subjects if subject.startswith(("signals", "leads"))]


@pytest.mark.real
def test_the_gains_of_ludb_are_noticed_and_mended(tmp_path):
    source = require_real("ludb")
    file = tmp_path / "dataset.toml"
    draft = guess_description(source)
    file.write_text(draft)
    report = check_dataset(read_description(file), source, lambda step, done, total: None)
    warnings = sentences(report, "warning")
    assert "fail in 36 of 36 files" in warnings
    assert "The gains in the headers are wrong lead by lead" in warnings
    assert 'set gains = "none" in [files] and scale = 0.001 in each lead' in warnings
    mended = draft.replace('format = "wfdb"', 'format = "wfdb"\ngains = "none"')
    file.write_text(mended.replace("rate = 500", "scale = 0.001\nrate = 500"))
    report = check_dataset(read_description(file), source, lambda step, done, total: None)
    facts = sentences(report, "fact")
    assert "III = II - I and the augmented leads hold in all of 36 files" in facts


def test_whole_numbers_without_a_scale_are_one_warning(folder):
    edit(folder, 'path = "{record}.hea"', 'path = "{record}.hea"\ngains = "none"')
    (warning,) = [f for f in check(folder).of_level("warning") if f.subject.startswith(("signals", "files"))]
    assert re.match(
        r'with gains = "none" the numbers of the files, up to \d{4}, count as mV', warning.sentence
    )
    assert "scale = 0.001" in warning.sentence


def test_files_with_the_same_fault_are_one_reason(folder):
    for number in range(5):
        (folder / f"r0{number}.hea").write_text("not a header\n")
    (finding,) = [f for f in check(folder).of_level("warning") if "cannot be used" in f.sentence]
    assert finding.sentence.startswith("5 of 24 files cannot be used: r00.hea")
    assert finding.sentence.endswith("(and 4 more like it)")


def test_files_with_unreadable_samples_are_in_no_table(folder):
    (folder / "r03.dat").write_bytes(b"")
    report = check(folder)
    table = next(table for table in report.tables if table.title == "Signals")
    assert table.rows[0][1] == "23 of 23"
