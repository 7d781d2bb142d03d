"""Recordings that a model was not made for are refused in one sentence, and nothing is guessed."""

import json

import pytest

from client_app.inference.suitability import (
    require_known_channels,
    require_plausible_values,
    require_usual_modalities,
    usual_samples,
)
from data_partitions import DataError
from tests.helpers.generated_run import schema

NIGHT = schema(
    rates=(100, 100, 100, 1, 1), patches=30, patch_seconds=1.0, names=("A", "B", "EOG", "Resp", "EMG")
)
STAY = schema(
    rates=(1,) * 5, patches=48, patch_seconds=3600.0, names=("HR", "Temp", "SysABP", "K", "Lactate")
)


def write_roster(folder, model_schema, shares, windows=10):
    """Write the roster of two sites whose modalities were observed in some shares of their samples."""
    sites = {}
    for i in range(2):
        samples = [m.samples_per_patch * windows * model_schema.patches for m in model_schema.modalities]
        sums = [[share * n, 0.0, 1.0] for share, n in zip(shares, samples, strict=True)]
        sites[f"site-{i}"] = {"manifest": {"windows": {"train": windows}}, "sums": sums}
    (folder / "roster.json").write_text(json.dumps(sites))
    return folder


def test_modalities_that_most_training_samples_have_are_usual(tmp_path):
    run = write_roster(tmp_path, STAY, (0.9, 0.3, 0.5, 0.07, 0.02))
    assert usual_samples(run, STAY) == pytest.approx({"HR": 0.9, "SysABP": 0.5})
    run = write_roster(tmp_path, NIGHT, (1, 1, 0.8, 1, 0))
    assert usual_samples(run, NIGHT) == pytest.approx({"A": 100, "B": 100, "EOG": 80, "Resp": 1})


def test_without_a_roster_all_signals_are_usual_and_no_sparse_variable_is(tmp_path):
    assert usual_samples(tmp_path, NIGHT) == {"A": 100, "B": 100, "EOG": 100, "Resp": 1, "EMG": 1}
    (tmp_path / "roster.json").write_text("{}")
    assert usual_samples(tmp_path, STAY) == {}


@pytest.mark.parametrize(
    "model_schema, present, refused",
    [
        (NIGHT, ("A", "B", "EOG"), False),
        (NIGHT, ("A", "B"), True),  # three of five are absent
        (
            NIGHT,
            ("Resp", "EMG", "EOG"),
            True,
        ),  # nearly all samples are absent: no night is staged without EEG
        (STAY, ("HR",), False),
        (STAY, ("K", "Lactate"), True),
    ],
)
def test_a_file_without_most_of_the_training_data_is_refused(tmp_path, model_schema, present, refused):
    usual = {"HR": 0.9, "SysABP": 0.5} if model_schema is STAY else usual_samples(tmp_path, model_schema)
    file = tmp_path / "x.edf"
    if not refused:
        require_usual_modalities(file, model_schema, usual, present, [])
        return
    with pytest.raises(DataError) as error:
        require_usual_modalities(file, model_schema, usual, present, ["C3-M2"])
    message = str(error.value)
    assert "x.edf lacks" in message and "C3-M2" in message and "--allow-absent" in message
    assert "--map" in message and "--local" in message and ". " not in message
    assert "--keep-unknown" not in message


def test_unknown_channels_matter_only_where_something_is_absent(tmp_path):
    require_known_channels(tmp_path / "x.hea", NIGHT, [], ["Resp 2"])
    require_known_channels(tmp_path / "x.hea", NIGHT, ["EOG"], [])
    with pytest.raises(DataError, match="has EOG left, .*lacks EOG: .*--map.*--local.*--keep-unknown"):
        require_known_channels(tmp_path / "x.hea", NIGHT, ["EOG"], ["EOG left"])


@pytest.mark.parametrize("dropped, observed, refused", [(9, 9, False), (10, 50, False), (11, 50, True)])
def test_a_file_with_many_implausible_values_is_refused(tmp_path, dropped, observed, refused):
    if not refused:
        require_plausible_values(tmp_path / "x.csv", {"HR": dropped}, {"HR": observed})
        return
    with pytest.raises(
        DataError, match="11 of 50 samples of HR are outside its plausible range: .*file-unit"
    ):
        require_plausible_values(tmp_path / "x.csv", {"HR": dropped}, {"HR": observed})


def test_long_lists_of_names_are_shortened(tmp_path):
    names = [f"channel {i}" for i in range(400)]
    with pytest.raises(DataError) as error:
        require_known_channels(tmp_path / "x.hea", NIGHT, ["A"], names)
    assert "channel 7 and 392 more" in str(error.value) and len(str(error.value)) < 600
