"""Where a site stores completed windows and their masks."""

import math

import numpy as np
import pytest
import torch

from client_app.node import completions, masks
from client_app.node import site as site_module
from client_app.node.masks import MaskStore, pack_masks, unpack_masks
from client_app.node.site import Site
from client_app.node.task_phase import TaskWindows, train
from condi_core.config import RunConfig
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.methods import METHODS
from data_partitions.federation import open_federation
from data_partitions.manifest import SPLITS
from tests.helpers.run_settings import EVERY_MISSINGNESS

# Another value for every setting on which completions depend.
DEPENDENCIES = {
    "seed": 5,
    "imputer.relation-rounds": 9,
    "imputer.rounds": 9,
    "imputer.steps": 9,
    "imputer.batch": 9,
    "imputer.crop": 9,
    "imputer.token-patches": 2,
    "imputer.optimizer": "sgd",
    "imputer.learning-rate": 0.5,
    "imputer.width": 16,
    "imputer.heads": 4,
    "imputer.blocks": 3,
    "imputer.pair-width": 9,
    "imputer.sampling-steps": 9,
    "imputer.samples": 9,
    "task.completions": 9,
    **EVERY_MISSINGNESS,
    "test-missingness": "points=0.8",
}


def site_of(path, settings, cache=None, name="site-1"):
    cache = cache or path.parent / "cache"
    federation, config = open_federation(path), RunConfig.from_flat(settings)
    return Site(name, federation.open_site(name), config, torch.device("cpu"), cache)


def path_of(federation, settings, method="condi", imputer_hash="weights", split="test"):
    site = site_of(federation, settings)
    return completions.cache_path(site, METHODS[method], imputer_hash, split)


def test_every_setting_on_which_completions_depend_changes_their_path(federation, small_settings):
    in_tables = {k for k in small_settings() if k.startswith(("imputer.", "missingness."))}
    assert in_tables <= DEPENDENCIES.keys()
    changes = [{}, *({key: value} for key, value in DEPENDENCIES.items())]
    paths = [path_of(federation, small_settings(change)) for change in changes]
    assert len(set(paths)) == len(changes)


def test_method_imputer_split_and_data_change_the_path(federation, small_settings):
    settings = small_settings()
    paths = {
        path_of(federation, settings),
        path_of(federation, settings, method="local"),
        path_of(federation, settings, imputer_hash="other weights"),
        path_of(federation, settings, split="val"),
        completions.cache_path(
            site_of(federation, settings, name="site-2"), METHODS["condi"], "weights", "test"
        ),
    }
    assert len(paths) == 5


def test_other_code_of_the_package_changes_the_path(federation, small_settings, monkeypatch):
    before = path_of(federation, small_settings())
    monkeypatch.setattr(completions, "fingerprint", lambda: "other code")
    assert path_of(federation, small_settings()) != before


def test_other_settings_do_not_change_the_path(federation, small_settings):
    changes = [
        {},
        {"name": "another"},
        {"output": "elsewhere"},
        {"sites-timeout": 77.0},
        {"round-timeout": 77.0},
        {"compare-with": "mask"},
        {"task.rounds": 9},
        {"task.learning-rate": 0.5},
    ]
    assert len({path_of(federation, small_settings(change)) for change in changes}) == 1
    changes = [{}, {"test-missingness": "points=0.8"}]
    assert len({path_of(federation, small_settings(change), split="train") for change in changes}) == 1


def test_task_windows_are_observed_as_the_site_reads_them(federation, small_settings, tmp_path, monkeypatch):
    settings = small_settings({"test-missingness": "points=0.8", "task.completions": 2})
    site, method = site_of(federation, settings, tmp_path), METHODS["condi"]
    torch.manual_seed(0)
    completions.complete(site, method, DiffusionImputer(site.schema, site.config.imputer).eval(), "weights")
    for split in SPLITS:
        rows = np.repeat(site.partition.rows(split)[::-1], 2)  # in another order, and each row twice
        read = site.read(rows)
        windows = TaskWindows(site, method, "weights", split)
        assert windows.draws == 2
        with monkeypatch.context() as patch:
            patch.setattr(Site, "read", lambda *_: pytest.fail("values and masks of completions are on disk"))
            _, observed, available, *_ = windows.read(rows, np.arange(len(rows)) % 2)
        assert torch.equal(observed, read.observed) and available.all()


