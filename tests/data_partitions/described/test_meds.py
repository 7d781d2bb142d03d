"""MEDS: stays by codes, label files that are not known too early, splits of subjects."""

import numpy as np
import pandas as pd
import pytest

from data_partitions import DataError
from data_partitions.checks.guess.guess import guess_description
from data_partitions.description.reading import read_description
from data_partitions.description.sections import Description
from data_partitions.events.meds import read_label_file
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.described.reader import DescribedDataset

DAY = pd.Timestamp("2150-01-01")


def hours(hour):
    return DAY + pd.Timedelta(hours=hour)


def describe(**sections):
    fields = {
        "dataset": {"name": "meds"},
        "files": {"format": "meds", "path": "data/**/*.parquet"},
        "table": {"end": "OUT//*", "properties": ["GENDER//*"]},
        "window": {"start": "IN//*", "length": "4 h", "grid": "1 h", "take": "first"},
        "signals": {
            "HR": {"unit": "bpm", "channels": ["HR//bpm", "LAB//1//*"]},
            "temp": {"unit": "degC", "channels": ["T//*"], "channel-units": {"T//*": "°F"}},
        },
        "task": {"kind": "none"},
        "split": {"by": "file", "file": "splits.parquet"},
        "covariates": {"age": {}, "sex": {"column": "GENDER//*", "categories": {"female": "F", "male": "M"}}},
    }
    for name, changes in sections.items():
        fields[name] = {**fields.get(name, {}), **changes}
    return Description.model_validate(fields)


@pytest.fixture
def source(tmp_path):
    rows = [
        (1, None, "GENDER//F", None),
        (1, pd.Timestamp("2100-01-01"), "MEDS_BIRTH", None),
        (1, hours(-1), "HR//bpm", 60),
        (1, hours(0), "IN//ward", None),
        (1, hours(0.5), "LAB//1//x", 70),
        (1, hours(0.6), "HR//bpm", 71),
        (1, hours(0.7), "LAB//1//y", 72),
        (1, hours(2), "LAB//1//y", 73),
        (1, hours(3), "T//F", 98.6),
        (1, hours(6), "OUT//home", None),
        (1, hours(24), "IN//unit", None),
        (1, hours(25), "HR//bpm", 99),
        (2, None, "GENDER//M", None),
        (2, hours(0), "IN//ward", None),
        (2, hours(1), "HR//bpm", 80),
        (3, hours(1), "HR//bpm", 81),
    ]
    table = pd.DataFrame(rows, columns=["subject_id", "time", "code", "numeric_value"])
    table["time"] = table["time"].astype("datetime64[us]")
    for folder, part in (("train", table[:10]), ("held_out", table[10:])):
        (tmp_path / "data" / folder).mkdir(parents=True)
        part.to_parquet(tmp_path / "data" / folder / "0.parquet")
    splits = pd.DataFrame({"subject_id": [1, 2, 3], "split": ["train", "held_out", "tuning"]})
    splits.to_parquet(tmp_path / "splits.parquet")
    return tmp_path


def read(description, source, log=None):
    reader, log = DescribedDataset(description), log or PreparationLog(strict=True)
    rows = reader.index(source, log)
    windows = dict(zip(rows["record_id"], reader.read(source, rows, log), strict=True))
    return rows.set_index("record_id"), windows


def test_each_event_of_a_code_starts_a_stay(source):
    rows, windows = read(describe(), source)
    assert rows.index.tolist() == ["1-1", "1-2", "2-1"]
    assert rows["patient_id"].tolist() == ["1", "1", "2"] and rows["split"].tolist() == [
        "train",
        "train",
        "test",
    ]
    assert rows["covariate sex"].tolist() == ["female", "female", "male"]
    assert rows["covariate age"].tolist() == ["50", "50", ""]
    heart_rate, temperature = windows["1-1"][:, :, 0]
    np.testing.assert_array_equal(heart_rate, [71, np.nan, 73, np.nan])
    np.testing.assert_allclose(temperature, [np.nan, np.nan, np.nan, 37], rtol=1e-6)
    assert windows["1-2"][0, 1, 0] == 99 and windows["2-1"][0, 1, 0] == 80


def test_a_label_is_the_time_until_the_event_of_the_end(source):
    task = {"kind": "regression", "until": "end", "unit": "h", "name": "rest"}
    log = PreparationLog(strict=True)
    rows, _ = read(describe(task=task), source, log)
    assert rows["rest"].to_dict() == {"1-1": 2.0}
    assert log.counted()[0].startswith("2 windows are left out, as the recording ends earlier")


