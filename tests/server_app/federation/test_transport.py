"""Weights that are sent as float16."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from client_app.node.update import _round_weights
from condi_core.config import ConfigError, RunConfig
from condi_core.protocol import SCORE_PREFIX
from condi_core.serialization import halve_exact, round_to_half, unpack_arrays, widen
from server_app.federation.records import to_record

HALF = {"transport": "float16"}


@pytest.fixture(scope="module")
def half_run(finished_run):
    return finished_run(HALF | {"compare-with": "mask"})


def arrays_of(messages, kind):
    return [unpack_arrays(m.content["arrays"]) for m in messages if m.metadata.message_type == kind]


@pytest.mark.parametrize("action", ["imputer", "task"])
def test_trained_weights_are_sent_in_both_directions_as_float16_and_sums_as_float64(half_run, action):
    _, grid = half_run
    for reply in arrays_of(grid.received, f"train.{action}"):
        kinds = {name: array.dtype for name, array in reply.items()}
        assert all(
            kind == (np.float64 if SCORE_PREFIX in name else np.float16) for name, kind in kinds.items()
        )
    trained = {name for name in reply if SCORE_PREFIX not in name}
    sent = [a for kind in (f"train.{action}", f"evaluate.{action}") for a in arrays_of(grid.sent, kind)]
    for state in sent:
        assert all(state[name].dtype == np.float16 for name in trained)
        assert state["standardiser.mean"].dtype == np.float32
    for arrays in arrays_of(grid.received, "train.relation"):
        assert all(array.dtype == np.float32 for array in arrays.values()), "sums are not rounded"


def test_the_model_is_what_sites_scored_and_costs_half_the_bytes(half_run, finished_run):
    directory, grid = half_run
    model = load_file(directory.path / "task-mask.safetensors")
    tested = widen(arrays_of(grid.sent, "evaluate.task")[-1])
    assert all(
        np.array_equal(model[name], tested[name]) and model[name].dtype == np.float32 for name in model
    )

    whole, _ = finished_run({"compare-with": "mask"})
    for key in ("bytes-down", "bytes-up"):
        half, full = (first_line(run, "task-mask")[key] for run in (directory, whole))
        assert 0.5 < half / full < 0.65, "names of arrays are not halved"


def first_line(directory, phase):
    lines = map(json.loads, (directory.path / "history.jsonl").read_text().splitlines())
    return next(line for line in lines if line["phase"] == phase)


def test_weights_differ_from_those_of_float32_by_rounding(half_run, finished_run):
    whole, _ = finished_run({"compare-with": "mask"})
    half, full = (load_file(d.path / "task-mask.safetensors") for d in (half_run[0], whole))
    differences = np.concatenate([(half[n] - full[n]).ravel() for n in full])
    assert 0 < np.abs(differences).max() < 0.02


def test_a_reply_of_another_precision_is_refused(federation, run_local):
    def tamper(request, reply):
        if request.metadata.message_type == "train.task" and request.metadata.group_id == "site-2":
            reply.content["arrays"] = to_record(widen(unpack_arrays(reply.content["arrays"])))
        return reply

    directory, _ = run_local(federation, HALF | {"method": "mask"}, tamper)
    lines = [json.loads(line) for line in (directory.path / "history.jsonl").read_text().splitlines()]
    assert all("is float32 (" in line["failures"]["site-2"] for line in lines)
    assert all("expected float16" in line["failures"]["site-2"] for line in lines)


def test_only_what_float16_has_exactly_is_halved():
    arrays = {
        "exact": np.array([0.5, -2.0, 65504.0], np.float32),
        "inexact": np.array([0.1], np.float32),
        "large": np.array([7e4], np.float32),
        "double": np.ones(2),
    }
    halved = halve_exact(arrays)
    assert {name: str(a.dtype) for name, a in halved.items()} == {
        "exact": "float16", "inexact": "float32", "large": "float32", "double": "float64",
    }  # fmt: skip
    assert all(np.array_equal(array, arrays[name]) for name, array in widen(halved).items())
    rounded = round_to_half(arrays["inexact"])
    assert rounded.dtype == np.float32 and rounded[0] == np.float16(0.1) != np.float32(0.1)


def test_a_weight_that_float16_cannot_have_is_refused_at_the_site():
    with pytest.raises(
        FloatingPointError, match="^w has a weight beyond 65504, the limit of transport='float16'"
    ):
        _round_weights({"w": np.array([1.0, 7e4], np.float32)})
    diverged = _round_weights({"w": np.array([np.nan], np.float32)})
    assert np.isnan(diverged["w"]).all(), "the coordinator refuses it, as it does any other"


def test_float16_is_refused_with_secure_aggregation(small_settings):
    secure = {"secure-aggregation": True, "averaging": "mean"}
    with pytest.raises(ConfigError, match="^setting 'secure-aggregation': needs transport='float32'"):
        RunConfig.from_flat(small_settings(HALF | secure))
    with pytest.raises(ConfigError, match="^setting 'transport'"):
        RunConfig.from_flat(small_settings({"transport": "bfloat16"}))
