"""Every method in a run: failing sites, interruptions, and agreement with its definition."""

import json
import shutil

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from safetensors.numpy import load_file

from client_app.app import app as client_app
from client_app.node import task_phase
from client_app.node.request import Request
from client_app.node.site import Site, pool_sites
from condi_core import load_model
from condi_core.config import ConfigError, RunConfig
from condi_core.methods import METHODS
from condi_core.methods.fedprox import METHOD as FEDPROX
from condi_core.protocol import POOLED_SITE
from condi_core.serialization import unpack_arrays
from condi_core.weights_file import WeightsFileError
from data_partitions import DataError
from data_partitions.federation import write_federation
from data_partitions.partition import Partition
from server_app.app import coordinate
from server_app.artifacts.run_record import read_run
from server_app.errors import RunError
from server_app.report.site_scores import site_metrics
from tests.helpers.local_grid import LocalGrid
from tests.helpers.site_partition import open_sites
from tests.helpers.tiny_federation import manifest, site_data, write_tiny

TINY = {"imputer.rounds": 1, "imputer.samples": 0, "task.rounds": 2}


@pytest.fixture
def federation(tmp_path):
    """Three small sites; site-0 is without modality d and site-1 without modality a."""
    missing_modalities = {0: ("d",), 1: ("a",)}
    return write_tiny(tmp_path / "federation", missing_modalities=missing_modalities, train=4, val=2, test=2)


def files(directory):
    return {p.name: load_file(p) for p in sorted(directory.path.glob("*.safetensors"))}


def same(one, two):
    return one.keys() == two.keys() and all(
        one[f].keys() == two[f].keys() and all(np.array_equal(one[f][k], two[f][k]) for k in one[f])
        for f in one
    )


def sent(grid, action, round_, site):
    """Return the arrays of the request to a site in a round of training."""
    for m in grid.sent:
        if m.metadata.message_type == f"train.{action}" and m.metadata.group_id == site:
            if m.content["config"]["server-round"] == round_:
                return unpack_arrays(m.content["arrays"])
    raise AssertionError(f"{site} was not asked")


def answered(grid, action, round_, site):
    """Return the arrays of the reply of a site in a round of training."""
    replies = [m for m in grid.received if m.metadata.group_id == site and m.has_content()]
    replies = [m for m in replies if m.metadata.message_type == f"train.{action}"]
    return unpack_arrays(replies[round_ - 1].content["arrays"])


@pytest.mark.parametrize("name", METHODS)
def test_a_run_survives_a_failing_site_and_resumes_to_the_same_weights(name, federation, run_local, tmp_path):
    stopped = tmp_path / "stopped"  # the run directory after a crash in the second round of phase 2

    def fails(request, reply):
        s = request.content["config"]
        if request.metadata.message_type != "train.task":
            return reply
        if s["server-round"] == 2 and not stopped.exists():
            shutil.copytree(tmp_path / "runs" / "whole", stopped, ignore=shutil.ignore_patterns(".*.tmp"))
        failing = s["server-round"] == 1 and request.metadata.group_id == "site-1"
        return Message(Error(2, "it fell"), reply_to=request) if failing else reply

    whole, grid = run_local(federation, TINY | {"method": name, "name": "whole"}, fails)
    lines = [json.loads(line) for line in open(whole.path / "history.jsonl")]
    first, second = [line for line in lines if line["phase"] == f"task-{name}"]
    if METHODS[name].scope == "centralised":
        assert list(first["site-seconds"]) == ["all/sites"] and not first["failures"]
    else:
        assert first["failures"] == {"site-1": "it fell"} and len(second["site-seconds"]) == 3
    assert all(np.isfinite(a).all() for arrays in files(whole).values() for a in arrays.values())
    result = json.loads((whole.path / "result.json").read_text())
    assert list(result["task"]) == [name] and result["task"][name]["score"] > 0

    resumed, _ = run_local(federation, TINY | {"method": name, "resume": str(stopped)}, fails)
    assert same(files(whole), files(resumed))
    assert json.loads((resumed.path / "result.json").read_text()) == result


