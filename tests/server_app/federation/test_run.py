"""Runs in one process: what is learned, from which sites, and that hidden samples do not leak."""

import json

import numpy as np
import pytest
import torch
from flwr.app import Error, Message
from safetensors.numpy import load_file

from condi_core.evaluation.classification import BINS, DECISION_COUNTS
from condi_core.protocol import SCORE_PREFIX
from condi_core.serialization import unpack_arrays
from condi_core.task.kind import MULTI_LABEL
from condi_core.task.model import TaskModel
from condi_core.training import derive_seed
from condi_core.windows import Standardiser
from data_partitions.federation import write_federation
from server_app.errors import RunError
from server_app.federation.records import to_record
from server_app.federation.standardising_sums import combine_sums
from tests.helpers.site_partition import open_sites
from tests.helpers.tiny_federation import manifest, site_data, write_tiny

MODELS = ("imputer", "task-condi")
SPECTRUM = "closed_form.cross_spectra.0.spectrum"


def weights(directory, names=MODELS):
    return {f"{n}/{k}": a for n in names for k, a in load_file(directory.path / f"{n}.safetensors").items()}


def first_sent(grid, kind):
    """Return the arrays of the first message of a kind that was sent."""
    return unpack_arrays(next(m for m in grid.sent if m.metadata.message_type == kind).content["arrays"])


def received(grid):
    """Return the arrays of all replies that have any."""
    return [unpack_arrays(m.content["arrays"]) for m in grid.received if "arrays" in m.content]


def same(one, two):
    return one.keys() == two.keys() and all(np.array_equal(one[k], two[k]) for k in one)


def test_a_run_writes_its_artefacts(finished_run):
    directory, _ = finished_run({"compare-with": "mask"})
    lines = [json.loads(line) for line in (directory.path / "history.jsonl").read_text().splitlines()]
    phases = ["relation"] + ["imputer"] * 2 + ["task-condi"] * 2 + ["task-mask"] * 2
    assert [line["phase"] for line in lines] == phases
    assert all(
        line["bytes-up"] > 0 and sorted(line["site-seconds"]) == ["site-0", "site-1", "site-2"]
        for line in lines
    )
    result = json.loads((directory.path / "result.json").read_text())
    assert set(result["imputation"]["gaps 50 %"]) == {"mean", "linear", "estimate", "condi", "condi, draws"}
    assert set(result["task"]) == {"condi", "mask"}
    best = min(
        (line for line in lines if line["phase"] == "imputer"), key=lambda line: line["selection-score"]
    )
    assert best["metrics"]["score"] < best["metrics"]["linear"]


def test_runs_repeat_bit_for_bit_on_any_number_of_nodes(federation, run_local, finished_run):
    one, _ = finished_run()
    two, _ = run_local(federation, {"name": "two"}, nodes=5)
    other, _ = run_local(federation, {"name": "three", "seed": 1, "imputer.samples": 0})
    assert same(weights(one), weights(two))
    assert not same(weights(one), weights(other))


def test_hidden_values_do_not_change_the_result(federation, run_local, finished_run, small_settings):
    before, _ = finished_run()
    for site in open_sites(federation, small_settings()):
        # The test split is unchanged, because the final scores compare with its hidden values.
        rows = np.concatenate([site.partition.rows("train"), site.partition.rows("val")])
        _, observed = site.partition.read(rows)
        hidden = observed & ~site.read(rows).observed.numpy()
        assert 0.3 < hidden.sum() / observed.sum() < 0.8
        for i, m in enumerate(site.partition.manifest.modalities):
            if m.present:
                file = site.partition.path / "values" / f"{m.name}.npy"
                values = np.load(file)
                values[rows] = np.where(hidden[:, i], 1e6, values[rows])
                np.save(file, values)
    after, _ = run_local(federation, {"name": "after"})
    assert same(weights(before), weights(after))
    numbers = [
        [[json.loads(line)[k] for k in ("loss", "metrics")] for line in open(d.path / "history.jsonl")]
        for d in (before, after)
    ]
    assert numbers[0] == numbers[1]


def test_a_modality_no_site_trained_keeps_its_rows(tmp_path, run_local):
    federation = write_tiny(tmp_path / "f", sites=2, missing_modalities={0: ("d",)})
    seen = []

    def tamper(request, reply):
        if request.metadata.message_type.startswith("train") and request.metadata.group_id == "site-1":
            return None  # the only site that has d never answers
        seen.append(request)
        return reply

    directory, grid = run_local(federation, {"name": "x", "imputer.rounds": 1}, tamper)
    before = first_sent(grid, "train.imputer")
    after = weights(directory, ["imputer"])
    changed = {k: (before[k] != after[f"imputer/{k}"]) for k in before}
    read = changed["encoder.patch_embedding.by_rate.0.weight"]
    assert not read[3].any() and read[0].any()
    assert not changed["cross_modal.weight"][3].any() and not changed["cross_modal.weight"][:, 3].any()
    assert changed["cross_modal.weight"][0, 1].any()


