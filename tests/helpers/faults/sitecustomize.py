"""Make ClientApps hang in the messages that CONDI_FAULTS lists by type and round, as ["train.task 2"]."""

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
            # The watchdog of the app still runs, as it would in a deadlock.
            from client_app.node import task_phase

            task_phase.train = lambda *_: (print("hangs", flush=True), time.sleep(1e6))
        return original_call(self, message, context)

    ClientApp.__call__ = call_with_fault
