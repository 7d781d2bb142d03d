"""Differential privacy of patients in whole runs: what leaves a site, and what it cannot be combined with."""

import json
import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from client_app.node import private_releases
from client_app.node.patients import Patients, plan_of_site
from client_app.node.private_releases import release_relation, release_standardising_sums, value_ranges
from client_app.node.site import Site
from condi_core.config import ConfigError, RunConfig
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.privacy.accounting import GaussianRelease, compute_epsilon
from condi_core.privacy.noise import secure_gaussian_noise
from condi_core.privacy.plan import sampling_rate
from condi_core.run_files import read_history
from condi_core.serialization import unpack_arrays
from condi_core.windows import Schema
from data_partitions.federation import open_federation, write_federation
from server_app.artifacts.run_directory import RunDirectory
from server_app.compared_methods import select_methods
from server_app.errors import RunError
from server_app.federation import imputer_phase
from tests.helpers.run_settings import small_run_settings
from tests.helpers.tiny_federation import manifest, site_data

PRIVATE = {"privacy.patient-epsilon": 40.0, "privacy.value-ranges": "mV=-8:8"}


def open_site(path, cache, name="site-0", **changes):
    config = RunConfig.from_flat(small_run_settings(PRIVATE | changes))
    return Site(name, open_federation(path).open_site(name), config, torch.device("cpu"), cache)


def write_patients(path, patients, windows_each=3, spread=1.0):
    """Write one site whose patients have several windows each."""
    index, windows = site_data("site-0", 0, train=patients * windows_each, val=1, test=1)
    training = index["split"] == "train"
    index.loc[training, "patient_id"] = [f"p{i // windows_each}" for i in range(training.sum())]
    counts = {split: int((index["split"] == split).sum()) for split in ("train", "val", "test")}
    parts = [(manifest("site-0", counts), index, [spread * w for w in windows])]
    write_federation(path, parts, dataset="waves", split="natural", seed=0, made_by="a test")
    return path


def test_a_private_run_states_epsilon_and_withholds_what_has_no_noise(federation, run_local, capsys):
    directory, grid = run_local(federation, PRIVATE | {"imputer.relation-rounds": 3, "name": "private"})
    result = json.loads((directory.path / "result.json").read_text())
    assert result["patient-privacy"] == {"epsilon": 40.0, "delta": 1e-5}
    assert "Differential privacy of patients: epsilon 40 at delta 1e-05" in capsys.readouterr().out
    history = read_history(directory.path)
    assert history and all(line["loss"] is None for line in history)
    kinds = [m.metadata.message_type for m in grid.sent]
    assert kinds.count("train.relation") == 3, "one round of three sites, whatever the setting"
    for reply in grid.received:
        if "arrays" in reply.content and "loss" in reply.content["metrics"]:
            assert reply.content["metrics"]["loss"] == 0
            counts = np.array(reply.content["metrics"]["counts"])
            trained = reply.metadata.message_type != "train.relation"
            assert not trained or set(counts) <= {0.0, 8.0}, "all windows, not those that a step used"
        if "config" in reply.content and "sites" in reply.content["config"]:
            answers = [json.loads(text) for text in reply.content["config"]["sites"]]
            assert all(a["labels"]["train"] is None and a["labels"]["val"] for a in answers)


def test_a_run_that_is_resumed_again_and_again_removes_the_noise_of_the_relation_once(
    federation, run_local, tmp_path, monkeypatch
):
    class Killed(BaseException):
        pass

    spectra, save = [], RunDirectory.save

    def save_and_die(self, state):
        save(self, state)
        spectra.append({k: a for k, a in state.models["imputer"].items() if k.endswith(".spectrum")})
        raise Killed

    monkeypatch.setattr(RunDirectory, "save", save_and_die)
    monkeypatch.setattr(imputer_phase, "floor_at_noise", lambda spectrum: spectrum + 1)
    changes = PRIVATE | {"name": "killed"}
    for _ in range(3):  # the relation, and two rounds of the imputer
        with pytest.raises(Killed):
            run_local(federation, changes)
        changes = PRIVATE | {"resume": str(tmp_path / "runs" / "killed")}
    relation, first, second = spectra
    for name, spectrum in relation.items():
        np.testing.assert_array_equal(first[name], spectrum + 1)
        np.testing.assert_array_equal(second[name], spectrum + 1)


