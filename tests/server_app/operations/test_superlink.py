"""A SuperLink's database: its threads take turns, and none gives up while it is busy."""

import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from flwr.supercore import sql_mixin
from flwr.supercore.object_store.sql_object_store import SqlObjectStore

from server_app.operations.superlink import use_single_connection

LOCK_SECONDS = 7.0  # Flower alone gives up after 5

WRITE = """
import sys
from flwr.supercore.object_store.sql_object_store import SqlObjectStore
from flwr.proto.message_pb2 import ObjectTree
from server_app.operations.superlink import raise_sqlite_busy_timeout
if sys.argv[2] == "longer":
    raise_sqlite_busy_timeout()
store = SqlObjectStore(sys.argv[1])
store.initialize()
print("ready", flush=True)
sys.stdin.readline()
store.preregister(1, ObjectTree(object_id="0" * 64))
print(len(store))
"""


@pytest.mark.deployment  # it waits for Flower to give up
@pytest.mark.parametrize(("timeout", "printed"), [("longer", "1\n"), ("default", "")])
def test_a_write_waits_for_the_database_lock(tmp_path, timeout, printed):
    command = [sys.executable, "-c", WRITE, tmp_path / "state.db", timeout]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as writer:
        assert writer.stdout.readline() == "ready\n"
        holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")
        threading.Timer(LOCK_SECONDS, holder.execute, ["COMMIT"]).start()
        started = time.monotonic()
        output, errors = writer.communicate("go\n")
    assert output == printed
    if timeout == "longer":
        assert time.monotonic() - started >= LOCK_SECONDS
    else:  # if this fails, Flower waits long enough without `condi superlink`
        assert "database is locked" in errors


@pytest.mark.parametrize(("database", "is_single"), [("state.db", True), (":memory:", False)])
def test_threads_take_turns_with_one_connection(tmp_path, monkeypatch, database, is_single):
    monkeypatch.setattr(sql_mixin, "create_engine", sql_mixin.create_engine)  # restored at the end
    use_single_connection()
    store = SqlObjectStore(database if database == ":memory:" else str(tmp_path / database))
    store.initialize()
    if is_single:
        assert (store._engine.pool.size(), store._engine.pool._max_overflow) == (1, 0)
    with store.session(), store.session():  # of the same thread share a connection
        assert len(store) == 0
