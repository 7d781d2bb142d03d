"""The ClientApp: one handler for each kind of request that the coordinator sends to a site."""

from __future__ import annotations

import json
import logging
import os
import warnings

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp

from client_app.node import completions, imputer_phase, secure_aggregation, task_phase
from client_app.node.private_releases import release_relation, release_standardising_sums
from client_app.node.request import Request, handler, to_record
from client_app.node.site import Site, is_virtual
from client_app.node.site_relation import use_site_relation
from client_app.node.update import training_reply
from condi_core.config import ConfigError
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.imputer.relation_estimate import estimate_cross_spectrum
from condi_core.methods import METHODS, make_imputer
from condi_core.methods.packages import PACKAGES_KEY, require_packages
from condi_core.ownership import ownership
from condi_core.protocol import sends_replicates
from condi_core.task.model import TaskModel
from data_partitions.manifest import SPLITS, Split
from data_partitions.user_cache import require_writable


def configure_process() -> None:
    """Make a simulation print the lines of every site and hide Ray's own, before Ray is imported."""
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    warnings.filterwarnings("ignore", message="Tip: In future versions of Ray", category=FutureWarning)
    logging.getLogger("flwr").addFilter(lambda record: "Manually terminating" not in record.getMessage())


configure_process()
app = ClientApp()


@app.query("describe")
@handler
def describe(request: Request) -> RecordDict:
    """Describe this node's sites: schema, counts and standardising sums; nothing per record.

    `privacy.smallest-count` can withhold a split: it then has None for label counts and no windows to score.
    """
    virtual = is_virtual(request.context)
    if virtual and not request.settings["federation"]:
        return RecordDict({"config": ConfigRecord({"sites": [], "wants-federation": True, "virtual": True})})
    require_packages(str(request.settings.get(PACKAGES_KEY, "")), request.policy.methods)
    sites = [_describe_site(request.site(name, check=True)) for name in request.partitions]
    config = ConfigRecord({"sites": sites, "wants-federation": False, "virtual": virtual})
    return RecordDict({"config": config})


@app.query("left_out")
def log_exclusion(message: Message, context: Context) -> Message:
    """Print to the site's own log why the coordinator runs without it."""
    reason = message.content.config_records["config"]["why"]
    print(f"condi: the coordinator excluded this site from the run: {reason!s}", flush=True)
    return Message(RecordDict(), reply_to=message)


def _describe_site(site: Site) -> str:
    if any(METHODS[name].complete for name in site.config.methods):
        remedy = "choose another folder by condi run --cache, condi site --cache or the variable CONDI_CACHE"
        require_writable(site.cache, remedy)
    partition, smallest_count = site.partition, site.config.privacy.smallest_count
    setting = f"privacy.smallest-count={smallest_count}"
    if smallest_count == site.policy.smallest_count:
        setting = f"the smallest-count={smallest_count} of its policy"
    training = partition.rows("train")
    if 0 < len(np.unique(partition.patient_ids[training])) < smallest_count:
        raise ConfigError(
            f"site {site.name} has fewer patients for training than {setting}: "
            "exclude it, merge it with another site, or lower the setting"
        )
    without_labels = np.setdiff1d(training, site.labelled_rows("train"))
    if site.schema.labels and not site.are_large_enough([without_labels]):
        raise ConfigError(
            f"site {site.name} has fewer patients without labels than {setting}: "
            "prepare it without them, or lower the setting"
        )
    if site.config.task.covariates and (
        withheld := [c.name for c in site.schema.covariates if not site.policy.allows_covariate(c.name)]
    ):
        raise ConfigError(
            f"site {site.name} has a policy that does not allow {', '.join(withheld)} as inputs of models: "
            "set task.covariates=false, or exclude the site"
        )
    windows = {"train": len(training)} | {s: len(site.scorable_rows(s)) for s in SPLITS[1:]}
    labelled = {s: site.labelled_rows(s) for s in SPLITS}
    num_labelled = {"train": len(labelled["train"])}
    num_labelled |= {s: len(site.scorable_labelled_rows(s)) for s in SPLITS[1:]}
    count = site.schema.task_kind.label_counts
    # Sums over patients for training have noise, and counts of their labels are withheld.
    is_private = bool(site.config.privacy.patient_epsilon)
    disclosed = [s for s in SPLITS if site.may_disclose(s) and not (is_private and s == "train")]
    counts = {s: count(partition.labels[labelled[s]]).tolist() for s in disclosed}
    compute_sums = release_standardising_sums if is_private else imputer_phase.compute_standardising_sums
    manifest = partition.manifest.model_copy(update={"windows": windows})
    return json.dumps(
        {
            "name": site.name,
            "manifest": manifest.model_dump(mode="json", exclude={"made_by"}),
            "labels": dict.fromkeys(SPLITS) | counts,
            "labelled": num_labelled,
            "patients": {s: site.count_patients(s) if s in disclosed else None for s in SPLITS},
            "sums": compute_sums(site).tolist(),
            **task_phase.compute_standardising_sums(site),
        }
    )


