"""Labels of each kind of task, covariates and recordings in a partition."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from data_partitions import DataError
from data_partitions.partition import Partition, write_partition
from tests.helpers.small_partition import index_of, manifest_of, windows_of


def labelled_index(**columns):
    return index_of().drop(columns=["W", "REM"]).assign(**columns)


def open_written(path, index, **changes) -> Partition:
    write_partition(path, manifest_of(**changes), index, windows_of())
    return Partition.open(path)


@pytest.mark.parametrize(
    ("task", "labels", "columns"),
    [
        ("none", (), {}),
        ("binary", ("died",), {"died": [0, 1, 0, 0, 1, 0]}),
        ("multi-label", ("a", "b"), {"a": [0, 1, 0, 0, 1, 0], "b": [0, 1, 1, 0, 0, 0]}),
        ("ordinal", ("low", "high"), {"low": [0, 1, 0, 0, 1, 0], "high": [1, 0, 1, 1, 0, 1]}),
        ("regression", ("stay",), {"stay": [0, 1, 2.5, -3, 1e-7, 12]}),
    ],
)
def test_labels_of_each_kind_of_task_are_read_back(tmp_path, task, labels, columns):
    partition = open_written(tmp_path / "here", labelled_index(**columns), task=task, labels=labels)
    expected = np.array([columns[label] for label in labels], np.float32).T.reshape(6, len(labels))
    np.testing.assert_array_equal(partition.labels, expected)


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("none", ("a",), "expected 0 label"),
        ("binary", ("a", "b"), "expected 1 label"),
        ("regression", (), "expected at least 1 label"),
    ],
)
def test_a_task_with_an_impossible_number_of_labels_is_refused(task, labels, message):
    with pytest.raises(ValidationError, match=message):
        manifest_of(task=task, labels=labels)


def test_windows_without_labels_have_nan(tmp_path):
    columns = {"W": [1, None, 0, np.nan, 1, 0], "REM": [0, None, 1, np.nan, 0, 1]}
    partition = open_written(tmp_path / "here", labelled_index(**columns))
    assert np.isnan(partition.labels).all(axis=1).tolist() == [False, True, False, True, False, False]
    assert partition.labels[0].tolist() == [1, 0]
    with pytest.raises(DataError, match=r"row 1 \(record p001\) has some of its labels and lacks others"):
        write_partition(
            tmp_path / "other", manifest_of(), labelled_index(**columns | {"W": [1] * 6}), windows_of()
        )


@pytest.mark.parametrize("value", ["long", np.inf, 1e39])
def test_a_label_of_a_regression_must_be_a_number(tmp_path, value):
    with pytest.raises(DataError, match=r"row 2 .* has a value of label stay that is not a finite number"):
        open_written(
            tmp_path / "here",
            labelled_index(stay=[1, 2, value, 4, 5, 6]),
            task="regression",
            labels=("stay",),
        )


COVARIATES = ({"name": "age", "unit": "years", "groups": (40, 65)}, {"name": "sex", "categories": ("f", "m")})


def test_covariates_are_read_back_with_the_positions_of_categories(tmp_path):
    index = index_of().assign(
        **{"covariate age": [30, 50.5, None, 70, 1, 0], "covariate sex": ["m", "f", "m", "", None, "f"]}
    )
    partition = open_written(tmp_path / "here", index, covariates=COVARIATES)
    age, sex = partition.covariates.T
    np.testing.assert_array_equal(age, np.array([30, 50.5, np.nan, 70, 1, 0], np.float32))
    np.testing.assert_array_equal(sex, np.array([1, 0, 1, np.nan, np.nan, 0], np.float32))
    schema = partition.manifest.schema_fields()
    assert json.loads(json.dumps(schema)) == schema and schema["covariates"][0]["groups"] == [40, 65]


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("covariate age", "old", "has a value of covariate age that is not a finite number"),
        ("covariate sex", "x", "has a value of covariate sex other than f, m"),
    ],
)
def test_an_impossible_covariate_is_refused(tmp_path, column, value, sentence):
    index = index_of().assign(**{"covariate age": 50, "covariate sex": "f"})
    index[column] = [value, *index[column][1:]]
    with pytest.raises(DataError, match=sentence):
        open_written(tmp_path / "here", index, covariates=COVARIATES)


@pytest.mark.parametrize(
    ("covariate", "message"),
    [
        ({"name": "sex", "categories": ("f", "f")}, "different names"),
        ({"name": "sex", "categories": ("f",), "unit": "kg"}, "has categories, and therefore no unit"),
        ({"name": "age", "groups": (65, 40)}, "ascending"),
    ],
)
def test_an_inconsistent_covariate_is_refused(covariate, message):
    with pytest.raises(ValidationError, match=message):
        manifest_of(covariates=(covariate,))


def test_windows_of_one_recording_share_its_id(tmp_path):
    index = index_of().assign(patient_id=["a", "a", "b", "b", "c", "d"])
    partition = open_written(tmp_path / "here", index.assign(recording_id=["1", "1", "2", "3", "4", "5"]))
    assert partition.recording_ids.tolist() == ["1", "1", "2", "3", "4", "5"]
    without = open_written(tmp_path / "without", index)
    assert without.recording_ids.tolist() == without.record_ids.tolist()
    with pytest.raises(DataError, match="has the recording_id of another patient"):
        open_written(tmp_path / "other", index.assign(recording_id=["1"] * 6))


def test_a_range_and_a_description_are_part_of_the_schema(tmp_path):
    modalities = [{**m.model_dump(), "range": (-5, 5)} for m in manifest_of().modalities]
    manifest = manifest_of(modalities=modalities, description="signals.a.unit = mV")
    schema = manifest.schema_fields()
    assert schema["modalities"][0]["range"] == [-5, 5] and schema["description"] == "signals.a.unit = mV"
    assert manifest.description_hash == "49ac4847ac07"
    assert manifest_of().description_hash == ""
    with pytest.raises(ValidationError, match="range from low to high"):
        manifest_of(modalities=[{**modalities[0], "range": (5, 5)}])
