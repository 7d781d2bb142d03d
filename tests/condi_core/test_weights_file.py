"""Files of weights that are refused: damaged ones, and undamaged ones that hold something else."""

import json
import pickle
import struct

import pytest
from safetensors.numpy import load_file, save_file

from condi_core import load_model
from condi_core.weights_file import WeightsFileError, read_weights, weights_to_bytes
from tests.helpers.generated_run import schema, write_run

SCHEMA = schema()


def refused(folder) -> str:
    with pytest.raises(WeightsFileError) as error:
        load_model(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_truncated_or_altered_file_is_refused(tmp_path):
    file = write_run(tmp_path / "run", SCHEMA) / "imputer.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    assert "damaged" in refused(tmp_path / "run")
    changed = bytearray(content)
    changed[-3] ^= 1
    file.write_bytes(changed)
    assert "altered" in refused(tmp_path / "run")
    file.write_bytes(content.replace(b"generated", b"degenerat"))
    assert "altered" in refused(tmp_path / "run")
    save_file(load_file(write_run(tmp_path / "b", SCHEMA) / "imputer.safetensors"), file)
    assert "no sha256" in refused(tmp_path / "run")


def test_nothing_in_a_file_is_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    file = write_run(tmp_path / "run", SCHEMA) / "task-condi.safetensors"
    file.write_bytes(pickle.dumps(Trap()))
    assert "holds no weights, or is damaged" in refused(tmp_path / "run")
    assert not (tmp_path / "sprung").exists()


def test_models_of_two_runs_cannot_be_mixed(tmp_path):
    first = write_run(tmp_path / "first", SCHEMA)
    second = write_run(tmp_path / "second", SCHEMA, seed=1)
    (first / "imputer.safetensors").write_bytes((second / "imputer.safetensors").read_bytes())
    assert "not trained with the imputer in the same folder" in refused(first)
    (first / "imputer.safetensors").unlink()
    assert "not trained with the imputer in the same folder" in refused(first)


def test_weights_of_another_version_are_refused(tmp_path, monkeypatch):
    run = write_run(tmp_path / "run", SCHEMA)
    file = run / "imputer.safetensors"
    arrays, metadata = read_weights(file)
    settings = json.loads(metadata["settings"])
    for other in ({**settings, "width": 32}, {**settings, "new-option": 1}):
        file.write_bytes(weights_to_bytes(arrays, metadata | {"settings": json.dumps(other)}))
        assert "not a model that this version can use" in refused(run)
    reason = "(setting 'new-option': extra inputs are not permitted, got 1): use the version that trained it"
    assert reason in refused(run)
    file.write_bytes(weights_to_bytes(arrays, {k: v for k, v in metadata.items() if k != "schema"}))
    assert "not a model that this version can use (it has no schema)" in refused(run)
    described = json.loads(metadata["schema"])
    for changes, reason in (
        ({"modalities": []}, "setting 'modalities': tuple should have at least 1 item"),
        ({"patches": 0}, "setting 'patches': input should be greater than or equal to 1, got 0"),
    ):
        file.write_bytes(weights_to_bytes(arrays, metadata | {"schema": json.dumps(described | changes)}))
        assert f"not a model that this version can use ({reason}" in refused(run)


@pytest.mark.parametrize("options", ["{", "5"])
def test_options_that_cannot_be_read_are_refused(tmp_path, options):
    run = write_run(tmp_path / "run", SCHEMA)
    file = run / "task-condi.safetensors"
    arrays, metadata = read_weights(file)
    file.write_bytes(weights_to_bytes(arrays, metadata | {"options": options}))
    assert f"has no readable options of its method, got '{options}': train it again" in refused(run)


def test_a_type_of_numbers_that_is_unknown_here_is_refused(tmp_path):
    header = b'{"w":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}'
    (tmp_path / "imputer.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert "holds no weights, or is damaged (module 'numpy' has no attribute 'float8" in refused(tmp_path)


def test_a_folder_without_models_is_refused(tmp_path):
    assert "there is no run" in refused(tmp_path / "missing")
    assert "holds no model" in refused(tmp_path)
