"""What leaves a site: the content of every message of a run, and counts of few patients."""

import json
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from flwr.app import ConfigRecord, MetricRecord

from client_app.app import app as client_app
from condi_core.config import RunConfig
from condi_core.evaluation.catalogue import ERROR_SUMS
from condi_core.evaluation.classification import BINS, DECISION_COUNTS
from condi_core.evaluation.pattern_sums import scored_keys
from condi_core.evaluation.replicates import NUM_REPLICATES, classification_columns
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.ownership import trainable
from condi_core.protocol import REPLICATES, SCORE_PREFIX
from condi_core.serialization import PACKED, unpack_arrays
from condi_core.task.model import TaskModel
from condi_core.windows import Schema
from data_partitions.federation import open_federation, write_federation
from server_app.app import coordinate
from server_app.errors import RunError
from server_app.federation.records import to_record
from tests.helpers.local_grid import LocalGrid
from tests.helpers.tiny_federation import NAMES, manifest, site_data, write_tiny

# Numbers of windows that are the length of no other array.
SIZES = {"train": 23, "val": 17, "test": 13}
LENGTHS = {*SIZES.values(), sum(SIZES.values())}
PHASE = {"fingerprint", "federation", "phase", "server-round"}
TRAINED = {"windows", "counts", "loss", "steps", "seconds"}
# Per kind of message: keys of the request's settings, and of the record that comes with the arrays.
KEYS = {
    "query.describe": ({"fingerprint", "federation"}, {"sites", "wants-federation", "virtual"}),
    "train.relation": (PHASE | {"learning-rate", "evaluate"}, TRAINED),
    "train.imputer": (PHASE | {"learning-rate", "evaluate"}, TRAINED),
    "evaluate.imputer": (PHASE | {"split", "samples"}, {"seconds"}),
    "query.complete": (PHASE - {"server-round"} | {"method", "imputer", "splits"}, {"seconds"}),
    "train.task": (PHASE | {"learning-rate", "evaluate", "method", "imputer"}, TRAINED),
    "evaluate.task": (
        PHASE | {"split", "samples", "method", "imputer"},
        {"loss-sum", "windows", "seconds"},
    ),
}


