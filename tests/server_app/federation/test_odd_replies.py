"""One of four sites sends random replies in every phase: the run ends, and nothing of them stays in it."""

import json
from math import isfinite

import numpy as np
import pytest

from client_app.app import app as client_app
from condi_core.config import RunConfig
from condi_core.run_files import read_history, read_result
from server_app.app import coordinate
from server_app.artifacts.run_directory import RunDirectory
from server_app.errors import MAX_REASON_CHARS
from tests.helpers.finished_runs import Page
from tests.helpers.local_grid import LocalGrid
from tests.helpers.odd_replies import mutate
from tests.helpers.replayed_app import ReplayedApp
from tests.helpers.site_partition import write_site

MALICIOUS = 1003  # the node of site-3
HONEST = ["site-0", "site-1", "site-2"]


@pytest.fixture(scope="module")
def run_with(tmp_path_factory, small_settings):
    """`run_with(tamper, name)`: run four hospitals, whose honest replies are computed once."""
    folder, replayed = tmp_path_factory.mktemp("odd"), ReplayedApp(client_app)
    nodes = [
        {"data": str(write_site(folder / f"site-{i}")), "cache": str(folder / "cache")} for i in range(4)
    ]
    changes = {"sites-timeout": 0.01, "min-sites": 3, "imputer.samples": 0, "output": str(folder)}

    def run(tamper, name):
        settings = small_settings(changes | {"name": name})
        return coordinate(LocalGrid(replayed, nodes, settings, tamper), RunConfig.from_flat(settings)).path

    run(None, "honest")
    return run


def largest_number(value):
    """Return the largest magnitude of the numbers in a value of JSON that are known, and not NaN."""
    if isinstance(value, dict | list):
        return max(map(largest_number, value.values() if isinstance(value, dict) else value), default=0.0)
    return abs(value) if isinstance(value, int | float) and value == value else 0.0


@pytest.mark.parametrize("seed", range(20))
def test_whatever_a_site_replies_the_run_of_the_others_ends(run_with, capsys, seed):
    rng = np.random.default_rng(seed)

    def tamper(request, reply):
        is_description = request.metadata.message_type == "query.describe"  # has a test of its own
        if request.metadata.dst_node_id != MALICIOUS or is_description or rng.random() < 0.2:
            return reply
        return mutate(reply, rng)

    path = run_with(tamper, f"seed-{seed}")
    history, result = read_history(path), read_result(path)
    assert set(result["task"]) == {"condi"} and all(
        set(HONEST) <= set(answers["sites"]) for answers in result["answered"].values()
    )
    assert all(line["site-seconds"].keys() >= set(HONEST) for line in history)
    assert all(isfinite(line["loss"]) for line in history)

    failures = [pair for line in history for pair in line["failures"].items()]
    assert {name for name, _ in failures} <= {"site-3", "site-3 (evaluation)"}
    assert all(r.isprintable() and 0 < len(r) <= MAX_REASON_CHARS for _, r in failures)
    printed = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() and len(line) < 2 * MAX_REASON_CHARS for line in printed)
    assert [line.strip().split(": ")[0] for line in printed if line.startswith("  site-3")][: len(failures)]
    rows = Page((path / "report.html").read_text()).tables["Sites without a valid reply"][1:]
    assert len(rows) >= len(failures)

    state = RunDirectory(path).load()
    for arrays in (*state.models.values(), *state.best.values()):
        assert all(
            np.isfinite(array).all() and np.abs(array).max(initial=0) < 1e3 for array in arrays.values()
        )
    assert largest_number(json.loads(json.dumps(history))) < 1e12
