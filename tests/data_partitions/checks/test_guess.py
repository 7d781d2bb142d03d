"""A draft of a folder is a valid description with what the files hold."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from data_partitions.checks.guess.annotation_sections import pair_files
from data_partitions.checks.guess.draft import Draft, write_value
from data_partitions.checks.guess.guess import guess_description
from data_partitions.checks.guess.recordings import _files_beside
from data_partitions.checks.guess.waveforms import FileHeader, write_signals
from data_partitions.description.reading import read_description
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.recordings.recording import Channel
from data_partitions.sources.described.reader import DescribedDataset
from tests.helpers.real_data import require_real
from tests.helpers.wfdb_files import draw_samples, write_record


def draft_of(source, tmp_path) -> tuple[str, Description]:
    """Return the draft of a folder, and the description that it is."""
    text = guess_description(source)
    file = tmp_path / "draft.toml"
    file.write_text(text, encoding="utf-8")
    return text, read_description(file)


def write_stays(folder, separator=",", decimal=".", count=30):
    """Write one csv file for each stay, every 5 minutes for 25 h, and a table of outcomes."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    outcomes = ["stay;patient;hospital;died;age"]
    for stay in range(count):
        lines = [separator.join(["timestamp", "HR", "SpO2"])]
        for step in range(300):
            stamp = f"{datetime(2026, 3, 1, 8) + timedelta(minutes=5 * step):%d.%m.%Y %H:%M}"
            value = f"{80 + 5 * rng.standard_normal():.1f}".replace(".", decimal)
            lines.append(separator.join([stamp, "-1" if step % 40 == 0 else value, "97"]))
        (folder / f"s{stay:03d}.csv").write_text("\n".join(lines) + "\n")
        outcomes.append(f"s{stay:03d};p{stay // 2};{'AB'[stay % 2]};{int(stay % 5 == 0)};{40 + stay}")
    (folder / "outcomes.txt").write_text("\n".join(outcomes) + "\n")


def test_wfdb_records_with_a_table_are_described(tmp_path):
    source = tmp_path / "holter"
    rows = ["record,patient,label"]
    for i in range(20):
        write_record(
            source / f"ward{i % 2}", f"r{i:02d}", draw_samples(seed=i), rate=250, names=("CC5", "CM5", "x")
        )
        rows.append(f"r{i:02d},p{i // 2},{'SR' if i % 3 else 'AF'}")
    (source / "labels.csv").write_text("\n".join(rows) + "\n")
    text, description = draft_of(source, tmp_path)
    assert description.files.path == "**/{record}.hea"
    assert (description.table.record, description.table.patient) == ("record", "patient")
    assert [(s.unit, s.rate) for s in description.signals.values()] == [("mV", 250.0)] * 3
    assert (description.task.kind, description.task.column) == ("binary", "label")
    assert description.window.length == 2.0
    assert "20 recordings" in text


def test_channels_of_several_spellings_and_units_are_one_signal(tmp_path):
    source = tmp_path / "ecg"
    for i in range(6):
        name, gain = ("ECG I", "1000/mV") if i % 2 else ("ecg i ", "1/uV")
        write_record(source, f"r{i}", draw_samples(signals=1), names=(name,), gain=gain)
    text, description = draft_of(source, tmp_path)
    (signal,) = description.signals.values()
    assert signal.unit == "mV"
    assert {str(name) for name in signal.channels} >= {"ECG I"}
    assert 'files have "' in text


@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", ",")])
def test_files_of_stays_with_time_stamps_are_described(tmp_path, separator, decimal):
    source = tmp_path / "stays"
    write_stays(source, separator, decimal)
    text, description = draft_of(source, tmp_path)
    files, table, window = description.files, description.table, description.window
    assert (files.separator, files.decimal) == (separator, decimal)
    assert (files.path, files.time, files.time_format) == ("{stay}.csv", "timestamp", "%d.%m.%Y %H:%M")
    assert "-1" in files.missing
    assert (table.record, table.patient, table.site, table.separator) == ("stay", "patient", "hospital", ";")
    assert (window.length, window.grid) == (24 * 3600, 300)
    assert description.signals["HR"].unit == "bpm"
    assert (description.task.kind, description.task.column) == ("binary", "died")
    assert description.covariates["age"].groups == (40, 65, 80)


