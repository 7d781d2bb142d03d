"""A site's part of secure aggregation: its update as numbers in [-1, 1], before Flower's SecAgg+ masks them.

Each piece is weighted at the site and comes as `weight × (trained - start) / range`, behind them the weights
themselves, so that the coordinator can divide the sum of the ones by the sum of the others. It learns no
single site's piece, weight or loss; in clear are that the site answered and how long it worked. Since nobody
can check a masked update, the site checks its own.
"""

from __future__ import annotations

import numpy as np
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common.recorddict_compat import fitres_to_recorddict, recorddict_to_fitins

from client_app.node.request import FAILED, packed_record, to_numpy
from condi_core.ownership import Owner, aggregation_weights
from condi_core.protocol import LOSS_RANGE, MIN_SECURE_SITES


class UpdateRefusedError(Exception):
    """This site has no update to give: the masking ends here."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.reason)
        self.error = error


def refuse_unsafe_masking(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """A mod around the masking, which knows of no error replies and agrees to any number of sites.

    A site has no part in masks that few could take off: of fewer than three sites, or by a minority.
    """
    asked = message.content.get(RECORD_KEY_CONFIGS, {})
    if asked.get(Key.STAGE) == Stage.SETUP:
        sites, threshold = asked[Key.SAMPLE_NUMBER], asked[Key.THRESHOLD]
        if sites < MIN_SECURE_SITES or 2 * threshold <= sites:
            reason = f"this site is not masked among {sites} sites of which {threshold} can unmask it"
            return Message(Error(FAILED, reason), reply_to=message)
    try:
        return call_next(message, context)
    except UpdateRefusedError as refused:
        return Message(refused.error, reply_to=message)


def unpack_request(message: Message) -> dict:
    """Put a request's arrays and settings where all handlers look for them; return the settings."""
    asked = recorddict_to_fitins(message.content, keep_input=True)
    settings = dict(asked.config)
    (packed,) = asked.parameters.tensors
    message.content["arrays"] = packed_record(packed)
    message.content["config"] = ConfigRecord(settings)
    return settings


def weighted_update(request: Message, reply: Message, owners: dict[str, Owner]) -> Message:
    """The reply of a training round as what is to be masked; Refused when it is an error or too large."""
    if reply.has_error():
        raise UpdateRefusedError(reply.error)
    settings, told = request.content["config"], reply.content["metrics"]
    base = to_numpy(request.content["arrays"])
    windows = float(told["windows"]) / settings["most-windows"]
    modalities = round(len(told["counts"]) ** 0.5)
    counts = np.array(told["counts"]).reshape(modalities, modalities) / settings["most-counted"]
    pieces = []
    for name, array in sorted(to_numpy(reply.content["arrays"]).items()):
        update = (array.astype(np.float64) - base[name]) / settings["range"]
        if not np.abs(update).max(initial=0) <= 1:  # also when it is not a number
            reason = f"its update of {name} is not finite or beyond {settings['range']:g}: not carried masked"
            raise UpdateRefusedError(Error(FAILED, reason))
        pieces.append(update * aggregation_weights(owners[name], counts, windows, update.shape))
    loss = min(float(told["loss"]), LOSS_RANGE) / LOSS_RANGE
    answer = FitRes(
        Status(Code.OK, ""),
        ndarrays_to_parameters([*pieces, counts, np.array([windows, windows * loss])]),
        num_examples=1,  # in clear, and so the same everywhere
        metrics={"seconds": told["seconds"]},
    )
    return Message(RecordDict(fitres_to_recorddict(answer, keep_input=False)), reply_to=request)
