"""What the app of a run does with the site's policy, which its node puts into the node config."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from client_app.app import app
from client_app.node.request import Request
from client_app.node.site_policy import SitePolicy
from condi_core.config import RunConfig
from condi_core.methods.plugins import Plugin
from condi_core.protocol import fingerprint
from condi_core.serialization import unpack_arrays
from server_app.app import coordinate
from tests.helpers.local_grid import LocalGrid
from tests.helpers.plugin_packages import write_package
from tests.helpers.run_settings import small_run_settings
from tests.helpers.task_federation import COVARIATES, write_task_federation


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """A federation with the covariates age and sex."""
    return write_task_federation(tmp_path_factory.mktemp("made") / "f", "single-label", covariates=COVARIATES)


def context(sites, changes: dict | None = None, **policy) -> Context:
    node = {"data": str(sites / "site-0"), "device": "cpu"}
    node |= {"policy": SitePolicy(**policy).to_json()} if policy else {}
    return Context(1, 1, node, RecordDict(), small_run_settings(changes))


def message(kind: str = "query.describe", **settings) -> Message:
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    settings |= {"fingerprint": fingerprint(), "federation": "", "site": "site-0"}
    return Message(RecordDict({"config": ConfigRecord(settings)}), 1, kind)


@pytest.mark.parametrize(
    ("asked", "policy", "result"), [(0, 10, 10), (20, 10, 20), (10, 10, 10), (5, 0, 5), (0, None, 0)]
)
def test_a_run_can_only_raise_the_smallest_count(sites, asked, policy, result):
    changes = {} if policy is None else {"smallest_count": policy}
    request = Request(message(), context(sites, {"privacy.smallest-count": asked}, **changes))
    assert request.config.privacy.smallest_count == result == request.site().config.privacy.smallest_count


def test_the_description_of_a_site_withholds_what_its_policy_does(sites):
    reply = app(message(), context(sites, smallest_count=0))
    described = json.loads(reply.content.config_records["config"]["sites"][0])
    assert None not in described["labels"].values()
    patients = described["manifest"]["windows"]["test"]
    reply = app(message(), context(sites, smallest_count=patients + 1))
    described = json.loads(reply.content.config_records["config"]["sites"][0])
    assert described["labels"]["test"] is None and described["manifest"]["windows"]["test"] == 0


def test_a_site_with_too_few_patients_says_that_its_policy_is_the_reason(sites):
    reply = app(message(), context(sites, smallest_count=1000))
    assert reply.error.reason == (
        "site site-0 has fewer patients for training than the smallest-count=1000 of its policy: "
        "exclude it, merge it with another site, or lower the setting"
    )


def test_subgroups_of_covariates_that_may_not_leave_are_withheld(sites):
    for covariates, disclosed in ((("all",), [True, True]), (("sex",), [False, True]), ((), [False, False])):
        site = Request(message(), context(sites, covariates=covariates, smallest_count=0)).site()
        rows = site.partition.rows("test")
        assert [c.name for c in site.schema.covariates] == ["age", "sex"]
        assert [site.may_disclose_subgroups(i, rows) for i in range(2)] == disclosed


def test_a_run_cannot_train_on_covariates_that_may_not_leave(sites):
    trained = {"task.covariates": True}
    reply = app(message(), context(sites, trained, covariates=("sex",), smallest_count=0))
    assert reply.error.reason == (
        "site site-0 has a policy that does not allow age as inputs of models: set task.covariates=false, or "
        "exclude the site"
    )
    assert not app(
        message(), context(sites, trained, covariates=("sex", "age"), smallest_count=0)
    ).has_error()
    assert not app(message(), context(sites, covariates=("sex",), smallest_count=0)).has_error()


def test_updates_have_the_limit_of_the_policy_whatever_the_run(sites, tmp_path):
    settings = small_run_settings({"output": str(tmp_path), "method": "mask", "task.rounds": 1})
    nodes = [context(sites, update_clip_norm=1e-3, smallest_count=0).node_config]
    grid = LocalGrid(app, nodes, settings)
    coordinate(grid, RunConfig.from_flat(settings))
    (pair,) = (p for p in zip(grid.sent, grid.received, strict=True) if "train" in p[0].metadata.message_type)
    start, sent = (unpack_arrays(message.content["arrays"]) for message in pair)
    change = sum(np.square(array.astype(float) - start[name]).sum() for name, array in sent.items())
    assert change**0.5 == pytest.approx(1e-3, rel=1e-3)


def test_a_message_about_a_method_that_the_settings_of_the_run_do_not_have(sites):
    reply = app(message("query.complete", method="fedprox"), context(sites, methods=["condi", "mask"]))
    assert reply.error.reason == "the policy of the site does not allow the method fedprox"


def test_a_coordinator_cannot_make_a_site_import_a_package_that_its_policy_does_not_name(
    sites, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    write_package(tmp_path)
    own = Plugin("own", "own-method", "1.0", "own_method:METHOD")
    for module in ("condi_core.methods", "condi_core.methods.packages"):
        monkeypatch.setattr(f"{module}.PLUGINS", {"own": own})
    needed = json.dumps([["own", "own-method", "1.0", own.fingerprint]])
    reply = app(message(packages=needed), context(sites, methods=["condi", "mask"]))
    assert reply.error.reason == "the policy of the site does not allow the method own"
    assert "own_method" not in sys.modules


def test_noise_of_the_site_refuses_the_cross_spectrum_also_as_a_part_of_secure_training(sites):
    asked = message("train.relation", **{"server-round": 1})  # `train` calls the same handler
    reply = app(asked, context(sites, update_clip_norm=1.0, update_noise_multiplier=1.0))
    assert reply.error.reason == "the policy of the site does not allow the estimation of the cross-spectrum"
