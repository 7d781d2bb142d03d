"""The test scores of each site in a run directory."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from condi_core.evaluation.classification import DECISION_COUNTS
from condi_core.protocol import fingerprint
from condi_core.windows import Schema
from data_partitions.federation import write_federation
from server_app.artifacts import scores
from server_app.artifacts.site_info import SiteInfo
from tests.helpers.tiny_federation import manifest, site_data


@pytest.fixture
def exclusive(tmp_path):
    """Three sites whose windows have exactly one label each."""
    sizes = {"train": 8, "val": 3, "test": 5}
    parts = [
        (manifest(name, sizes, task="single-label"), *site_data(name, seed=i, test=5))
        for i, name in enumerate(("north", "south", "west"))
    ]
    return write_federation(
        tmp_path / "one-label", parts, dataset="waves", split="natural", seed=0, made_by="a test"
    ).path


def by_name(path):
    """Sums of all sites, added up by name."""
    total = {}
    for key, array in load_file(path).items():
        name = key.split("/", 1)[1]
        total[name] = total.get(name, 0) + array
    return total


def test_the_sites_sums_add_up_to_the_result(exclusive, run_local):
    directory, _ = run_local(exclusive, {"compare-with": "mask"})
    result = json.loads((directory.path / "result.json").read_text())
    roster = json.loads((directory.path / "roster.json").read_text())
    schema = Schema.model_validate(
        SiteInfo.read(0, {"name": "north", **roster["north"]}).manifest.schema_fields()
    )
    for method in ("condi", "mask"):
        saved = load_file(directory.path / f"test-task-{method}.safetensors")
        assert {key.split("/")[0] for key in saved} == {"north", "south", "west"}
        sums = by_name(directory.path / f"test-task-{method}.safetensors")
        expected = {k: v for k, v in result["task"][method].items() if k != "score"}
        assert schema.task_kind.metrics(sums) == expected
        tp, fp, fn, _, _ = sums["task"][:, : len(DECISION_COUNTS)].T
        table = sums["confusion"]
        assert table.sum() == 15 and (table.sum(1) == tp + fn).all() and (table.sum(0) == tp + fp).all()
    sums = by_name(directory.path / "test-imputer.safetensors")
    rows = scores.imputation_rows(sums, schema)
    assert rows["gaps 50 %"]["condi"]["rmse"] == pytest.approx(
        result["imputation"]["gaps 50 %"]["condi"]["rmse"], rel=1e-12
    )


def test_a_task_of_several_labels_has_no_confusion_matrix(finished_run):
    directory, _ = finished_run()
    names = {key.split("/", 1)[1] for key in load_file(directory.path / "test-task-condi.safetensors")}
    assert names == {"task"}
    assert all(np.isfinite(a).all() for a in load_file(directory.path / "test-imputer.safetensors").values())


def test_versions_are_recorded(finished_run):
    directory, _ = finished_run()
    versions = json.loads((directory.path / "versions.json").read_text())
    assert versions["code"] == fingerprint() and versions["flwr"].startswith("1.39")
