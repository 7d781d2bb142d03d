"""Client sampling: rounds in which not all sites train."""

import json
from collections import Counter
from itertools import chain

import numpy as np
import pytest
from safetensors.numpy import load_file

from condi_core.config import ConfigError, RunConfig
from condi_core.serialization import packed_size
from server_app.artifacts.run_directory import RunDirectory
from server_app.errors import RunError
from server_app.federation.client_sampling import num_sampled_sites, sample_sites
from server_app.federation.records import to_record
from tests.helpers.tiny_federation import write_tiny

NAMES = [f"site-{i}" for i in range(32)]


def sampled(round_, names=NAMES, share=1 / 3, seed=0):
    return sample_sites(names, round_, fraction=share, seed=seed)


@pytest.mark.parametrize(("n", "share"), [(32, 1 / 3), (4, 0.5), (5, 0.4), (3, 0.01), (7, 1.0)])
def test_all_sites_train_once_per_cycle(n, share):
    names, num_sampled = NAMES[:n], num_sampled_sites(n, share)
    cycle = -(-n // num_sampled)  # rounds in which all sites train once
    for first in (1, 1 + cycle, 1 + 7 * cycle):
        groups = [sampled(first + i, names, share) for i in range(cycle)]
        assert all(len(set(group)) == num_sampled for group in groups)
        assert set(chain(*groups)) == set(names)
    counts = Counter(chain(*(sampled(r, names, share) for r in range(1, 1 + 200 * cycle))))
    assert min(counts.values()) >= 200 and max(counts.values()) <= 400


def test_sampled_sites_depend_on_seed_and_round():
    assert sampled(3) == sampled(3) and sampled(3) == sorted(sampled(3), key=NAMES.index)
    assert sampled(3) != sampled(4) and sampled(3) != sampled(3, seed=1)
    assert sampled(1) != sampled(4), "sites are shuffled again after each cycle"


def requested_sites(grid, action):
    """Return the sites that were sent `train.<action>`, by phase and round."""
    sites_by_round = {}
    for message in grid.sent:
        if message.metadata.message_type == f"train.{action}":
            config, site = message.content["config"], message.metadata.group_id
            sites_by_round.setdefault((config["phase"], config["server-round"]), []).append(site)
    return sites_by_round


HALF = {"sites-per-round": 0.5, "task.rounds": 3}
MASK = HALF | {"method": "mask"}


@pytest.fixture
def four(tmp_path):
    return write_tiny(tmp_path / "four", sites=4)


@pytest.mark.slow
def test_a_run_asks_the_sampled_sites_only(four, run_local):
    directory, grid = run_local(four, HALF)
    names = [f"site-{i}" for i in range(4)]
    for action in ("imputer", "task"):
        for (_, round_), sites in requested_sites(grid, action).items():
            assert sites == sampled(round_, names, 0.5)
    assert all(len(sites) == 4 for sites in requested_sites(grid, "relation").values()), "sums over all"
    history = [json.loads(line) for line in (directory.path / "history.jsonl").read_text().splitlines()]
    for line in history:
        n = 4 if line["phase"] == "relation" else 2
        assert line["sites-asked"] == n == len(line["site-seconds"]) and not line["failures"]
        assert line["windows"] == 8 * n
    weights = to_record(load_file(directory.path / "task-condi.safetensors"))
    size = packed_size(weights)
    imputer = to_record(load_file(directory.path / "imputer.safetensors"))
    first, *others = [line["bytes-down"] for line in history if line["phase"] == "task-condi"]
    # Two train, and the others evaluate what the round before has trained; at the end all evaluate.
    assert others == [(2 + 2) * size, (2 + 2 + 4) * size]
    assert first - 2 * size == 4 * packed_size(imputer), "all complete"


def test_a_resumed_run_samples_the_same_sites(four, run_local, monkeypatch):
    unbroken, _ = run_local(four, MASK | {"name": "unbroken"})
    save, saved = RunDirectory.save, []

    def stop(self, state):
        save(self, state)
        saved.append(1)
        if len(saved) < 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunDirectory, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        run_local(four, MASK | {"name": "broken"})
    resume = MASK | {"resume": str(unbroken.path.with_name("broken"))}
    with pytest.raises(KeyboardInterrupt):
        run_local(four, resume)
    broken, _ = run_local(four, resume)
    one, two = (load_file(d.path / "task-mask.safetensors") for d in (unbroken, broken))
    assert all(np.array_equal(one[k], two[k]) for k in one)


def test_min_sites_counts_the_sampled_sites(four, run_local):
    def drop(request, reply):
        first = sampled(1, [f"site-{i}" for i in range(4)], 0.5)[0]
        training = request.metadata.message_type == "train.task"
        return None if training and request.metadata.group_id == first else reply

    directory, _ = run_local(four, MASK | {"name": "one"}, tamper=drop)
    first = json.loads((directory.path / "history.jsonl").read_text().splitlines()[0])
    assert list(first["failures"].values()) == ["no answer in time"] and len(first["site-seconds"]) == 1
    with pytest.raises(RunError, match="only 1 of 2 sites sent a valid reply, but min-sites is 2"):
        run_local(four, MASK | {"min-sites": 2, "name": "two"}, tamper=drop)
    with pytest.raises(RunError, match="selects 2 of 4 sites per round, but min-sites is 3"):
        run_local(four, MASK | {"min-sites": 3})


def test_the_sites_that_train_next_score_if_as_many_are_sampled_and_all_score_the_test(four, run_local):
    directory, grid = run_local(four, MASK | {"sites-per-evaluation": 0.5})
    asked = [
        (kind, message.content["config"]["server-round"], message.metadata.group_id)
        for message in grid.sent
        if (kind := message.metadata.message_type).endswith("task")
    ]
    names = [f"site-{i}" for i in range(4)]
    expected = [("train.task", r, name) for r in (1, 2, 3) for name in sampled(r, names, 0.5)]
    expected += [("evaluate.task", 3, name) for name in [*sampled(4, names, 0.5), *names]]
    assert asked == expected
    lines = [json.loads(line) for line in (directory.path / "history.jsonl").read_text().splitlines()]
    assert all("selection-score" in line and not line["failures"] for line in lines)
    with pytest.raises(RunError, match="sites-per-evaluation=0.25 selects 1 of 4 sites per round, but min-"):
        run_local(four, MASK | {"sites-per-evaluation": 0.25, "min-sites": 2})


def test_other_sites_than_those_that_train_may_score(four, run_local):
    _, grid = run_local(four, {"method": "mask", "sites-per-round": 0.25, "sites-per-evaluation": 0.75})
    names = [f"site-{i}" for i in range(4)]
    second = [m for m in grid.sent if m.metadata.message_type.endswith(".task")][1:]
    trainer, scored = sampled(2, names, 0.25), sampled(2, names, 0.75)
    number = len(set(trainer) | set(scored))
    assert {m.metadata.group_id for m in second[:number]} == set(trainer) | set(scored)
    assert second[0].content["config"]["evaluate"] == (trainer[0] in scored)


@pytest.mark.parametrize("setting", ["sites-per-round", "sites-per-evaluation"])
@pytest.mark.parametrize("share", [0.0, 1.5, float("nan"), "all"])
def test_impossible_fractions_are_refused(small_settings, share, setting):
    with pytest.raises(ConfigError, match=f"^setting '{setting}'"):
        RunConfig.from_flat(small_settings({setting: share}))


def test_client_sampling_is_refused_with_secure_aggregation(small_settings):
    with pytest.raises(
        ConfigError, match="^setting 'secure-aggregation': cannot be combined with sites-per-round"
    ):
        RunConfig.from_flat(small_settings({"sites-per-round": 0.5, "secure-aggregation": True}))
