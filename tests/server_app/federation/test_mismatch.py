"""Test windows with other missingness than training windows, and learning rates of single methods."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from client_app.node import completions
from client_app.node.site import Site
from client_app.node.task_phase import TaskWindows
from condi_core.config import ConfigError, RunConfig
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.methods import METHODS
from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.manifest import SPLITS

MORE = "points=0.8 gaps=0.0"


def site_of(path, settings, cache=None):
    opened, config = open_federation(path), RunConfig.from_flat(settings)
    return Site(
        "site-2", opened.open_site("site-2"), config, torch.device("cpu"), cache or path.parent / "cache"
    )


def seen(site, rows):
    return site.read(rows).observed.numpy()


def test_test_windows_have_the_same_missingness_however_they_are_read(federation, small_settings):
    plain, other = (site_of(federation, small_settings({"test-missingness": t})) for t in ("", MORE))
    as_train = site_of(federation, small_settings({"missingness.points": 0.8, "missingness.gaps": 0.0}))
    every = np.arange(len(plain.partition))
    test = plain.partition.splits == "test"
    one, two, three = (seen(site, every) for site in (plain, other, as_train))
    np.testing.assert_array_equal(two[~test], one[~test])
    np.testing.assert_array_equal(two[test], three[test])
    assert two[test].mean() < 0.25 < one[test].mean()
    for row in every:
        np.testing.assert_array_equal(seen(other, every[row : row + 1])[0], two[row])


def test_hidden_test_samples_are_never_visible(federation, small_settings):
    site = site_of(federation, small_settings({"test-missingness": MORE}))
    rows = site.partition.rows("test")
    windows = site.read(rows)
    assert not windows.values[~windows.observed].any()
    values, observed = site.partition.read(rows)
    hidden = observed & ~windows.observed.numpy()
    assert hidden.mean() > 0.7
    values[hidden] += 1000
    changed = np.where(windows.observed, values, 0)
    np.testing.assert_array_equal(windows.values, changed)


def test_completed_windows_of_different_missingness_are_stored_separately(
    federation, small_settings, tmp_path
):
    torch.manual_seed(0)
    filled, paths, method = [], set(), METHODS["condi"]
    for text in ("", MORE, "gaps=0.0   points=0.8", "points=0.3"):
        site = site_of(federation, small_settings({"test-missingness": text}), tmp_path)
        if not filled:
            imputer = DiffusionImputer(site.schema, site.config.imputer).eval()
        completions.complete(site, method, imputer, "weights")
        paths |= {(split, completions.cache_path(site, method, "weights", split)) for split in SPLITS}
        filled.append(completions.load(site, method, "weights", "test").values)
    assert (filled[0] != filled[1]).any((1, 2, 3, 4)).all()
    splits = Counter(split for split, _ in paths)
    assert splits == {"train": 1, "val": 1, "test": 2}, (
        "the same missingness, written in another way, is the same"
    )


def test_completed_windows_of_a_split_are_those_of_its_rows(federation, small_settings, tmp_path):
    site, method = site_of(federation, small_settings(), tmp_path), METHODS["condi"]
    torch.manual_seed(0)
    imputer = DiffusionImputer(site.schema, site.config.imputer).eval()
    completions.complete(site, method, imputer, "weights", ["test"])
    with pytest.raises(completions.CompletionsMissingError):
        TaskWindows(site, method, "weights", "train")
    completions.complete(site, method, imputer, "weights")
    for split in SPLITS:
        windows = TaskWindows(site, method, "weights", split)
        for row in windows.rows[::-1]:
            one = np.array([row])
            values, observed = site.read(one)
            filled, _, known, labels, _ = windows.read(one)
            assert known.all() and torch.equal(filled[observed], values[observed]) and observed.any()
            assert torch.equal(labels, torch.from_numpy(site.partition.labels[one]))


def test_without_space_for_all_splits_none_is_stored(federation, small_settings, tmp_path, monkeypatch):
    cache, write = tmp_path / "cache", completions._write
    site = site_of(federation, small_settings(), cache)

    def until_full(path, *rest):
        if len(list(cache.rglob("*.values.npy"))) == 2:
            raise OSError(28, "No space left on device")
        write(path, *rest)

    monkeypatch.setattr(completions, "_write", until_full)
    imputer = DiffusionImputer(site.schema, site.config.imputer).eval()
    completions.complete(site, METHODS["condi"], imputer, "older", ["test"])
    older = sorted(cache.rglob("*.npy"))
    with pytest.raises(DataError, match="No space"):
        completions.complete(site, METHODS["condi"], imputer, "weights")
    assert sorted(cache.rglob("*.npy")) == older and len(older) == 2, "values and masks of one split"


@pytest.mark.slow
def test_test_missingness_changes_only_the_test_scores(federation, run_local, finished_run):
    compare = {"compare-with": "mask"}
    one = finished_run(compare)[0].path
    two = run_local(federation, compare | {"test-missingness": MORE})[0].path
    for model in ("imputer", "task-condi", "task-mask"):
        a, b = (load_file(path / f"{model}.safetensors") for path in (one, two))
        assert all(np.array_equal(a[k], b[k]) for k in a)
    a, b = ([json.loads(line)["metrics"] for line in (p / "history.jsonl").read_text().splitlines()]
            for p in (one, two))  # fmt: skip
    assert a == b
    a, b = (json.loads((path / "result.json").read_text()) for path in (one, two))
    assert a["imputation"] == b["imputation"], "scored on all that was measured, whatever the run hides"
    assert all(a["task"][method] != b["task"][method] for method in ("condi", "mask"))


def test_a_method_has_its_own_learning_rate(federation, run_local):
    small = {"imputer.rounds": 1, "imputer.samples": 0, "task.rounds": 1}
    slow = {"task.learning-rate": 0.001, "method": "mask", "name": "slow"}
    slow = run_local(federation, small | slow)[0].path
    fast = run_local(federation, small | {"task.learning-rate": 0.01, "name": "fast"})[0].path
    both = {"task.learning-rate": 0.001, "task.learning-rate-by-method": "condi=0.01", "name": "both"}
    both |= {"compare-with": "mask"}
    both = run_local(federation, small | both)[0].path
    for method, same in (("condi", fast), ("mask", slow)):
        a, b = (load_file(path / f"task-{method}.safetensors") for path in (both, same))
        assert all(np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mask=0.0", "the rate of 'mask' must be a number above 0"),
        ("mask=fast", "the rate of 'mask' must be a number above 0"),
        ("mask=nan", "the rate of 'mask' must be a number above 0"),
        ("maks=0.1", "the run has no method 'maks' that could have a rate"),
    ],
)
def test_impossible_rates_of_methods_are_refused(small_settings, text, why):
    with pytest.raises(ConfigError, match=why):
        RunConfig.from_flat(small_settings({"compare-with": "mask", "task.learning-rate-by-method": text}))