def test_without_epsilon_the_other_settings_of_patients_do_not_matter(federation, run_local, finished_run):
    one, _ = finished_run()
    changes = {"privacy.clip-patient": 1e-9, "privacy.value-ranges": "mV=-1:1"}
    two, _ = run_local(federation, changes | {"name": "two"})
    for name in ("imputer", "task-condi"):
        a, b = (load_file(d.path / f"{name}.safetensors") for d in (one, two))
        assert all(np.array_equal(a[k], b[k]) for k in a)
    assert "patient-privacy" not in json.loads((one.path / "result.json").read_text())


def test_equal_private_runs_have_other_weights_and_the_same_stored_releases(federation, run_local):
    private = [run_local(federation, PRIVATE | {"name": name})[1] for name in ("first", "second")]
    ends = [
        unpack_arrays([m for m in g.sent if "evaluate.task" in m.metadata.message_type][-1].content["arrays"])
        for g in private
    ]
    trained = {k for k in ends[0] if not np.array_equal(ends[0][k], ends[1][k])}
    # The cross-modal embedding is that of the imputer, and standardisers are stored releases.
    assert trained == {"cross_modal.weight", "modality_heads.weight", "modality_heads.bias"}


def test_a_site_releases_no_more_than_epsilon(tmp_path):
    site = open_site(write_patients(tmp_path / "f", 20), tmp_path / "cache")
    plan, config = plan_of_site(site), site.config
    assert len(Patients(site, site.partition.rows("train"))) == 20
    rate = sampling_rate(4, 20)
    steps = config.imputer.rounds * config.imputer.steps + config.task.rounds * config.task.steps
    releases = [
        GaussianRelease(plan.standardising, releases=2),
        GaussianRelease(plan.relation),
        GaussianRelease(plan.gradients, rate, steps),
    ]
    assert 39 < compute_epsilon(releases, 1e-5) <= 40


def test_a_patient_with_several_windows_has_one_gradient(tmp_path):
    site = open_site(write_patients(tmp_path / "f", 6), tmp_path / "cache")
    rows = site.partition.rows("train")
    patients = Patients(site, rows)
    ids = site.partition.patient_ids
    for _ in range(20):
        chosen = patients.choose_rows()
        assert len(set(ids[chosen])) == len(chosen) == 6
    assert len({tuple(patients.choose_rows()) for _ in range(20)}) > 10, "another window each time"
    assert patients.spend_on_steps("task", 4, 1).expected_patients == pytest.approx(4)
    assert patients.spend_on_steps("task", 99, 1).expected_patients == 6


def test_a_release_is_made_once_and_given_again(tmp_path):
    path = write_patients(tmp_path / "f", 6)
    little_noise = {"privacy.patient-epsilon": 1000.0}  # with much, both releases may have the range alone
    first = release_standardising_sums(open_site(path, tmp_path / "cache", **little_noise))
    again = release_standardising_sums(open_site(path, tmp_path / "cache", **little_noise))
    other = release_standardising_sums(open_site(path, tmp_path / "other", **little_noise))
    assert np.array_equal(again, first) and not np.array_equal(other, first)


def test_two_runs_at_once_are_given_the_same_noise(tmp_path, monkeypatch):
    path, releases, threads = write_patients(tmp_path / "f", 6), [], []

    def release():
        releases.append(release_standardising_sums(open_site(path, tmp_path / "cache")))

    def draw_while_another_run_asks(shape):
        if not threads:
            threads.append(threading.Thread(target=release))
            threads[0].start()
            threads[0].join(0.3)
        return secure_gaussian_noise(shape)

    monkeypatch.setattr(private_releases, "secure_gaussian_noise", draw_while_another_run_asks)
    release()
    threads[0].join()
    assert len(releases) == 2 and np.array_equal(*releases)


