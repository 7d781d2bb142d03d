"""Makes ClientApps fail as `CONDI_FAULTS` says: {"train.task 2": "hang"}, by kind of message and round."""

import json
import os
import time

faults = json.loads(os.environ.get("CONDI_FAULTS", "{}"))


def spoil(reply, fault):
    """Change the arrays of a reply to garbage."""
    import numpy as np

    from client_app.node.request import to_numpy, to_record

    def garbage(array):
        if fault == "shapes":
            return np.zeros((*array.shape, 2), array.dtype)
        return np.full_like(array, {"nan": np.nan, "huge": 1e30}[fault])

    arrays = to_numpy(reply.content["arrays"])
    reply.content["arrays"] = to_record({name: garbage(array) for name, array in arrays.items()})
    return reply


if faults:
    from flwr.clientapp import ClientApp

    answer = ClientApp.__call__

    def call(self, message, context):
        config = message.content["config"]
        fault = faults.get(f"{message.metadata.message_type} {config.get('server-round', 0)}", "")
        if fault == "hang":
            # The app's own watchdog runs meanwhile, as it would beside a deadlock.
            import client_app.classifying

            client_app.classifying.train = lambda *_: (print("hangs", flush=True), time.sleep(1e6))
        reply = answer(self, message, context)
        return spoil(reply, fault) if fault in ("shapes", "nan", "huge") else reply

    ClientApp.__call__ = call