def _load_imputer(request: Request, site: Site) -> DiffusionImputer:
    """Load the imputer of the message, with the relation between modalities of the site."""
    imputer = request.load(make_imputer(site.schema, site.config), site.device)
    use_site_relation(site, imputer)
    return imputer


def _score_imputer(site: Site, imputer: DiffusionImputer, split: Split, samples: int = 0) -> RecordDict:
    sums = imputer_phase.score(site, imputer, split, samples, _with_replicates(site, split))
    return RecordDict({"arrays": to_record(sums), "metrics": MetricRecord({})})


def _with_replicates(site: Site, split: Split) -> bool:
    return split == "test" and sends_replicates(site.config)


def _load_task(request: Request) -> TaskModel:
    site = request.site()
    return request.load(request.method.model(site.schema, site.config.task), site.device)


def _read_task_windows(request: Request, model: TaskModel, split: Split) -> task_phase.TaskWindows:
    imputer_hash = request.settings["imputer"]
    return task_phase.TaskWindows(request.site(), request.method, imputer_hash, split, model.standardiser)


def _score_task(request: Request, model: TaskModel, split: Split) -> RecordDict:
    windows = _read_task_windows(request, model, split)
    with_replicates = _with_replicates(windows.site, split)
    sums, loss, count = task_phase.score(windows, model, split == "test", with_replicates)
    metrics = MetricRecord({"loss-sum": loss, "windows": float(count)})
    return RecordDict({"arrays": to_record(sums), "metrics": metrics})


@app.train("relation", mods=[secure_aggregation.refuse_plain_training])
@handler
def train_relation(request: Request) -> RecordDict:
    """Phase 1, first part: estimate the cross-spectrum, from covariances and then by EM."""
    site, first = request.site(), request.settings["server-round"] == 1
    if site.policy.update_noise_multiplier:
        raise ConfigError("the policy of the site does not allow the estimation of the cross-spectrum")
    imputer = request.load(make_imputer(site.schema, site.config), site.device)
    if site.config.privacy.patient_epsilon:
        spectra, counts, windows = release_relation(site, imputer)
    else:
        rows, seed = site.partition.rows("train"), request.seed
        spectra, counts, windows = estimate_cross_spectrum(site, rows, imputer, seed, first)
    metrics = MetricRecord(
        {"windows": float(windows), "counts": counts.ravel().tolist(), "loss": 0.0, "steps": 1}
    )
    return RecordDict({"arrays": to_record(spectra), "metrics": metrics})


@app.train("imputer", mods=[secure_aggregation.refuse_plain_training])
@handler
def train_imputer(request: Request) -> RecordDict:
    """Phase 1, second part: score the diffusion model if this is asked, and take local steps of it."""
    site = request.site()
    model = _load_imputer(request, site)
    scores = _score_imputer(site, model, "val") if request.evaluates else None
    rate = request.settings["learning-rate"]
    result = imputer_phase.train(site, model, request.seed, rate, request.deadline)
    return training_reply(request, model, result, scores)


@app.evaluate("imputer")
@handler
def evaluate_imputer(request: Request) -> RecordDict:
    """Score the imputer and the naive baselines on the same hidden samples, as sums of errors."""
    site, settings = request.site(), request.settings
    return _score_imputer(site, _load_imputer(request, site), settings["split"], settings["samples"])


@app.query("complete")
@handler
def complete(request: Request) -> RecordDict:
    """Complete windows of the site with the frozen imputer, once, and store them on the site's disk."""
    site, settings = request.site(), request.settings
    method = request.method
    imputer, splits = _load_imputer(request, site), settings["splits"]
    completions.complete(site, method, imputer, settings["imputer"], splits)
    return RecordDict()


@app.train("task", mods=[secure_aggregation.refuse_plain_training])
@handler
def train_task(request: Request) -> RecordDict:
    """Phase 2: score the task model if this is asked, and take local steps of it."""
    model = _load_task(request)
    scores = _score_task(request, model, "val") if request.evaluates else None
    windows = _read_task_windows(request, model, "train")
    rate = request.settings["learning-rate"]
    result = task_phase.train(windows, model, request.seed, rate, request.deadline)
    return training_reply(request, model, result, scores)


@app.train(mods=[secure_aggregation.refuse_unsafe_masking, secaggplus_mod])
def train_secure(message: Message, context: Context) -> Message:
    """Run a training round of any phase under secure aggregation."""
    settings = secure_aggregation.unpack_request(message)
    action = settings["action"]
    handlers = {"relation": train_relation, "imputer": train_imputer, "task": train_task}
    reply = handlers[action](message, context)
    if reply.has_error():
        raise secure_aggregation.UpdateRefusedError(reply.error)
    request = Request(message, context)
    site = request.site()
    model: TaskModel | DiffusionImputer
    if action == "task":
        model = request.method.model(site.schema, site.config.task)
    else:
        model = make_imputer(site.schema, site.config)
    return secure_aggregation.weighted_update(message, reply, ownership(model))


@app.evaluate("task")
@handler
def evaluate_task(request: Request) -> RecordDict:
    """Score the task model, as sums of the task's metrics."""
    return _score_task(request, _load_task(request), request.settings["split"])