def test_standardising_sums_have_the_mean_and_deviation_of_the_values(tmp_path):
    path = write_patients(tmp_path / "f", 40)
    site = open_site(path, tmp_path / "cache", **{"privacy.patient-epsilon": 1000.0})
    count, total, squares = release_standardising_sums(site).T
    mean, deviation = total / count, np.sqrt(squares / count - (total / count) ** 2)
    assert mean == pytest.approx([0, 0, 0, 5], abs=0.1)
    values, observed = site.read(site.partition.rows("train"))
    expected = [values[:, i][observed[:, i]].std().item() for i in range(4)]
    assert deviation == pytest.approx(expected, rel=0.5)


def relation_of(site):
    imputer = DiffusionImputer(site.schema, site.config.imputer)
    imputer.standardiser.mean.copy_(torch.tensor([0.0, 0.0, 0.0, 5.0]))
    imputer.standardiser.std.copy_(torch.tensor([0.7, 0.7, 0.5, 0.35]))
    spectra, counts, windows = release_relation(site, imputer)
    imputer.load_state_dict({k: torch.from_numpy(v) for k, v in spectra.items()}, strict=False)
    return imputer.closed_form.cross_spectra[0].covariance(), counts, windows


def test_the_released_relation_is_that_of_the_modalities(tmp_path):
    site = open_site(
        write_patients(tmp_path / "f", 40), tmp_path / "cache",
        **{"privacy.patient-epsilon": 1000.0, "missingness.gaps": 0.0, "missingness.modality-by-window": 0.0},
    )  # fmt: skip
    covariance, counts, windows = relation_of(site)
    correlation = covariance / torch.outer(covariance.diagonal().sqrt(), covariance.diagonal().sqrt())
    x = site.partition.read(site.partition.rows("train"))[0].transpose(1, 0, 2, 3).reshape(4, -1)
    assert correlation.numpy() == pytest.approx(np.corrcoef(x), abs=0.15)
    assert windows == 120 and counts.shape == (4, 4) and (counts > 0).all() and (counts <= 120).all()


def test_one_patient_moves_a_release_by_at_most_its_share(tmp_path, monkeypatch):
    """Whatever the values of a patient are, they move the mean by no more than the norm over the patients."""
    monkeypatch.setattr("client_app.node.private_releases.secure_gaussian_noise", np.zeros)
    released = []
    monkeypatch.setattr(
        "client_app.node.private_releases.np.save", lambda file, array, **_: released.append(array)
    )
    index, windows = site_data("site-0", 0, train=5, val=1, test=1)
    counts = {"train": 5, "val": 1, "test": 1}
    for number, factor in enumerate((1.0, 1e4, 0.0)):
        changed = [windows[0] * np.float32(factor), *windows[1:]]
        path = tmp_path / f"f{number}"
        parts = [(manifest("site-0", counts), pd.DataFrame(index), changed)]
        write_federation(path, parts, dataset="waves", split="natural", seed=0, made_by="a test")
        site = open_site(path, tmp_path / "cache")
        release_standardising_sums(site)
        relation_of(site)
    normal, huge, nothing = (released[3 * i : 3 * i + 3] for i in range(3))
    histogram, relation = 0.7 * 2, np.hypot(4**0.75, 1.5)
    assert np.linalg.norm(huge[0] - normal[0]) <= 2 * histogram / 5
    assert np.linalg.norm(huge[2] - normal[2]) <= 2 * relation / 5 and np.abs(huge[2] - normal[2]).max() > 0
    assert all(np.isfinite(array).all() for array in (*huge, *nothing))


