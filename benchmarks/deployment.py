"""Measure the cost of a deployment: overhead of an exchange, bytes, memory, and sites per SuperLink.

    python benchmarks/deployment.py [--sites 2 4 8] [--rounds 3] [--width 384]
    python benchmarks/deployment.py --light --sites 2 8 16 32 64 128 --rounds 10 --width 32 --plot FILE

For each number of sites this starts a SuperLink with TLS and registered sites on this machine, and runs phase
2 on small windows. Sites are `condi site`, each with its processes and ClientApps, which take two steps a
round; with `--light`, they are threads of this process that speak the protocol of the SuperNode and answer
from memory (`light_sites.py`). SuperLink, ServerApp, gRPC, TLS, keys and messages are real in both.

The overhead is the seconds of a training exchange beyond those that the slowest site worked for its reply, as
the median over rounds; light sites do not work, so that it is the whole exchange. Memory is the
proportional set size of SuperLink and ServerApp, as the median over the first and the last quarter of the
run. The bytes of one site are counted on the wire, and divided by the size of the weights, which a round
sends down once and up once; the validation of the last round and the test send them down once more.

Prints one line of JSON for each number of sites.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
from light_sites import LightSite, light_sites
from soak import used_memory

sys.path.insert(0, str(Path(__file__).parents[1]))

from condi_core.config import RunConfig
from condi_core.evaluation.replicates import NUM_REPLICATES
from condi_core.methods import METHODS
from condi_core.ownership import trainable
from condi_core.protocol import REPLICATES
from condi_core.run_files import CONFIG_FILE, RESULT_FILE
from condi_core.windows import Schema
from data_partitions.federation import open_federation
from server_app.artifacts.scores import task_evaluation
from tests.helpers.cable import cable
from tests.helpers.hospitals import Coordinator, coordinator, history, wait_for
from tests.helpers.run_settings import flat_defaults
from tests.helpers.tiny_federation import write_tiny

TIMEOUT_SECONDS = 1800
STATUS_SECONDS = 60  # between two questions for the status of a run that has no result yet
# After the rounds: of the last weights on validation windows, and of the best on test windows.
END_EXCHANGES = 2


def register_all(hospitals: Coordinator, names: Sequence[str]) -> None:
    """Register all sites by one connection; a process for each would take seconds."""
    from flwr.cli.flower_config import read_superlink_connection
    from flwr.cli.supernode.register import try_load_public_key
    from flwr.cli.utils import init_http_client_from_connection
    from flwr.proto.control_pb2 import RegisterNodeRequest

    with patch.dict(os.environ, {"FLWR_HOME": hospitals.flower.env["FLWR_HOME"]}):
        client = init_http_client_from_connection(read_superlink_connection("condi"))
    for name in names:
        key = try_load_public_key(hospitals.credentials / "sites" / name / "site.pub")
        node = client.RegisterNode(RegisterNodeRequest(public_key=key, name=name)).node_id
        hospitals.names[str(node)] = name
    client.close()


@contextmanager
def running_sites(
    hospitals: Coordinator,
    federation: Path,
    names: Sequence[str],
    fleet_of_first: str,
    light: bool,
    width: int,
) -> Iterator[None]:
    """Start all sites; the first reaches the SuperLink by another address, where bytes are counted."""
    addresses = [fleet_of_first, *[hospitals.fleet] * (len(names) - 1)]
    if not light:
        for name, hospitals.fleet in zip(names, addresses, strict=True):
            hospitals.start(name, federation / name)
        yield
        return
    manifest = open_federation(federation).open_site(names[0]).manifest
    schema = Schema.model_validate(manifest.schema_fields())
    task = RunConfig.from_flat(flat_defaults() | {"task.width": width}).task
    trained = trainable(METHODS["mask"].model(schema, task))
    evaluation, keys = task_evaluation(schema, with_replicates=True), hospitals.credentials / "sites"
    shapes = evaluation.shapes("val", 0)
    replicates = {REPLICATES: (NUM_REPLICATES, evaluation.replicate_columns("test", 0))}
    sites = [
        LightSite(i, address, keys / name, federation / name, trained, shapes, replicates)
        for i, (name, address) in enumerate(zip(names, addresses, strict=True))
    ]
    with light_sites(sites):
        yield


def measure(folder: Path, count: int, rounds: int, light: bool, width: int) -> dict:
    """Run a federation of `count` sites and return what it cost."""
    federation = write_tiny(folder / "federation", sites=count)
    names = [f"site-{i}" for i in range(count)]
    run_folder = folder / "runs/run"
    with (
        coordinator(folder / "keys", names) as hospitals,
        cable(int(hospitals.fleet.split(":")[1])) as counter,
    ):
        register_all(hospitals, names)
        start = time.monotonic()
        counted = f"localhost:{counter.port}"
        with running_sites(hospitals, federation, names, counted, light, width):
            logs = [site.log_path for site in hospitals.started]
            wait_for(lambda: hospitals.online() == set(names), *logs, seconds=TIMEOUT_SECONDS)
            online, up, down = time.monotonic() - start, counter.up, counter.down
            submitted = time.time()
            run = hospitals.run(
                f"method='mask' compare-with='' min-sites={count} task.rounds={rounds} task.steps=2 "
                f"task.batch=4 task.width={width} output='{folder}/runs' name='run' sites-timeout=600.0"
            )
            memory, status = _follow(hospitals, run, run_folder)
            assert status == "finished:completed", hospitals.log(run)
            up, down = counter.up - up, counter.down - down
        database = sum(file.stat().st_size for file in hospitals.flower.folder.glob("state.db*"))
    lines = history(run_folder)
    weights = (run_folder / "task-mask.safetensors").stat().st_size
    created = (run_folder / CONFIG_FILE).stat().st_mtime
    overhead = [line["train-seconds"] - max(line["site-seconds"].values()) for line in lines]
    return {
        "sites": count,
        "kind": "light" if light else "processes",
        "MB of weights": round(weights / 1e6, 2),
        "rounds": rounds,
        "down over weights": round(down / (weights * (rounds + END_EXCHANGES)), 3),
        "up over weights": round(up / (weights * rounds), 3),
        "s until all are online": round(online, 1),
        "s from submission to the roster": round(created - submitted, 1),
        "s of overhead a training exchange": round(float(np.median(overhead)), 2),
        "s of overhead, largest": round(max(overhead), 2),
        "s a round": round(float(np.median([line["seconds"] for line in lines[:-1]])), 2),
        "replies missed": sum(count - len(line["site-seconds"]) for line in lines),
        "MB in the first quarter, and in the last": _quarters(memory),
        "MB of database": round(database / 1e6, 1),
        "load": round(os.getloadavg()[1], 1),
    }


def _follow(hospitals: Coordinator, run: str, run_folder: Path) -> tuple[list[dict[str, float]], str]:
    """Return the memory that a run used, every two seconds since its first round, and its last status.

    Asking Flower for the status starts a process that takes seconds of a core, so that it is asked rarely.
    """
    memory: list[dict[str, float]] = []
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        asked = time.monotonic()
        assert asked < deadline, hospitals.log(run)
        if (status := hospitals.flower.status(run)[0]).startswith("finished"):
            return memory, status
        while time.monotonic() < asked + STATUS_SECONDS and not (run_folder / RESULT_FILE).exists():
            if history(run_folder):
                memory.append(used_memory(hospitals))
            time.sleep(2)


def _quarters(memory: list[dict[str, float]]) -> dict[str, list[int]]:
    n = max(1, len(memory) // 4)
    return {
        kind: [
            round(float(np.median([m[kind] for m in part if kind in m])))
            for part in (memory[:n], memory[-n:])
        ]
        for kind in ("superlink", "server app")
    }


def plot(results: list[dict], file: Path) -> None:
    """Draw overhead and memory over the number of sites."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    sites = [result["sites"] for result in results]
    seconds = [result["s of overhead a training exchange"] for result in results]
    left.plot(sites, seconds, "o-", label="measured")
    left.plot(sites, [seconds[0] / sites[0] * n for n in sites], "--", color="grey", label="proportional")
    left.set(xlabel="sites", ylabel="overhead of an exchange (s)", xscale="log", yscale="log")
    for kind, label in (("superlink", "SuperLink"), ("server app", "ServerApp")):
        megabytes = [result["MB in the first quarter, and in the last"][kind][-1] for result in results]
        right.plot(sites, megabytes, "o-", label=label)
    right.plot(sites, [result["MB of database"] for result in results], "o-", label="database")
    right.set(xlabel="sites", ylabel="memory and disk (MB)", xscale="log")
    right.set_ylim(0, 1.4 * right.dataLim.ymax)  # with room for the legend
    for axes in (left, right):
        axes.legend(loc="upper left", fontsize="small")
        axes.set_xticks(sites, map(str, sites))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=384, help="of the task model: 384 has weights of 15 MB")
    parser.add_argument("--light", action="store_true", help="sites that answer from memory")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    options = parser.parse_args()
    results = []
    for count in options.sites:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(Path(folder), count, options.rounds, options.light, options.width))
            print(json.dumps(results[-1]), flush=True)
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