@pytest.mark.parametrize("name", [name for name in METHODS if name != "fedadam"])  # its server takes steps
def test_with_one_site_every_method_is_local_training(name, tmp_path, run_local):
    federation = write_tiny(tmp_path / "f", sites=1, train=4, val=2, test=2)
    directory, grid = run_local(federation, TINY | {"method": name})
    site = "all/sites" if METHODS[name].scope == "centralised" else "site-0"
    gave, got = answered(grid, "task", 1, site), sent(grid, "task", 2, site)
    assert gave.keys() <= got.keys()
    pairs = [(gave, got)]
    if METHODS[name].imputer_training == "diffusion":
        file = next(f for f in files(directory) if f.startswith("imputer"))
        pairs.append((answered(grid, "imputer", 1, site), files(directory)[file]))
    for gave, got in pairs:
        for key in gave:
            np.testing.assert_allclose(got[key], gave[key], rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.slow
def test_several_methods_are_compared_in_one_run(federation, run_local):
    directory, grid = run_local(federation, TINY | {"compare-with": " mask, local,mask,estimate"})
    result = json.loads((directory.path / "result.json").read_text())
    assert list(result["task"]) == ["condi", "mask", "local", "estimate"]
    assert set(result["imputation"]["gaps 50 %"]) == {"mean", "linear", "estimate", "condi", "local"}
    # Phase 1 is done once for all that share it.
    asked = [m.metadata.message_type for m in grid.sent if m.metadata.group_id == "site-0"]
    assert (asked.count("train.relation"), asked.count("train.imputer")) == (2, 2)
    names = {p.name for p in directory.path.glob("*.safetensors")}
    assert names >= {"imputer.safetensors", "task-condi.safetensors", "task-local.site-2.safetensors"}
    assert "task-local.safetensors" not in names
    record, page = read_run(directory.path), (directory.path / "report.html").read_text()
    assert set(record.sums) == {
        "imputer", "imputer-local", "task-condi", "task-mask", "task-local", "task-estimate"
    }  # fmt: skip
    assert {"imputer-local.site-1", "task-local.site-1"} <= record.parameters().keys()
    gains = site_metrics(record, "local")
    assert set(gains) == {"site-0", "site-1", "site-2"} and "gain over training alone" in page
    model = load_model(directory.path, site="site-2")
    assert set(model.classifiers) == {"condi", "mask", "local", "estimate"} and model.method == "condi"
    local_imputer = model.classifiers["local"].imputer
    assert local_imputer is not model.imputer and model.classifiers["estimate"].imputer is model.imputer
    assert set(load_model(directory.path).classifiers) == {"condi", "mask", "estimate"}


@pytest.mark.parametrize("method", ["pooled", "estimate", "fedmsplit"])
def test_a_run_of_any_method_can_be_read_and_used(federation, run_local, method, capsys):
    directory, _ = run_local(federation, TINY | {"method": method})
    assert "was not written" not in capsys.readouterr().out
    record = read_run(directory.path)
    assert record.task[method]["auroc"] == record.result.task[method]["auroc"]
    expected = {"all/sites"} if method == "pooled" else {"site-0", "site-1", "site-2"}
    assert set(record.sums[f"task-{method}"]) == expected
    assert not any(key.endswith("/condi") for key in record.sums.get("imputer", {}).get("site-0", {}))
    values, observed = Partition.open(federation / "site-2").read(range(4))
    model = load_model(directory.path, site="site-2")
    assert model.predict(values, observed, method=method).values.shape == (4, 2)
    if method == "pooled":
        assert np.isfinite(model.impute(values, observed).point).all()
    else:
        with pytest.raises(WeightsFileError, match="no trained imputer"):
            model.impute(values, observed)


def test_the_method_estimate_trains_no_diffusion_model(federation, run_local):
    directory, grid = run_local(federation, TINY | {"method": "estimate"})
    assert not [m for m in grid.sent if m.metadata.message_type == "train.imputer"]
    rows = json.loads((directory.path / "result.json").read_text())["imputation"]["points 50 %"]
    assert set(rows) == {"mean", "linear", "estimate"} and rows["estimate"]["rmse"] < rows["linear"]["rmse"]


@pytest.mark.slow
def test_local_training_does_not_depend_on_other_sites(federation, run_local):
    def dropped(request, reply):
        train = request.metadata.message_type.startswith("train")
        return None if train and request.metadata.group_id == "site-2" else reply

    one = TINY | {"method": "local", "task.rounds": 1}
    with_it, _ = run_local(federation, one | {"name": "with"})
    without, _ = run_local(federation, one | {"name": "without"}, dropped)
    one, two = files(with_it), files(without)
    for model in ("imputer-local", "task-local"):
        for site in ("site-0", "site-1"):
            model_file = f"{model}.{site}.safetensors"
            assert all(np.array_equal(one[model_file][k], two[model_file][k]) for k in one[model_file])
    # The saved model of a site that never trained is the one that was scored.
    model_file = "task-local.site-2.safetensors"
    assert any(not np.array_equal(one[model_file][k], two[model_file][k]) for k in one[model_file])
    zero, other = (one[f"task-local.site-{i}.safetensors"] for i in (0, 1))
    assert not np.array_equal(zero["cls_token"], other["cls_token"])
    assert np.array_equal(zero["standardiser.mean"], other["standardiser.mean"])  # from the roster


def test_pooled_data_have_the_windows_and_missingness_of_their_sites(federation, small_settings):
    config = RunConfig.from_flat(small_settings({"missingness.modality-by-site": 0.5}))
    sites = open_sites(federation, small_settings({"missingness.modality-by-site": 0.5}))
    pool, larger = pool_sites(str(federation), config)
    one = Site(pool.name, pool, larger, torch.device("cpu"), sites[0].cache)
    assert len(pool) == 3 * 8 and larger.task.batch == 3 * config.task.batch
    for split in ("train", "val", "test"):
        rows = pool.rows(split)
        shuffled = np.random.default_rng(0).permutation(rows)
        for all_measured in (False, True):
            apart = [s.read(s.partition.rows(split), all_measured) for s in sites]
            for i in range(2):
                whole = torch.cat([w[i] for w in apart])
                assert torch.equal(one.read(rows, all_measured)[i], whole)
                assert torch.equal(
                    one.read(shuffled, all_measured)[i], whole[np.searchsorted(rows, shuffled)]
                )
        labels = np.concatenate([s.partition.labels[s.partition.rows(split)] for s in sites])
        assert np.array_equal(pool.labels[rows], labels)
    assert [m.present for m in pool.manifest.modalities] == [True] * 4  # each site has its three or four


def test_centralised_training_needs_a_simulation(federation, tmp_path, small_settings):
    nodes = [{"data": str(federation / f"site-{i}"), "registered": f"site-{i}"} for i in range(3)]
    changes = {
        "output": str(tmp_path / "runs"),
        "sites-timeout": 0.1,
        "compare-with": "pooled",
        "method": "mask",
    }
    settings = small_settings(changes)
    with pytest.raises(
        RunError, match="'pooled' is centralised training, which is possible in a.*: remove it"
    ):
        coordinate(LocalGrid(client_app, nodes, settings), RunConfig.from_flat(settings))
    assert not (tmp_path / "runs").exists()
    # Whatever a coordinator requests, the node of a hospital opens only its own partition.
    asked = RecordDict({"config": ConfigRecord({"federation": str(federation), "site": POOLED_SITE})})
    context = Context(run_id=1, node_id=1, node_config=nodes[0], state=RecordDict(), run_config=settings)
    with pytest.raises(DataError, match='no site "all/sites": it has site-0'):
        Request(Message(asked, 1, "train.task"), context).site()


@pytest.mark.parametrize("name", ["local", "pooled", "fednova", "fedadam", "fedmsplit", "pepsy"])
@pytest.mark.parametrize(
    "setting", [{"secure-aggregation": True, "averaging": "mean"}, {"privacy.noise-multiplier": 1.0}]
)
def test_methods_that_need_single_updates_are_refused_with_private_aggregation(
    name, setting, federation, run_local
):
    with pytest.raises(ConfigError, match=f"'{name}' needs the update of each.*{next(iter(setting))}"):
        run_local(federation, {"method": "mask", "compare-with": name} | setting)


def test_the_method_estimate_is_refused_with_noise(federation, run_local):
    with pytest.raises(ConfigError, match="'estimate' needs the relation"):
        run_local(federation, {"method": "estimate", "privacy.noise-multiplier": 1.0})


def test_fedprox_with_zero_mu_is_fedavg_and_a_large_mu_shortens_updates(
    federation, small_settings, monkeypatch
):
    site = open_sites(federation, small_settings({"task.steps": 6}))[2]
    ends = {}
    for name, mu in (("mask", None), ("none", 0.0), ("large", 100.0)):
        torch.manual_seed(0)
        model = METHODS["mask"].model(site.schema, site.config.task)
        start = {n: p.detach().clone() for n, p in model.named_parameters()}
        method = METHODS["mask"]
        if mu is not None:
            monkeypatch.setitem(FEDPROX.penalty.keywords, "mu", mu)
            method = FEDPROX
        task_phase.train(task_phase.TaskWindows(site, method, "", "train"), model, 7, 0.01, float("inf"))
        ends[name] = torch.cat([(p - start[n]).flatten() for n, p in model.named_parameters()]).detach()
    torch.testing.assert_close(ends["none"], ends["mask"], rtol=0, atol=1e-7)
    assert ends["large"].norm() < 0.7 * ends["mask"].norm()


@pytest.mark.slow
def test_centralised_training_is_no_worse_than_condi_and_condi_than_local_training(tmp_path, run_local):
    """One of two sites has only slow waves in training, and the other only fast ones."""
    parts = []
    for i in range(2):
        index, windows = site_data(f"site-{i}", seed=i, train=24, val=8, test=16)
        index = index[(index["split"] != "train") | (index["fast"] == i)]
        counts = {split: int((index["split"] == split).sum()) for split in ("train", "val", "test")}
        windows = [windows[row] for row in index.index]
        parts.append((manifest(f"site-{i}", counts), index.reset_index(drop=True), windows))
    write_federation(tmp_path / "f", parts, dataset="waves", split="natural", seed=0, made_by="a test")
    changes = {"compare-with": "local,pooled", "task.rounds": 6, "task.steps": 6, "task.batch": 8}
    directory, _ = run_local(tmp_path / "f", TINY | changes | {"task.learning-rate": 0.01})
    task = json.loads((directory.path / "result.json").read_text())["task"]
    pooled, condi, local = (task[name]["score"] for name in ("pooled", "condi", "local"))
    assert pooled < condi + 0.05 and condi < local - 0.3
