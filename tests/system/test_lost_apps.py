"""Processes that work for a run and are killed, runs that end while sites work for them, and a proxy."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.helpers.hospitals import Site, coordinator, history, wait_for
from tests.helpers.http_proxy import OUTSIDE, http_proxy
from tests.helpers.tiny_federation import write_tiny

pytestmark = pytest.mark.deployment

SITES = ["site-0", "site-1"]
# A site would otherwise train for 48 minutes.
LONG = {"task__steps": 10**7, "round_timeout": 3600.0, "task__rounds": 1}
GIVE_UP_SECONDS = 60.0  # some five seconds on a quiet machine


def children(process: int) -> list[int]:
    files = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


def apps_of(site: Site) -> list[int]:
    """Return the processes of a site's apps."""
    starters = children(site.process.pid)
    return [app for starter in starters for server in children(starter) for app in children(server)]


def is_training(app: int) -> bool:
    """Return whether an app has used more processor time than one that only describes the site."""
    try:
        fields = Path(f"/proc/{app}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:  # it has just ended
        return False
    return int(fields[11]) > 3 * os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(900)
def test_sites_are_free_when_a_run_ends_and_the_coordinator_hears_of_killed_apps(tmp_path, settings):
    federation = write_tiny(tmp_path / "federation", sites=2)
    common = {"method": "mask", "min_sites": 2, "sites": ",".join(SITES), "sites_timeout": 1.0}
    hosts = ["localhost", OUTSIDE]
    with http_proxy() as proxy, coordinator(tmp_path / "keys", SITES, hosts=hosts) as running:
        # The first site is in a network whose only way out is a proxy, as is whoever starts runs.
        behind_proxy = {"https_proxy": proxy.uri, "no_proxy": "", "NO_PROXY": ""}
        direct = running.fleet
        for site in SITES:
            running.register(site)
            running.fleet = direct.replace("localhost", OUTSIDE) if site == SITES[0] else direct
            running.start(site, federation / site, **(behind_proxy if site == SITES[0] else {}))
        logs = [site.log_path for site in running.started]
        wait_for(lambda: running.online() == set(SITES), *logs)
        assert f"; through the proxy 127.0.0.1:{proxy.port}" in running.started[0].log

        def submit(name: str) -> tuple[subprocess.Popen, str]:
            """Start a long run, and wait until both sites train."""
            log = tmp_path / f"{name}.log"
            certificate = str(running.credentials / "ca.crt")
            command = ["condi", "submit", "--superlink", f"localhost:{running.api}"]
            command += ["--root-certificates", certificate, "-c", settings(**common, **LONG, name=name)]
            with log.open("w") as sink:
                environment = running.flower.env | behind_proxy
                process = running.flower.start(
                    *command, env=environment, stdout=sink, stderr=subprocess.STDOUT
                )
            wait_for(lambda: log.read_text().startswith("run "), log)
            run = log.read_text().split()[1]
            wait_for(lambda: all(any(map(is_training, apps_of(s))) for s in running.started), log, *logs)
            return process, run

        def wait_until_free(run: str, reason: str) -> None:
            """Wait until the sites have given up on a run, and their apps have ended."""
            line = f"condi: gave up on train.task of run {run}: {reason}"
            sites, seconds = running.started, GIVE_UP_SECONDS
            wait_for(lambda: all(line in site.log for site in sites), *logs, seconds=seconds)
            wait_for(lambda: not any(map(apps_of, sites)), *logs, seconds=seconds)

        def read_failure(process: subprocess.Popen, name: str) -> str:
            """Wait until `condi submit` has failed, and return what it has printed."""
            log = tmp_path / f"{name}.log"
            wait_for(lambda: process.poll() is not None, log, *logs, seconds=GIVE_UP_SECONDS)
            assert process.returncode == 1
            return log.read_text()

        process, run = submit("killed")
        (starter,) = children(running.started[0].process.pid)
        os.kill(starter, signal.SIGKILL)
        (app,) = apps_of(running.started[1])
        os.kill(app, signal.SIGKILL)
        log = read_failure(process, "killed")
        assert "site-0: the app's process has ended before it replied" in log, log
        assert "site-1: the app's process was killed, most often because memory ran out" in log, log

        process, run = submit("without-coordinator")
        running.kill_server_app()
        wait_until_free(run, "the run has ended")
        log = read_failure(process, "without-coordinator")
        assert log.endswith("Error: The app's process was killed, most often because memory ran out\n"), log

        process, run = submit("stopped")
        stop = ["condi", "submit", "--superlink", f"localhost:{running.api}", "--stop", run]
        stop += ["--root-certificates", str(running.credentials / "ca.crt")]
        assert running.flower.start(*stop).wait(GIVE_UP_SECONDS) == 0
        wait_until_free(run, "the run has ended")
        assert read_failure(process, "stopped").endswith("Error: The run was stopped.\n")

        run = running.run(settings(**common, task__rounds=1, name="next"))
        assert running.wait(run, 300) == "finished:completed", running.log(run)
    (line,) = history(tmp_path / "runs" / "next")
    assert not line["failures"]
    assert set(proxy.requests) == {f"CONNECT {OUTSIDE}:{direct.split(':')[1]} HTTP/1.1"}
