"""Makes ClientApps hang as `CONDI_FAULTS` says: ["train.task 2"], by kind of message and round."""

import json
import os
import time

HANGING = json.loads(os.environ.get("CONDI_FAULTS", "[]"))

if HANGING:
    from flwr.clientapp import ClientApp

    original_call = ClientApp.__call__

    def call_with_fault(self, message, context):
        server_round = message.content["config"].get("server-round", 0)
        if f"{message.metadata.message_type} {server_round}" in HANGING:
            # The app's own watchdog keeps running, as it would in a deadlock.
            from client_app.node import task_phase

            task_phase.train = lambda *_: (print("hangs", flush=True), time.sleep(1e6))
        return original_call(self, message, context)

    ClientApp.__call__ = call_with_fault