@pytest.mark.parametrize(("method", "trains"), [("condi", True), ("mask", False)])
def test_a_missing_modality_is_trained_where_it_is_completed(
    federation, small_settings, tmp_path, method, trains
):
    """site-1 is without modality a, which counts in the average of what was trained."""
    site = site_of(federation, small_settings(), tmp_path)
    torch.manual_seed(0)
    if METHODS[method].complete:
        imputer = DiffusionImputer(site.schema, site.config.imputer).eval()
        completions.complete(site, METHODS[method], imputer, "weights", ["train"])
    model = METHODS[method].model(site.schema, site.config.task)
    windows = TaskWindows(site, METHODS[method], "weights", "train", model.standardiser)
    present = train(windows, model, 0, 0.01, math.inf)["present"]
    assert present[:, 0].all() == trains and present[:, 0].any() == trains and present[:, 1:].any()


def test_completions_without_their_masks_are_missing(federation, small_settings, tmp_path):
    site, method = site_of(federation, small_settings(), tmp_path / "cache"), METHODS["condi"]
    imputer = DiffusionImputer(site.schema, site.config.imputer).eval()
    completions.complete(site, method, imputer, "weights", ["val"])
    [masks_file] = tmp_path.rglob("*.observed.npy")
    before = masks_file.read_bytes()
    masks_file.unlink()
    with pytest.raises(completions.CompletionsMissingError):
        completions.load(site, method, "weights", "val")
    completions.complete(site, method, imputer, "weights", ["val"])
    assert masks_file.read_bytes() == before


def test_the_oldest_completions_are_removed_with_their_masks(
    federation, small_settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(completions, "MAX_CACHED_COMPLETIONS", 2)
    site, method = site_of(federation, small_settings(), tmp_path / "cache"), METHODS["condi"]
    imputer = DiffusionImputer(site.schema, site.config.imputer).eval()
    for imputer_hash in ("oldest", "older", "latest"):
        completions.complete(site, method, imputer, imputer_hash, ["val"])
    with pytest.raises(completions.CompletionsMissingError):
        completions.load(site, method, "oldest", "val")
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 4


def test_masks_are_made_once_in_a_process(federation, small_settings, monkeypatch):
    calls = []

    def counted(partition, rows, *rest):
        calls.extend(rows)
        return original(partition, rows, *rest)

    original = site_module.missingness_masks
    monkeypatch.setattr(site_module, "missingness_masks", counted)
    monkeypatch.setattr(site_module, "_observed_masks", MaskStore())
    rows = np.arange(len(site_of(federation, small_settings()).partition))
    first = site_of(federation, small_settings()).read(rows)
    again = site_of(federation, small_settings()).read(rows[::-1])
    assert torch.equal(first.observed, again.observed.flip(0)) and torch.equal(
        first.values, again.values.flip(0)
    )
    assert sorted(calls) == rows.tolist()
    other = site_of(federation, small_settings({"seed": 5})).read(rows)
    assert not torch.equal(first.observed, other.observed)


def test_a_full_store_removes_its_oldest_masks():
    made = []

    def make(positions):
        made.extend(positions)
        return np.ones((len(positions), 1, 2, 8), bool)

    store = MaskStore(max_bytes=6)
    for rows in ([0, 1], [2], [3], [2, 3], [0]):
        packed = store.get_or_make("key", np.array(rows), make)
        assert packed.shape == (len(rows), 2)
    assert len(made) == 5 and store._bytes <= 6


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 5, 7), (1, 1, 1)])
def test_unpacking_inverts_packing(shape):
    mask = np.random.default_rng(0).random((5, *shape)) < 0.5
    packed = pack_masks(mask)
    assert packed.nbytes == 5 * -(-mask[0].size // 8)
    np.testing.assert_array_equal(unpack_masks(packed, shape), mask)
    assert unpack_masks(packed, shape).dtype == bool and masks.MAX_STORE_BYTES > 0