def test_noise_of_releases_has_the_calibrated_deviation(tmp_path):
    path, drawn = write_patients(tmp_path / "f", 5, windows_each=1), []
    for number in range(8):
        site = open_site(path, tmp_path / f"cache{number}", **{"privacy.patient-epsilon": 1.0})
        release_standardising_sums(site)
        drawn.append([np.load(file) for file in (tmp_path / f"cache{number}").glob("released-*.npy")])
    histograms = np.stack([next(a for a in arrays if len(a) == 4 * 32) for arrays in drawn])
    expected = plan_of_site(site).standardising * 0.7 * 2 / 5
    assert histograms.std(0, ddof=1).mean() == pytest.approx(expected, rel=0.1)


def test_a_modality_without_a_range_is_refused_in_a_sentence(tmp_path):
    path = write_patients(tmp_path / "f", 2, windows_each=1)
    with pytest.raises(ConfigError, match="needs a range of a, which has no plausible one: add 'a=LOW:HIGH'"):
        value_ranges(open_site(path, tmp_path, **{"privacy.value-ranges": ""}))
    ranges = value_ranges(open_site(path, tmp_path, **{"privacy.value-ranges": "mV=-8:8 d=0:10"}))
    assert ranges.centre.tolist() == [0, 0, 0, 5] and ranges.half_width.tolist() == [8, 8, 8, 5]


def test_a_modality_with_a_blank_in_its_name_and_no_unit_can_have_a_range(tmp_path):
    path = write_patients(tmp_path / "f", 2, windows_each=1)
    site = open_site(path, tmp_path, **{"privacy.value-ranges": "'heart rate=30:200' mV=-8:8"})
    pulse, pain = (Schema.Modality(name=n, unit="", samples_per_patch=1) for n in ("heart rate", "pain"))
    of_pulse, of_pain = (
        SimpleNamespace(config=site.config, schema=SimpleNamespace(modalities=[m])) for m in (pulse, pain)
    )
    assert value_ranges(of_pulse).centre.tolist() == [115]
    with pytest.raises(ConfigError, match="add 'pain=LOW:HIGH' to privacy.value-ranges"):
        value_ranges(of_pain)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"privacy.noise-multiplier": 1.0}, "cannot be combined with privacy.noise-multiplier"),
        ({"task.covariates": True}, "task.covariates cannot be combined with privacy.patient-epsilon"),
        ({"privacy.patient-epsilon": 0.001}, "must be 0 or from 0.01 to 10000, got 0.001"),
        ({"privacy.patient-epsilon": 1e7}, "must be 0 or from 0.01 to 10000"),
        ({"privacy.value-ranges": "mV=2:1"}, "the range of 'mV' must be LOW:HIGH"),
        ({"method": "fedmac"}, "'fedmac' compares windows of different patients"),
        ({"method": "mifl"}, "'mifl' compares windows of different patients"),
        ({"compare-with": "pepsy"}, "'pepsy' compares windows of different patients"),
        ({"method": "pamf"}, "'pamf' draws random numbers in its loss"),
        ({"compare-with": "robust"}, "'robust' draws random numbers in its loss"),
        ({"compare-with": "pooled"}, "'pooled' is centralised training"),
    ],
)
def test_what_breaks_the_privacy_of_patients_is_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        select_methods(RunConfig.from_flat(small_run_settings(PRIVATE | changes)))


def test_a_regression_is_refused_and_no_sums_of_labels_leave_before(tmp_path, run_local):
    index, windows = site_data("site-0", 0)
    index["stay"] = np.arange(len(index), dtype=float)
    fields = {"labels": ("stay",), "task": "regression", "label_unit": "d"}
    counts = {"train": 8, "val": 3, "test": 3}
    parts = [(manifest("site-0", counts, **fields), index.drop(columns=["slow", "fast"]), windows)]
    write_federation(tmp_path / "f", parts, dataset="waves", split="natural", seed=0, made_by="a test")
    answers = []

    def keep(request, reply):
        if request.metadata.message_type == "query.describe":
            answers.extend(map(json.loads, reply.content["config"]["sites"]))
        return reply

    with pytest.raises(RunError, match="a regression cannot be combined with privacy.patient-epsilon"):
        run_local(tmp_path / "f", PRIVATE, tamper=keep)
    assert [answer["label-sums"] for answer in answers] == [[]], "sums of labels have no noise"
