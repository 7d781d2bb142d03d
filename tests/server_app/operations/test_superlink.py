"""A SuperLink whose database is busy waits, so that no site's reply is lost."""

import sqlite3
import subprocess
import sys
import threading
import time

import pytest

HELD = 7.0  # seconds, where Flower by itself gives up after 5

WRITE = """
import sys
from flwr.supercore.object_store.sql_object_store import SqlObjectStore
from flwr.proto.message_pb2 import ObjectTree
from server_app.operations.superlink import raise_sqlite_busy_timeout
if sys.argv[2] == "patient":
    raise_sqlite_busy_timeout()
store = SqlObjectStore(sys.argv[1])
store.initialize()
print("ready", flush=True)
sys.stdin.readline()
store.preregister(1, ObjectTree(object_id="0" * 64))
print(len(store))
"""


@pytest.mark.parametrize(("patience", "outcome"), [("patient", "1\n"), ("as it comes", "")])
def test_a_lock_is_waited_for(tmp_path, patience, outcome):
    command = [sys.executable, "-c", WRITE, tmp_path / "state.db", patience]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as writer:
        assert writer.stdout.readline() == "ready\n"
        holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")
        threading.Timer(HELD, holder.execute, ["COMMIT"]).start()
        began = time.monotonic()
        told, errors = writer.communicate("go\n")
    assert told == outcome
    if patience == "patient":
        assert time.monotonic() - began >= HELD
    else:  # what this is for; when it fails, Flower has learned to wait
        assert "database is locked" in errors