def lists(value):
    """Yield every list in a JSON value as ("", length), and every text as (text, None)."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, None
            yield from lists(inner)
    elif isinstance(value, list | tuple):
        yield "", len(value)
        for inner in value:
            yield from lists(inner)
    elif isinstance(value, str):
        yield value, None


class Inspector:
    """Checks messages against the secrets of a federation and the content that messages may have."""

    def __init__(self, path, config):
        federation = open_federation(path)
        sites = [federation.open_site(name) for name in federation.sites]
        self.secrets = {str(path)} | {str(s) for site in sites for s in (*site.record_ids, *site.patient_ids)}
        self.raw = np.unique([site.read(np.arange(len(site)))[0] for site in sites])
        schema = Schema.model_validate(sites[0].manifest.schema_fields())
        models = {"imputer": DiffusionImputer(schema, config.imputer), "task": TaskModel(schema, config.task)}
        self.state, self.trained = {}, {}
        for name, model in models.items():
            self.state[name] = {k: tuple(t.shape) for k, t in model.state_dict().items()}
            self.trained[name] = {k: self.state[name][k] for k in trainable(model)}
        spectra = {k: s for k, s in self.state["imputer"].items() if k.endswith(".spectrum")}
        errors = dict.fromkeys(scored_keys(config.imputer.samples), (len(NAMES), len(ERROR_SUMS)))
        self.sums = {
            "train.relation": spectra,
            "train.imputer": self.trained["imputer"],
            "train.task": self.trained["task"],
            "evaluate.imputer": errors,
            "evaluate.task": {"task": (2, len(DECISION_COUNTS) + 2 * BINS)},
        }

    def request(self, message):
        kind = message.metadata.message_type
        assert set(message.content["config"]) == KEYS[kind][0], kind
        model = "task" if kind.endswith("task") else "imputer"
        self._common(message, {} if kind == "query.describe" else self.state[model], {"arrays", "config"})

    def reply(self, kind, message):
        content = message.content
        assert set(content.get("arrays", {PACKED})) == {PACKED}
        record = content["config" if kind == "query.describe" else "metrics"]
        keys, expected = set(KEYS[kind][1]), dict(self.sums.get(kind, {}))
        if kind == "evaluate.imputer" and "points 50 %/condi, draws" not in arrays_of(message):
            expected = without_draws(expected)
        if kind.startswith("evaluate") and REPLICATES in arrays_of(message):
            of_task = classification_columns(2)
            columns = of_task if kind == "evaluate.task" else len(ERROR_SUMS) * len(expected)
            expected[REPLICATES] = (NUM_REPLICATES, columns)
        if any(name.startswith(SCORE_PREFIX) for name in arrays_of(message)):
            scored = kind.replace("train", "evaluate")
            keys |= {SCORE_PREFIX + key for key in KEYS[scored][1] - {"seconds"}}
            expected |= {SCORE_PREFIX + k: s for k, s in without_draws(self.sums[scored]).items()}
        assert set(record) == keys, kind
        self._common(message, expected, {"arrays", "metrics", "config"})
        if kind == "query.describe":
            for text in record["sites"]:
                site = json.loads(text)
                sums = {"sums", "label-sums", "covariate-sums"}
                assert set(site) == {"name", "manifest", "labels", "labelled", "patients", *sums}
                assert site["label-sums"] == site["covariate-sums"] == []
                assert set(site["manifest"]) == set(manifest("any", SIZES).model_dump()) - {"made_by"}
                self._texts(site)
        elif "counts" in record:
            assert len(record["counts"]) == len(NAMES) ** 2

    def _common(self, message, shapes, records):
        assert set(message.content) <= records
        assert set(message.content.get("arrays", {PACKED})) == {PACKED}
        arrays = arrays_of(message)
        assert {k: a.shape for k, a in arrays.items()} == shapes
        for name, array in arrays.items():
            assert not LENGTHS & set(array.shape), name
            values = array[array != 0]
            # By chance, one number in thousands equals a measured value.
            assert values.size < 10 or np.isin(values, self.raw).mean() < 0.05, name
        for record in message.content.values():
            if set(record) != {PACKED}:
                self._texts(dict(record))
        self._texts([message.metadata.group_id, *message.content, *arrays])

    def _texts(self, value):
        for text, length in lists(value):
            assert length not in LENGTHS
            assert not [s for s in self.secrets if s in text], text[:200]


def without_draws(shapes):
    """Draws are scored in the test, and not in validation."""
    return {name: shape for name, shape in shapes.items() if not name.endswith("draws")}


def arrays_of(message):
    return unpack_arrays(message.content["arrays"]) if "arrays" in message.content else {}


def add(content, **arrays):
    content["arrays"] = to_record(unpack_arrays(content["arrays"]) | arrays)


def add_window(content):
    name, array = max(unpack_arrays(content["arrays"]).items(), key=lambda item: item[1].size)
    values = np.resize(np.ravel(site_data("site-0", seed=0, **SIZES)[1][0]), array.shape)
    add(content, **{name: values.astype(np.float32)})


def tell(content, change):
    """Change what a site reports about itself."""
    site = json.loads(content["config"]["sites"][0])
    change(site)
    content["config"]["sites"] = [json.dumps(site)]


# Leaks that must be detected: another name, a number or array per window, samples in place of weights, an id.
LEAKS = [
    ("train.task", lambda c: add(c, **{"site-1-3": np.zeros(1, np.float32)})),
    ("evaluate.task", lambda c: add(c, **{"loss by window": np.zeros(13)})),
    ("evaluate.task", lambda c: add(c, task=np.zeros((13, 2)))),
    ("evaluate.task", lambda c: c["arrays"].update({"loss by window": [0.0] * 13})),
    ("evaluate.imputer", lambda c: c["metrics"].update({"worst": 1.0})),
    ("train.imputer", add_window),
    ("train.imputer", lambda c: c["metrics"].update({"counts": [0.0] * 23})),
    ("train.relation", lambda c: c.update({"more": MetricRecord({"x": 1.0})})),
    ("query.complete", lambda c: c.update({"config": ConfigRecord({"worst": "it is site-2-p7"})})),
    ("query.describe", lambda c: tell(c, lambda site: site.update({"records": 3}))),
    ("query.describe", lambda c: tell(c, lambda site: site["manifest"].update({"version": "site-0-p3"}))),
    ("query.describe", lambda c: tell(c, lambda site: site["sums"].extend([[1.0] * 3] * 19))),
]


def test_no_message_has_data_of_single_records_and_leaks_are_detected(tmp_path, small_settings):
    path = write_tiny(tmp_path / "federation", missing_modalities={0: ("d",), 1: ("a",)}, **SIZES)
    settings = small_settings({"output": str(tmp_path / "runs")})
    nodes = [{"data": str(path / f"site-{i}"), "cache": str(tmp_path / f"cache-{i}")} for i in range(3)]
    grid, config = LocalGrid(client_app, nodes, settings), RunConfig.from_flat(settings)
    coordinate(grid, config)
    inspector, replies = Inspector(path, config), {}
    for request, reply in zip(grid.sent, grid.received, strict=True):
        inspector.request(request)
        inspector.reply(request.metadata.message_type, reply)
        replies[request.metadata.message_type] = reply
    assert replies.keys() == KEYS.keys()
    for kind, leak in LEAKS:
        reply = deepcopy(replies[kind])
        leak(reply.content)
        with pytest.raises(AssertionError):
            inspector.reply(kind, reply)


def few_patients(path, sizes, slow, patients, fast=None):
    """Write a federation of site-0 and two sites with ten windows per split.

    At site-0, `slow` windows of each split have that label, and `fast` windows the other; by default all
    that are not slow.
    """
    parts = []
    for i in range(3):
        counts = dict.fromkeys(("train", "val", "test"), 10) if i else sizes
        index, windows = site_data(f"site-{i}", seed=i, **counts)
        if not i:
            place = index.groupby("split").cumcount()
            index["slow"] = (place < index["split"].map(slow)).astype(int)
            index["fast"] = (place < index["split"].map(fast)).astype(int) if fast else 1 - index["slow"]
            index["patient_id"] = index["split"] + (place % index["split"].map(patients)).astype(str)
        parts.append((manifest(f"site-{i}", counts), pd.DataFrame(index), windows))
    write_federation(path, parts, dataset="waves", split="natural", seed=0, made_by="a test")
    return path


SAME = {"train": 10, "val": 10, "test": 10}
ONE_ROUND = {"method": "mask", "task.rounds": 1}


def reported_labels(grid):
    """Return the label counts and windows that each site reported."""
    reported = {}
    for reply in grid.received:
        for text in reply.content["config"]["sites"] if "sites" in reply.content.get("config", {}) else ():
            site = json.loads(text)
            reported[site["name"]] = site["labels"], site["manifest"]["windows"]
    return reported


def test_counts_of_few_patients_are_withheld_with_their_split_and_not_scored(tmp_path, run_local, capsys):
    slow = {"train": 2, "val": 8, "test": 5}  # two slow, two fast, and five of each
    path = few_patients(tmp_path / "f", SAME, slow, SAME)
    directory, grid = run_local(path, {"privacy.smallest-count": 3})
    assert reported_labels(grid)["site-0"] == (
        {"train": None, "val": None, "test": [5, 5]},
        {"train": 10, "val": 0, "test": 10},
    )
    assert reported_labels(grid)["site-1"] == (dict.fromkeys(SAME, [5, 5]), SAME)
    assert "note: site site-0 withholds its label counts in train, val\n" in capsys.readouterr().out
    scored = {"val": 0, "test": 0}
    for request, reply in zip(grid.sent, grid.received, strict=True):
        settings = request.content["config"]
        is_evaluation = request.metadata.message_type.startswith("evaluate")
        if (is_evaluation or settings.get("evaluate")) and request.metadata.group_id == "site-0":
            split = settings.get("split", "val")
            sums = {k: a.sum() for k, a in arrays_of(reply).items() if is_evaluation or SCORE_PREFIX in k}
            assert sums and all((value > 0) == (split == "test") for value in sums.values())
            scored[split] += 1
    assert scored["val"] == 4 and scored["test"] == 2
    saved = json.loads((directory.path / "roster.json").read_text())["site-0"]
    assert saved["labels"]["train"] is None and saved["manifest"]["windows"]["val"] == 0


def test_patients_are_counted_not_windows(tmp_path, run_local):
    path = few_patients(tmp_path / "f", SAME, dict.fromkeys(SAME, 5), SAME | {"test": 2})
    _, grid = run_local(path, ONE_ROUND | {"privacy.smallest-count": 3})
    assert reported_labels(grid)["site-0"][0] == {"train": [5, 5], "val": [5, 5], "test": None}


def test_counts_are_withheld_if_few_patients_are_without_the_label(tmp_path, run_local):
    """Nine of ten patients have a label, so that one is without it."""
    fast = dict.fromkeys(SAME, 5)
    path = few_patients(tmp_path / "f", SAME, fast | {"val": 9}, SAME, fast)
    _, grid = run_local(path, ONE_ROUND | {"privacy.smallest-count": 3})
    assert reported_labels(grid)["site-0"][0] == {"train": [5, 5], "val": None, "test": [5, 5]}


def test_by_default_everything_is_counted(tmp_path, run_local):
    path = few_patients(tmp_path / "f", SAME, dict.fromkeys(SAME, 1), SAME)
    _, grid = run_local(path, ONE_ROUND)
    assert reported_labels(grid)["site-0"] == (dict.fromkeys(SAME, [1, 9]), SAME)


def test_counts_of_no_patients_or_all_patients_are_reported(tmp_path, run_local, capsys):
    slow = {"train": 0, "val": 10, "test": 0}
    path = few_patients(tmp_path / "f", SAME | {"test": 0}, slow, SAME)
    _, grid = run_local(path, ONE_ROUND | {"privacy.smallest-count": 10})
    assert reported_labels(grid)["site-0"][0] == {"train": [0, 10], "val": [10, 0], "test": [0, 0]}
    assert "note: site site-0 has only the label fast in training" in capsys.readouterr().out


def test_a_site_of_too_few_patients_does_not_take_part(tmp_path, run_local):
    path = few_patients(tmp_path / "f", SAME, dict.fromkeys(SAME, 5), SAME | {"train": 2})
    with pytest.raises(RunError) as refused:
        run_local(path, {"privacy.smallest-count": 3})
    assert "site site-0 has fewer patients for training than privacy.smallest-count=3" in str(refused.value)
    assert "\n" not in str(refused.value)