def test_arrays_with_a_table_are_described(tmp_path):
    source = tmp_path / "arrays"
    source.mkdir()
    for i in range(6):
        np.save(source / f"p{i}.npy", np.random.default_rng(i).standard_normal((2000, 3)))
    (source / "labels.csv").write_text("id,y\n" + "".join(f"p{i},{i % 2}\n" for i in range(6)))
    text, description = draft_of(source, tmp_path)
    assert (description.files.format, description.files.path) == ("npy", "{id}.npy")
    assert description.files.axes == "time channel"
    assert len(description.signals) == 3
    assert "a guess, as nothing states it" in text


def test_tables_without_times_are_samples_at_a_rate(tmp_path):
    source = tmp_path / "rows"
    source.mkdir()
    for i in range(6):
        values = np.random.default_rng(i).standard_normal((1000, 2)).round(3)
        (source / f"r{i}.csv").write_text("ECG,RESP\n" + "".join(f"{a},{b}\n" for a, b in values))
    _, description = draft_of(source, tmp_path)
    assert description.files.rate == 100
    assert list(description.signals) == ["ECG", "RESP"]


def test_other_tables_of_the_same_stays_are_joined(tmp_path):
    source = tmp_path / "icu"
    source.mkdir()
    rows = [f"{i},{hour},{80 + i}" for i in range(20) for hour in range(25)]
    (source / "dyn.csv").write_text("stay_id,hours,hr\n" + "\n".join(rows) + "\n")
    (source / "outc.csv").write_text("stay_id,label\n" + "".join(f"{i},{i % 2}\n" for i in range(20)))
    (source / "sta.csv").write_text("stay_id,age,sex\n" + "".join(f"{i},{40 + i},F\n" for i in range(20)))
    _, description = draft_of(source, tmp_path)
    assert description.table.path == "outc.csv"
    assert description.table.join["sta"].path == "sta.csv"
    assert description.covariates["age"].column == "age"


def test_signals_in_another_usual_unit_have_that_unit(tmp_path):
    source = tmp_path / "icu"
    source.mkdir()
    rng = np.random.default_rng(0)
    rows = [
        f"{i},{hour},{rng.normal(98.6, 1):.1f},{rng.normal(6, 1):.1f}"
        for i in range(20)
        for hour in range(25)
    ]
    (source / "dyn.csv").write_text("stay_id,hours,temp,glucose\n" + "\n".join(rows) + "\n")
    _, description = draft_of(source, tmp_path)
    assert {name: s.unit for name, s in description.signals.items()} == {"temp": "degF", "glucose": "mmol/L"}


def test_units_in_the_names_of_columns_are_those_of_the_signals(tmp_path):
    (tmp_path / "stays").mkdir()
    columns = "hour,HR (bpm),Temp [degF],Pain (self-reported),Drain (mL)"
    rows = [f"{hour},{80 + hour % 5},{98 + hour % 3 / 10},{hour % 7},{20 + hour}" for hour in range(12)]
    for stay in range(6):
        (tmp_path / "stays" / f"s{stay}.csv").write_text("\n".join([columns, *rows]) + "\n")
    _, description = draft_of(tmp_path, tmp_path)
    assert {name: signal.unit for name, signal in description.signals.items()} == {
        "HR (bpm)": "bpm", "Temp [degF]": "degF", "Pain (self-reported)": "a.u.",
        "Drain (mL)": "mL",
    }  # fmt: skip
    assert description.signals["HR (bpm)"].range == (1, 350)


def test_properties_in_long_tables_are_covariates(tmp_path):
    source = tmp_path / "long"
    source.mkdir()
    for i in range(20):
        rows = [f"00:00,Age,{40 + i}", f"00:00,ICUType,{i % 3}"]
        rows += [f"{hour:02d}:{5:02d},HR,{80 + i + hour % 5}" for hour in range(48)]
        (source / f"s{i:02d}.txt").write_text("Time,Parameter,Value\n" + "\n".join(rows) + "\n")
    _, description = draft_of(source, tmp_path)
    assert list(description.signals) == ["HR"]
    assert description.table.properties == ("Age", "ICUType")
    assert description.table.site == "ICUType"
    assert description.covariates["age"].column == "Age"