def test_windows_are_standardised_by_the_combined_sums_of_the_sites(federation, finished_run, small_settings):
    directory, _ = finished_run()
    windows = [site.read(site.partition.rows("train")) for site in open_sites(federation, small_settings())]
    count, total, squares = combine_sums([Standardiser.sums(*w).numpy() for w in windows]).T
    state = weights(directory, ["imputer"])
    np.testing.assert_allclose(state["imputer/standardiser.mean"], total / count, rtol=1e-6)
    expected = np.sqrt(squares / count - (total / count) ** 2)
    np.testing.assert_allclose(state["imputer/standardiser.std"], expected, rtol=1e-5)


def test_relation_equals_the_pooled_one(federation, run_local, small_settings):
    """First it is the covariance over samples observed together at any site; then the mean over windows."""
    changes = {"imputer.relation-rounds": 2, "imputer.rounds": 1, "imputer.samples": 0, "task.rounds": 1}
    _, grid = run_local(federation, changes)
    requests = [m for m in grid.sent if m.metadata.message_type == "train.relation"]
    second, after = unpack_arrays(requests[-1].content["arrays"]), first_sent(grid, "train.imputer")

    x = [site.read(site.partition.rows("train")) for site in open_sites(federation, small_settings())]
    values, observed = (torch.cat([w[i] for w in x]).flatten(2).double().numpy() for i in (0, 1))
    z = (values - second["standardiser.mean"][:, None]) / second["standardiser.std"][:, None] * observed
    together = np.einsum("bit,bjt->ij", observed, observed)
    pooled = np.einsum("bit,bjt->ij", z, z) / np.maximum(together, 1)
    assert together[0, 3] > 0 and not observed[:8, 3].any() and not observed[8:16, 0].any()
    shape = second[SPECTRUM][0, 0, :, 0] / pooled[0, 0]
    np.testing.assert_allclose(second[SPECTRUM][..., 0], pooled[:, :, None] * shape, rtol=1e-5, atol=1e-6)

    replies = [arrays for arrays in received(grid) if SPECTRUM in arrays]
    mean = np.mean([r[SPECTRUM] for r in replies[3:]], 0, dtype=np.float64)
    assert len(replies) == 6  # of sites with as many windows each
    np.testing.assert_allclose(after[SPECTRUM], mean, rtol=1e-6, atol=1e-7)


