"""A site's part of secure aggregation: its update as numbers in [-1, 1], before Flower's SecAgg+ masks them.

Each array is weighted at the site and sent as `weight × (trained - start) / range`. The weights themselves
follow, so that the coordinator can divide the sum of the first by the sum of the second. It learns no single
site's update, weight or loss; it does see that the site answered, how many seconds it took, and which
modalities and pairs of modalities it trained. The coordinator cannot check a masked update, so the site does.

A site does not rely on the coordinator for what it can check: that it is asked for no update in clear, that
enough sites share each mask and each sum, that no site is named as one that answered and as one that dropped
out (whoever has both of its secrets can unmask it), and that a round is not unmasked twice for different
sites. It sends zeros for what fewer than `MIN_SECURE_SITES` sites train, by the coordinator's count.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from flwr.app import ConfigRecord, Context, Error, Message
from flwr.clientapp.typing import ClientAppCallable
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common.recorddict_compat import fitres_to_recorddict, recorddict_to_fitins

from client_app.node.request import CLIENT_APP_FAILED, packed_record
from condi_core.ownership import Owner, aggregation_weights
from condi_core.protocol import LOSS_RANGE, MIN_SECURE_SITES
from condi_core.serialization import unpack_arrays

# Records of a site's state within a run: the round that it masked last, and the sum that it unmasked last.
MASKED, UNMASKED = "condi.masked", "condi.unmasked"


class UpdateRefusedError(Exception):
    """This site has no update to send, so the masking ends here."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.reason)
        self.error = error


