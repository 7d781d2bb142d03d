"""What is noted of the exchanges of a run, and that a deployment's replies are received as without that."""

import threading

from flwr.app import Error, Message, RecordDict
from flwr.superlink.grid.http_grid import HttpGrid

from server_app.artifacts.run_progress import RunProgress
from server_app.federation.observed_grid import ObservedGrid
from server_app.federation.reply_pulling import ReplyPuller
from tests.helpers.local_grid import LocalGrid


class Deployment(HttpGrid):
    """A grid of a deployment without a SuperLink."""

    def __init__(self) -> None: ...

    def close(self) -> None: ...


def answer(message, context):
    if message.metadata.dst_node_id == 1001:
        return Message(Error(2, "Traceback\nit has\x1b no memory"), reply_to=message)
    return Message(RecordDict(), reply_to=message)


def test_who_is_asked_and_who_answers():
    progress = RunProgress()
    nodes = [{"registered": "north"}, {"registered": "south"}, {"registered": "east"}]
    grid = ObservedGrid(LocalGrid(answer, nodes, {}), progress)
    grid.get_nodes()
    requests = [Message(RecordDict(), 1000, "train.task", group_id="s0")]
    requests.append(Message(RecordDict(), 1001, "evaluate.task", group_id="s1"))
    requests.append(Message(RecordDict(), 1002, "train"))  # secure aggregation names no site
    sent = grid.push_messages(requests)
    content = progress._content
    assert content["online"] == ["east", "north", "south"]
    assert {name: (site["kind"], site["answered"]) for name, site in content["sites"].items()} == {
        "s0": ("train.task", None),
        "s1": ("evaluate.task", None),
        "east": ("train", None),
    }
    assert content["request"]["kind"] == "train.task"
    assert len(ReplyPuller(grid).pull(sent[:2])) == 2
    assert [name for name, site in content["sites"].items() if site["answered"]] == ["s0", "s1"]
    for kind in ("query.describe", "query.left_out"):
        grid.push_messages([Message(RecordDict(), 1000, kind, group_id="s0")])
    assert content["request"]["kind"] == "train.task"  # those of the roll call are not noted
    grid.grid.contexts.clear()
    grid.get_nodes()
    assert content["online"] == []


def test_replies_of_a_deployment_are_received_object_by_object():
    grid = Deployment()
    puller = ReplyPuller(ObservedGrid(grid, RunProgress()))
    assert puller._grid is grid  # of the kind that decides on it
    assert puller.pull([]) == []


def test_a_run_that_ends_while_its_progress_is_written_is_not_held_up(tmp_path):
    progress = RunProgress()
    writer = threading.Thread(target=progress._write_repeatedly, daemon=True)

    class EndsJustBefore(threading.Event):
        def clear(self) -> None:
            progress._ended.set()
            super().clear()

    progress._changed, progress._path = EndsJustBefore(), tmp_path / "progress.json"
    writer.start()
    writer.join(2)
    assert not writer.is_alive()
