"""The ledger of patients' privacy in the audit log, and the limit that the policy of a site sets."""

import dataclasses

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from client_app.node import privacy_ledger
from client_app.node.audit_log import read_entries
from client_app.node.patients import Patients, plan_of_site
from client_app.node.privacy_ledger import read_spending, spend_privacy
from client_app.node.private_releases import release_relation, release_standardising_sums
from client_app.node.request import Request
from client_app.node.site import Site
from client_app.node.site_policy import SitePolicy
from condi_core.config import ConfigError, RunConfig
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.privacy.accounting import GaussianRelease, compute_epsilon
from condi_core.protocol import fingerprint
from data_partitions.federation import open_federation
from data_partitions.locks import InUseError, hold_lock
from tests.helpers.run_settings import small_run_settings
from tests.helpers.tiny_federation import write_tiny

PRIVATE = {"privacy.patient-epsilon": 3.0, "privacy.value-ranges": "mV=-8:8", "method": "estimate"}


@pytest.fixture
def site(tmp_path) -> Site:
    path = write_tiny(tmp_path / "f", sites=1)
    policy = SitePolicy(smallest_count=0, max_epsilon=5.0)
    config = RunConfig.from_flat(small_run_settings(PRIVATE))
    partition = open_federation(path).open_site("site-0")
    return Site(
        "site-0", partition, config, torch.device("cpu"), tmp_path / "c", policy, tmp_path / "audit.jsonl"
    )


def release_all(site: Site, seed: int) -> None:
    """Release what a run with this seed does."""
    site = dataclasses.replace(site, config=site.config.model_copy(update={"seed": seed}))
    imputer = DiffusionImputer(site.schema, site.config.imputer)
    imputer.standardiser.fit(torch.from_numpy(release_standardising_sums(site)))
    release_relation(site, imputer)
    task, patients = site.config.task, Patients(site, site.labelled_rows("train"))
    for _ in range(task.rounds):
        patients.spend_on_steps("task", task.batch, task.steps)


def test_a_third_run_beyond_the_budget_is_refused_before_it_releases_anything(site):
    for seed in (0, 1):
        release_all(site, seed)
    entries = read_entries(site.audit)
    releases = ["histograms", "moments", "relation", "steps of task", "steps of task"]
    assert [entry["release"] for entry in entries] == 2 * releases
    assert entries[4]["epsilon"] == pytest.approx(3, rel=0.02), "what the first run was to spend"
    spent = compute_epsilon(read_spending(entries), 1e-5)
    assert 4 < spent < 5 and entries[-1]["epsilon"] == pytest.approx(spent, rel=1e-4)
    with pytest.raises(ConfigError) as refused:
        release_all(site, 2)
    assert f"has spent epsilon {spent:.3g} of its patients' privacy at delta 1e-05" in str(refused.value)
    assert "more than max-epsilon=5 of its policy" in str(refused.value)
    assert read_entries(site.audit) == entries


def test_a_release_that_is_given_again_is_spent_once(site):
    for _ in range(2):
        release_standardising_sums(site)
    assert [entry["release"] for entry in read_entries(site.audit)] == ["histograms", "moments"]


def test_rounds_beyond_the_plan_are_refused_at_the_limit(site):
    mechanism = GaussianRelease(plan_of_site(site).gradients, 0.5, 2)
    with pytest.raises(ConfigError, match="more than max-epsilon=5"):
        for _ in range(100):
            spend_privacy(site, "steps of task", mechanism)
    assert compute_epsilon(read_spending(read_entries(site.audit)), 1e-5) <= 5


def test_one_process_at_a_time_decides_what_still_fits_the_budget(site, monkeypatch):
    def spend_at_once(entries):
        with pytest.raises(InUseError), hold_lock(site.audit.with_name("audit.jsonl.lock"), "the ledger"):
            pass
        return read_spending(entries)

    monkeypatch.setattr(privacy_ledger, "read_spending", spend_at_once)
    spend_privacy(site, "relation", GaussianRelease(9.0))
    assert [path.name for path in site.audit.parent.glob("audit*")] == ["audit.jsonl"]


def test_without_a_limit_the_ledger_only_records(site):
    site = dataclasses.replace(site, policy=SitePolicy(smallest_count=0))
    for seed in range(2):
        spend_privacy(site, "relation", GaussianRelease(0.4 + seed))
    assert read_spending(read_entries(site.audit)) == [GaussianRelease(0.4), GaussianRelease(1.4)]


def test_the_log_is_the_one_of_the_node(site):
    node = {"data": str(site.partition.path), "device": "cpu", "audit": str(site.audit)}
    context = Context(1, 1, node, RecordDict(), small_run_settings(PRIVATE))
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    settings = {"fingerprint": fingerprint(), "federation": "", "site": "site-0"}
    message = Message(RecordDict({"config": ConfigRecord(settings)}), 1, "query.describe")
    assert Request(message, context).site().audit == site.audit


def test_a_simulation_has_no_ledger(site):
    release_standardising_sums(dataclasses.replace(site, audit=None))
    assert not site.audit.exists()