def test_one_step_of_sgd_equals_the_pooled_gradient_step(tmp_path, run_local, small_settings):
    federation = write_tiny(tmp_path / "f", sites=3, train=6)
    changes = {
        "method": "mask",
        "task.optimizer": "sgd",
        "task.learning-rate": 0.1,
        "task.rounds": 1,
        "task.steps": 1,
        "task.batch": 6,
        "missingness.modality-by-window": 0.0,
    }
    directory, grid = run_local(federation, changes)
    sites = open_sites(federation, small_settings(changes))
    sent = first_sent(grid, "train.task")
    model = TaskModel(sites[0].schema, sites[0].config.task)
    model.load_state_dict({k: torch.from_numpy(a) for k, a in sent.items()})
    rows = [site.partition.rows("train") for site in sites]
    x = [site.read(r) for site, r in zip(sites, rows, strict=True)]
    values, observed = torch.cat([w.values for w in x]), torch.cat([w.observed for w in x])
    labels = torch.cat([torch.from_numpy(s.partition.labels[r]) for s, r in zip(sites, rows, strict=True)])
    model.loss(model(values, observed, observed), labels).backward()
    # Windows without a modality do not count for its rows; here every window has all four.
    assert observed.flatten(2).any(-1).all()
    after = load_file(directory.path / "task-mask.safetensors")
    for name, parameter in model.named_parameters():
        expected = (parameter - 0.1 * parameter.grad).detach().numpy()
        np.testing.assert_allclose(after[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_federated_task_sums_equal_the_pooled_ones(finished_run):
    directory, grid = finished_run()
    tests = [arrays["task"] for arrays in received(grid) if "task" in arrays][-3:]
    total = sum(tests)
    assert total[0, :4].sum() == 9 and total[0, 4:].sum() == 9  # three test windows at each of three sites
    assert total.shape == (2, len(DECISION_COUNTS) + 2 * BINS)
    result = json.loads((directory.path / "result.json").read_text())["task"]["condi"]
    assert {k: v for k, v in result.items() if k != "score"} == MULTI_LABEL.metrics({"task": total})


def test_scored_samples_are_the_same_in_every_round(finished_run):
    _, grid = finished_run()
    counts = [
        {k.removeprefix(SCORE_PREFIX): a[:, 0].tolist() for k, a in arrays.items() if k.endswith("/mean")}
        for arrays in received(grid)
        if any(k.endswith("gaps 50 %/mean") for k in arrays)
    ]
    rounds = [counts[i : i + 3] for i in range(0, len(counts), 3)]
    assert len(rounds) == 3 and rounds[0] == rounds[1]


def test_one_failing_site_only_loses_its_reply_of_that_round(federation, run_local):
    def tamper(request, reply):
        s = request.content["config"]
        if request.metadata.message_type == "train.imputer" and (
            request.metadata.group_id,
            s["server-round"],
        ) == (
            "site-1",
            1,
        ):
            return Message(Error(2, "out of memory"), reply_to=request)
        return reply

    directory, _ = run_local(federation, {"imputer.samples": 0, "task.rounds": 1}, tamper)
    lines = [json.loads(line) for line in open(directory.path / "history.jsonl")]
    first, second = [line for line in lines if line["phase"] == "imputer"]
    assert first["failures"] == {"site-1": "out of memory"} and second["failures"] == {}
    assert sorted(first["site-seconds"]) == ["site-0", "site-2"] and len(second["site-seconds"]) == 3
    assert all(np.isfinite(a).all() for a in weights(directory).values())


def test_a_poisoned_reply_never_reaches_the_average(federation, run_local):
    def tamper(request, reply):
        if request.metadata.message_type == "train.task" and request.metadata.group_id == "site-2":
            arrays = unpack_arrays(reply.content["arrays"])
            reply.content["arrays"] = to_record({k: np.full_like(a, np.nan) for k, a in arrays.items()})
        return reply

    directory, _ = run_local(federation, {"method": "mask"}, tamper)
    lines = [json.loads(line) for line in open(directory.path / "history.jsonl")]
    assert all("refused" in line["failures"]["site-2"] for line in lines if line["phase"] == "task-mask")
    assert all(np.isfinite(a).all() for a in weights(directory, ["task-mask"]).values())


def test_a_run_in_which_every_site_fails_can_be_resumed(federation, run_local, finished_run, tmp_path):
    unbroken, _ = finished_run()
    with pytest.raises(RunError) as stopped:
        run_local(
            federation,
            {"name": "broken"},
            lambda q, r: None if q.metadata.message_type == "train.task" else r,
        )
    message, path = str(stopped.value), tmp_path / "runs" / "broken"
    assert "task-condi, round 1" in message and f"resume='{path}'" in message and "\n" not in message
    resumed, _ = run_local(federation, {"resume": str(path)})
    assert resumed.path == path and same(weights(unbroken), weights(resumed))


def test_a_site_refuses_another_version_of_the_code(federation, run_local, monkeypatch):
    monkeypatch.setattr("server_app.federation.rounds.fingerprint", lambda: "of another version")
    with pytest.raises(RunError, match="0 of 3 sites.*install the same version at both"):
        run_local(federation)


def test_a_site_that_lost_its_completed_windows_is_sent_the_imputer_again(
    federation, run_local, finished_run, tmp_path
):
    unbroken, _ = finished_run()
    lost = []

    def tamper(request, reply):
        s = request.content["config"]
        if request.metadata.message_type == "train.task" and s["server-round"] == 1 and not lost:
            for file in (tmp_path / "cache").rglob("*.npy"):
                file.unlink()
            lost.append(file)
        return reply

    directory, _ = run_local(federation, {"name": "lost"}, tamper)
    assert lost and same(weights(unbroken), weights(directory))
    assert not any(json.loads(line)["failures"] for line in open(directory.path / "history.jsonl"))


def test_seeds_come_from_run_phase_round_and_site():
    seeds = {derive_seed(0, p, r, s) for p in ("imputer", "task-condi") for r in (1, 2) for s in ("a", "b")}
    assert len(seeds) == 8


def test_sites_are_weighted_by_their_training_windows(tmp_path, run_local):
    """They are not weighted by their local steps, which are the same at all sites."""
    parts = [site_data(f"site-{i}", seed=i, train=train) for i, train in enumerate((4, 20))]
    counts = [{"train": n, "val": 3, "test": 3} for n in (4, 20)]
    sites = [(manifest(f"site-{i}", counts[i], "d" if i else ""), *parts[i]) for i in range(2)]
    write_federation(tmp_path / "f", sites, dataset="waves", split="natural", seed=0, made_by="a test")
    _, grid = run_local(tmp_path / "f", {"missingness.modality-by-window": 0.0})
    for reply in grid.received:
        metrics = reply.content.get("metrics", {})
        if "counts" in metrics and SPECTRUM not in unpack_arrays(reply.content["arrays"]):
            n = {"site-0": 4.0, "site-1": 20.0}[reply.metadata.group_id]
            diagonal = np.array(metrics["counts"]).reshape(4, 4).diagonal()
            assert metrics["windows"] == n and (diagonal[:3] == n).all()


def test_sites_without_test_scores_are_reported(federation, run_local, capsys):
    def tamper(request, reply):
        settings = request.content["config"]
        tested = settings.get("split", "") == "test" and request.metadata.group_id == "site-1"
        return Message(Error(2, "disk gone"), reply_to=request) if tested else reply

    directory, _ = run_local(federation, tamper=tamper)
    answered = json.loads((directory.path / "result.json").read_text())["answered"]
    assert answered["imputer"] == {"sites": ["site-0", "site-2"], "failures": {"site-1": "disk gone"}}
    assert "not in the test scores of task-condi: site-1 (disk gone)" in capsys.readouterr().out