def refuse_plain_training(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Wrap training without masks, which a site refuses in a run that has secure aggregation."""
    if context.run_config.get("secure-aggregation"):
        return _refusal(
            message,
            "this site refuses to send its update unmasked: the settings of the run have "
            "secure-aggregation=true, but the coordinator asked for training without it",
        )
    return call_next(message, context)


def refuse_unsafe_masking(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Wrap Flower's masking, which has no error replies and accepts any number of sites."""
    config = message.content.config_records.get(RECORD_KEY_CONFIGS, ConfigRecord())
    stage = config.get(Key.STAGE)
    if reason := _why_unsafe(config):
        return _refusal(message, reason)
    if stage == Stage.UNMASK and (reason := _why_unmasked_before(config, context)):
        return _refusal(message, reason)
    try:
        reply = call_next(message, context)
    except UpdateRefusedError as refusal:
        return Message(refusal.error, reply_to=message)
    if stage == Stage.COLLECT_MASKED_VECTORS:
        settings: dict[str, Any] = dict(message.content.config_records["config"])  # of `unpack_request`
        context.state[MASKED] = ConfigRecord({"round": f"{settings['phase']} {settings['server-round']}"})
    return reply


def _why_unsafe(config: ConfigRecord) -> str:
    """Return why a request of the protocol could reveal the update of one site; empty if it could not."""
    values: dict[str, Any] = dict(config)
    stage = values.pop(Key.STAGE, None)
    if stage == Stage.SETUP:
        sites, threshold = int(values[Key.SAMPLE_NUMBER]), int(values[Key.THRESHOLD])
        if sites < MIN_SECURE_SITES or 2 * threshold <= sites:
            return (
                f"this site refuses masks among {sites} sites of which {threshold} can unmask it: expected "
                f"at least {MIN_SECURE_SITES} sites, and more than half of them to unmask"
            )
    if stage == Stage.UNMASK:
        answered, dropped = set(values[Key.ACTIVE_NODE_ID_LIST]), set(values[Key.DEAD_NODE_ID_LIST])
        if both := answered & dropped:
            return (
                f"this site refuses to unmask {len(both)} of the sites, which the coordinator names both as "
                "having answered and as having dropped out"
            )
        return _too_few(len(answered))
    if stage == Stage.SHARE_KEYS:
        return _too_few(len(values))
    if stage == Stage.COLLECT_MASKED_VECTORS:
        return _too_few(len(set(values[Key.SOURCE_LIST])) + 1)
    return ""


def _too_few(sites: int) -> str:
    return (
        f"this site refuses a sum over {sites} sites: expected at least {MIN_SECURE_SITES}"
        if sites < MIN_SECURE_SITES
        else ""
    )


def _why_unmasked_before(config: ConfigRecord, context: Context) -> str:
    """Return why a sum must not be unmasked after another one of the same round; empty if it may be.

    The site remembers the sum. A sum over the same sites is the same, as training is repeatable; from one
    over other sites, the difference to the first would reveal who is in only one of them.
    """
    states = context.state.config_records
    round_ = states[MASKED]["round"] if MASKED in states else ""
    sites = sorted(cast(list[int], config[Key.ACTIVE_NODE_ID_LIST]))
    before = states.get(UNMASKED)
    if before and before["round"] == round_ and before["sites"] != sites:
        return "this site refuses to unmask a round again that it has unmasked for other sites"
    context.state[UNMASKED] = ConfigRecord({"round": round_, "sites": sites})
    return ""


def _refusal(message: Message, reason: str) -> Message:
    print(f"condi: {reason}", flush=True)
    return Message(Error(CLIENT_APP_FAILED, reason), reply_to=message)


def unpack_request(message: Message) -> dict[str, Any]:
    """Put a request's arrays and settings into the records that all handlers read; return the settings."""
    instructions = recorddict_to_fitins(message.content, keep_input=True)
    settings: dict[str, Any] = dict(instructions.config)
    (packed,) = instructions.parameters.tensors
    message.content["arrays"] = packed_record(packed)
    message.content["config"] = ConfigRecord(settings)
    return settings


def weighted_update(request: Message, reply: Message, owners: dict[str, Owner]) -> Message:
    """Turn the reply of a training round into the numbers to mask.

    Parameters
    ----------
    request : Message
        As `unpack_request` left it.
    reply : Message
        Reply of the phase's handler, without an error.
    owners : dict
        Which modalities own each of the model's weights.

    Raises
    ------
    UpdateRefusedError
        When an update is not finite or beyond the range.
    """
    settings: dict[str, Any] = dict(request.content.config_records["config"])
    metrics: dict[str, Any] = dict(reply.content.metric_records["metrics"])
    base = unpack_arrays(request.content["arrays"])
    windows = metrics["windows"] / settings["most-windows"]
    modalities = round(len(metrics["counts"]) ** 0.5)
    counts = np.array(metrics["counts"]).reshape(modalities, modalities) / settings["most-counted"]
    num_owners = np.frombuffer(settings["num-owners"], "<u4").reshape(modalities, modalities)
    counts = np.where(num_owners >= MIN_SECURE_SITES, counts, 0)
    parts = []
    for name, array in sorted(unpack_arrays(reply.content["arrays"]).items()):
        update = (array.astype(np.float64) - base[name]) / settings["range"]
        if not np.abs(update).max(initial=0) <= 1:  # also when it is not a number
            reason = (
                f"the update of {name} is not finite or exceeds {settings['range']:g}, the limit of "
                "secure aggregation"
            )
            raise UpdateRefusedError(Error(CLIENT_APP_FAILED, reason))
        parts.append(update * aggregation_weights(owners[name], counts, windows, update.shape))
    loss = min(metrics["loss"], LOSS_RANGE) / LOSS_RANGE
    result = FitRes(
        Status(Code.OK, ""),
        ndarrays_to_parameters([*parts, counts, np.array([windows, windows * loss])]),
        num_examples=1,  # this is not masked, so it must be the same at every site
        metrics={"seconds": metrics["seconds"], "trained": (counts > 0).astype(np.uint8).tobytes()},
    )
    return Message(fitres_to_recorddict(result, keep_input=False), reply_to=request)