@pytest.mark.parametrize(("start", "kept"), [("IN//*", ["1-1", "1-2"]), ("", ["1-1", "1-2", "2-1"])])
def test_labels_are_of_windows_that_end_before_the_prediction(source, start, kept):
    labels = pd.DataFrame(
        {
            "subject_id": [1, 1, 2, 3],
            "prediction_time": [hours(4), hours(30), hours(3.5), hours(-10)],
            "boolean_value": [True, False, True, True],
        }
    )
    labels[: 3 if start == "" else 4].to_parquet(source / "labels.parquet")
    log = PreparationLog(strict=True)
    task = {"kind": "binary", "name": "death", "file": "labels.parquet", "event": ["true"]}
    rows, windows = read(describe(task=task, window={"start": start}), source, log)
    assert rows.index.tolist() == kept
    assert rows["death"].tolist() == [1, 0, 1][: len(kept)]
    assert windows["1-1"][0, 0, 0] == 71
    if start:
        assert (
            "without IN//* before their prediction time (1), and those whose window would end after it (1)"
            in log.notes[0]
        )
    else:  # the last 4 h before the prediction
        assert windows["2-1"][0, 1, 0] == 80 and np.isnan(windows["1-2"]).all()


def test_a_csv_label_file_keeps_rows_however_they_are_written(tmp_path):
    rows = ["1,2024-03-01,True,", "2,2024-03-01 10:00:00,false,", "3.0,2024-03-01T10:00:00.5,,",
            ",2024-03-01,True,", "5,noon,True,"]  # fmt: skip
    text = "\n".join(["subject_id,prediction_time,boolean_value", *rows])
    (tmp_path / "labels.csv").write_text(text)
    log = PreparationLog()
    labels = read_label_file(tmp_path / "labels.csv", log)
    assert labels["subject"].tolist() == ["1", "2", "3"] and labels["label"].tolist() == ["true", "false", ""]
    assert (labels["prediction_us"] - labels["prediction_us"][0]).tolist() == [0, 36e9, 36e9 + 5e5]
    assert log.counted()[0].startswith("2 rows of the label file are left out, as they have no subject")


def test_labels_without_any_window_are_refused_with_the_reason(source):
    labels = {"subject_id": [1], "prediction_time": [hours(1)], "boolean_value": [True]}
    pd.DataFrame(labels).to_parquet(source / "labels.parquet")
    task = {"kind": "binary", "name": "death", "file": "labels.parquet", "event": ["true"]}
    sentence = r"no row of the label file has a window. Rows of the label file: 1. .* end after it \(1\)"
    with pytest.raises(DataError, match=sentence):
        read(describe(task=task), source)


def test_a_draft_of_meds_has_plain_codes_and_windows_that_end_at_the_predictions(source):
    shard = source / "data" / "train" / "0.parquet"
    series = pd.DataFrame({"subject_id": 1, "time": [hours(t) for t in range(5)], "code": "pulse"})
    series = series.assign(time=series["time"].astype("datetime64[us]"), numeric_value=range(60, 65))
    pd.concat([pd.read_parquet(shard), series]).to_parquet(shard)
    (source / "labels").mkdir()
    labels = {"subject_id": [1, 2], "prediction_time": [hours(30), hours(40)], "boolean_value": [True, False]}
    pd.DataFrame(labels).to_parquet(source / "labels" / "death.parquet")
    (source / "draft.toml").write_text(guess_description(source))
    description = read_description(source / "draft.toml")
    assert description.window.start == "" and "pulse" in description.signals
    rows, _ = read(description, source, PreparationLog())
    assert rows["death"].to_dict() == {"1-1": 1, "2-1": 0}


def test_codes_that_no_event_has_are_refused(source):
    with pytest.raises(DataError, match='no event has the code "ADMIT//'):
        read(describe(window={"start": "ADMIT//*"}), source)
    with pytest.raises(DataError, match="events have no start: give a code"):
        read(describe(window={"start": ""}), source)


def test_a_file_of_splits_without_training_subjects_is_refused(source):
    splits = pd.DataFrame({"subject_id": [1, 2, 3], "split": ["tuning", "held_out", "train"]})
    splits.to_parquet(source / "splits.parquet")
    sentence = r"no training subject among those with a stay \(held_out 1, tuning 1\): write by = \"hash\""
    with pytest.raises(DataError, match=sentence):
        read(describe(), source)