@pytest.mark.parametrize(
    ("signals", "annotations", "patterns"),
    [
        (["n/a1.edf", "n/a2.edf"], ["s/a1.edf", "s/a2.edf"], ("n/{r}.edf", "s/{r}.edf")),
        (["a1.edf", "a2.edf"], ["a1-nsrr.xml", "a2-nsrr.xml"], ("{r}.edf", "{r}-nsrr.xml")),
        (
            ["SC4001E0-PSG.edf", "SC4002E0-PSG.edf"],
            ["SC4001EC-Hypnogram.edf", "SC4002EH-Hypnogram.edf"],
            ("{r:7}*-PSG.edf", "{r:7}*-Hypnogram.edf"),
        ),
        (["a1.edf", "a2.edf"], ["x.xml", "y.xml"], None),
    ],
)
def test_recordings_and_annotations_are_paired_by_their_names(signals, annotations, patterns):
    assert pair_files(signals, annotations, "r") == patterns


def test_a_folder_without_data_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        guess_description(tmp_path / "absent")
    with pytest.raises(DataError, match="has no files"):
        guess_description(tmp_path)
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"only files of unknown kinds \(\.docx\)"):
        guess_description(tmp_path)


def test_values_and_comments_are_valid_toml(tmp_path):
    import tomllib

    draft = Draft("two\nlines")
    texts = ['a "quoted" \\ text', "new\nline", "\x7f", "ä\t°"]
    draft.set("a", "texts", texts, "a comment\nof two lines")
    draft.set("a", "a key", {"1": [1, 2.5, True]})
    draft.comment("a", "x" * 300 + " y\nz")
    assert tomllib.loads(draft.to_toml()) == {"a": {"texts": texts, "a key": {"1": [1, 2.5, True]}}}
    assert write_value(1e-7) == "1e-07"


@pytest.mark.parametrize(
    ("name", "signals", "length", "kind"),
    [
        ("mitdb", 4, 10, "binary"),
        ("ludb", 12, 10, "single-label"),
        ("physionet2012", 37, 48 * 3600, "binary"),
        ("yaib-demo/mortality24/eicu-demo", 48, 24 * 3600, "binary"),
        ("mimic-iv-demo-meds", 30, 48 * 3600, "none"),
        ("ptbxl", 12, 10, "none"),
    ],
)
@pytest.mark.real
def test_real_folders_are_described(tmp_path, name, signals, length, kind):
    _, description = draft_of(require_real(name), tmp_path)
    assert len(description.signals) == signals
    assert (description.window.length, description.task.kind) == (length, kind)


def test_lists_in_comments_say_how_many_more_there_are():
    lead = Channel("I", "mV", 100.0, 1000)
    headers = [FileHeader(Path(f"{i}"), (lead, lead._replace(name=f"x{i:02d}")), 10.0, "") for i in range(60)]
    draft = Draft()
    write_signals(draft, headers)
    comment = " ".join(line.removeprefix("# ") for line in draft.to_toml().splitlines())
    assert "Left out, as hardly any file has them: x00, x01" in comment and "x18, x19 and 40 more." in comment


def test_files_beside_recordings_whose_names_begin_like_others():
    recordings, files = (["r1.edf", "r10.edf", "r2.edf"], ["r1_stages.csv", "r10_stages.csv", "patients.csv"])
    assert _files_beside(recordings, files) == files[:2]


def test_csv_annotations_beside_recordings_are_the_labels_and_no_table(tmp_path):
    folder = tmp_path / "in"
    for night in range(4):
        write_record(folder, f"n{night}", draw_samples(60, signals=1), names=("EEG",), rate=100)
        rows = "".join(f"{30 * i},30,{'Wake' if i else 'Deep'}\n" for i in range(2))
        (folder / f"n{night}-stages.csv").write_text(f"Start,Length,Stage\n{rows}")
    (folder / "patients.csv").write_text("id,patient\n" + "".join(f"n{i},p{i // 2}\n" for i in range(4)))
    text, description = draft_of(folder, tmp_path)
    annotations, task = description.annotations, description.task
    assert (annotations.path, annotations.onset) == ("{id}-stages.csv", "Start")
    assert (annotations.duration, annotations.text, annotations.source) == ("Length", "Stage", "csv")
    assert (task.kind, task.of, task.classes) == (
        "single-label",
        "window",
        {"Deep": ("Deep",), "Wake": ("Wake",)},
    )
    assert (description.table.path, description.table.record) == ("patients.csv", "id")
    assert description.window.length == 30 and description.window.align == "annotations"
    log = PreparationLog()
    rows = DescribedDataset(description).index(folder, log)
    assert (len(rows), log.rejected) == (8, [])
