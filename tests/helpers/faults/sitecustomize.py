"""Makes ClientApps fail as `CONDI_FAULTS` says: {"train.task 2": "hang"}, by kind of message and round."""

import json
import os
import time

FAULTS = json.loads(os.environ.get("CONDI_FAULTS", "{}"))


def spoil_reply(reply, fault):
    """Replace the arrays of a reply by garbage."""
    import numpy as np

    from client_app.node.request import to_numpy, to_record

    def garbage(array):
        if fault == "shapes":
            return np.zeros((*array.shape, 2), array.dtype)
        return np.full_like(array, {"nan": np.nan, "huge": 1e30}[fault])

    arrays = to_numpy(reply.content["arrays"])
    reply.content["arrays"] = to_record({name: garbage(array) for name, array in arrays.items()})
    return reply


if FAULTS:
    from flwr.clientapp import ClientApp

    original_call = ClientApp.__call__

    def call_with_fault(self, message, context):
        config = message.content["config"]
        fault = FAULTS.get(f"{message.metadata.message_type} {config.get('server-round', 0)}", "")
        if fault == "hang":
            # The app's own watchdog keeps running, as it would in a deadlock.
            from client_app.node import task_phase

            task_phase.train = lambda *_: (print("hangs", flush=True), time.sleep(1e6))
        reply = original_call(self, message, context)
        return spoil_reply(reply, fault) if fault in ("shapes", "nan", "huge") else reply

    ClientApp.__call__ = call_with_fault
