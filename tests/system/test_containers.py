"""A coordinator and three hospitals in containers: what they can do, and what others cannot."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml

from client_app.node.audit_log import read_entries
from client_app.node.site_policy import write_policy_text
from tests.helpers.composed import PROJECT, compose_command, composed, engine, output, wait_for

NO_ENGINE_REASON = engine()
pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(bool(NO_ENGINE_REASON), reason=NO_ENGINE_REASON),
    pytest.mark.timeout(3600),
]

SITES = ("site-0", "site-1", "site-2")
APPS = tuple(f"{site}-app" for site in SITES)
LONG_RUNNING = {"superlink", "coordinator", *SITES, *APPS}
SETTINGS = (
    'name="tiny" method="mask" compare-with="" min-sites=1 round-timeout=120.0 task.rounds=4 task.steps=2 '
    "task.batch=4 task.width=8 task.heads=2 task.blocks=1 task.pair-width=4"
)

RUNTIME_CALLS = """
import ssl, sys, urllib.error, urllib.request
trusted = ssl.create_default_context(cafile="/ca.crt")
for call in sys.argv[2:]:
    request = urllib.request.Request(f"https://{sys.argv[1]}/v1/runtime/{call}", b"")
    request.add_header("Content-Type", "application/protobuf")
    try:
        print(call, urllib.request.urlopen(request, context=trusted, timeout=30).status)
    except urllib.error.HTTPError as error:
        print(call, error.code)
"""

CONNECT = """
import socket, sys
for where in sys.argv[1:]:
    host, port = where.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5)
        print("open")
    except OSError:
        print("closed")
"""


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with composed(tmp_path_factory.mktemp("federation")) as started:
        yield started


def test_containers_have_no_more_rights_than_they_need(federation):
    containers = federation.containers()
    assert containers.keys() == LONG_RUNNING | {"folder", "prepare", "register"}
    for service, container in containers.items():
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"] and not host["Privileged"] and host["CapDrop"] == ["ALL"], service
        assert host["SecurityOpt"] == ["no-new-privileges:true"] and 0 < host["Memory"] <= 3 * 2**30, service
        assert host["PidsLimit"] == 512 and "size=" in host["Tmpfs"]["/tmp"], service
        assert not host["PortBindings"], service
        assert (host["CapAdd"] or []) == (["CHOWN"] if service == "folder" else []), service
        assert container["Config"]["User"].startswith("0:") == (service == "folder"), service
        assert (host["RestartPolicy"]["Name"] == "unless-stopped") == (service in LONG_RUNNING), service
        if service not in LONG_RUNNING:
            assert container["State"]["ExitCode"] == 0, service


def test_every_long_running_container_becomes_healthy(federation):
    def all_are_healthy() -> bool:
        states = {service: c["State"] for service, c in federation.containers().items()}
        return {states[service]["Health"]["Status"] for service in LONG_RUNNING} == {"healthy"}

    wait_for(all_are_healthy, 180, "all healthy")


def test_a_container_can_read_only_its_own_site(federation):
    containers, home = federation.containers(), federation.home
    for number, (site, app) in enumerate(zip(SITES, APPS, strict=True)):
        credentials = home / f"credentials/sites/hospital-{number}"
        audit = (str(home / f"audit/hospital-{number}"), True)
        policy = home / f"policies/hospital-{number}.toml"
        assert mounts(containers[site]) == {
            "/site": (str(credentials), False),
            "/policy.toml": (str(policy), False),
            "/audit": audit,
        }
        # The demo is generated; the policy of other data is the default one.
        assert policy.read_text().replace("count = 0\n", "count = 10\n", 1) == write_policy_text()
        mounted = mounts(containers[app])
        assert mounted.pop("/cache")[1]
        assert mounted == {
            "/audit": audit,
            "/data": (str(home / f"data/hospital-{number}"), False),
            "/credentials/ca.crt": (str(credentials / "inside/ca.crt"), False),
            "/credentials/superexec.secret": (str(credentials / "superexec.secret"), False),
        }
        manifest = json.loads(federation.execute(app, "cat", "/data/manifest.json").stdout)
        assert manifest["site"] == f"hospital-{number}"
        refused = federation.execute(app, "touch", "/data/manifest.json", "/data/new")
        assert refused.returncode == 1 and refused.stderr.count("Read-only file system") == 2
    assert not {"/credentials/ca.key", "/data"} & mounts(containers["superlink"]).keys()


def test_each_network_connects_only_services_that_need_it(federation):
    members: dict[str, set[str]] = {}
    for service, container in federation.containers().items():
        for network in container["NetworkSettings"]["Networks"]:
            members.setdefault(network.removeprefix(f"{federation.name}_"), set()).add(service)
    assert members.pop("none") == {"folder", "prepare"}
    assert members == {
        "control": {"superlink", "coordinator", "register"},
        "fleet": {"superlink", *SITES},
        **{site: {site, f"{site}-app"} for site in SITES},
    }
    for network in members:
        (network_state,) = json.loads(output("docker", "network", "inspect", f"{federation.name}_{network}"))
        assert network_state["Internal"], network


def test_a_site_can_reach_only_the_fleet_api(federation):
    superlink = federation.containers()["superlink"]["NetworkSettings"]["Networks"]
    control = superlink[f"{federation.name}_control"]["IPAddress"]
    fleet = superlink[f"{federation.name}_fleet"]["IPAddress"]
    assert listening(federation, "superlink") == {(control, 8000), ("any", 9092)}
    addresses = [f"{fleet}:9092", f"{fleet}:8000", f"{control}:8000", f"{control}:9092"]
    assert federation.execute("site-0", "python", "-c", CONNECT, *addresses).stdout.split() == [
        "open", "closed", "closed", "closed",
    ]  # fmt: skip
    for site, app in zip(SITES, APPS, strict=True):
        own = federation.containers()[site]["NetworkSettings"]["Networks"][f"{federation.name}_{site}"]
        assert listening(federation, site) == {(own["IPAddress"], 9094)}
        assert listening(federation, app) == set()
    inside = own["IPAddress"]  # of the last site
    addresses = [f"{inside}:9094", f"{fleet}:9092", "superlink:9092", "inside:9094"]
    assert federation.execute("site-0-app", "python", "-c", CONNECT, *addresses).stdout.split() == [
        "closed", "closed", "closed", "open",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("network", "address", "ca"),
    [
        ("control", "superlink:8000", "credentials/ca.crt"),
        ("site-0", "inside:9094", "credentials/sites/hospital-0/inside/ca.crt"),
    ],
)
def test_the_runtime_api_refuses_calls_without_the_secret(federation, network, address, ca):
    calls = (
        "pull-pending-tasks",
        "acquire-task",
        "claim-task",
        "pull-task-input",
        "pull-object",
        "get-nodes",
    )
    _, printed = federation.stranger(network, "python", "-c", RUNTIME_CALLS, address, *calls, ca=ca)
    assert printed.splitlines() == [f"{call} 401" for call in calls]


def test_a_stranger_on_the_network_of_the_fleet_gets_nothing(federation):
    connection = (
        'mkdir -p $FLWR_HOME; printf \'[superlink]\\ndefault = "x"\\n[superlink.x]\\naddress = "%s"\\n'
        'root-certificates = "/ca.crt"\\n\' superlink:{port} > $FLWR_HOME/config.toml; '
    )
    submit = "flwr run /opt/condi/app; echo $?; "
    register = "condi credentials /tmp/own --host x --site hospital-9 > /dev/null; flwr supernode register "
    register += "/tmp/own/sites/hospital-9/site.pub; echo $?; "
    for port in (8000, 9092):
        _, printed = federation.stranger(
            "fleet", "sh", "-c", connection.format(port=port) + submit + register
        )
        assert printed.count("Connection to the SuperLink is unavailable") == 2, printed
        assert [line for line in printed.splitlines() if line.isdecimal()] == ["1", "1"], printed

    node = "python -P -m client_app.join.supernode --audit /tmp/log --grpc-rere --superlink superlink:9092 "
    node += "--root-certificates /ca.crt "
    status, printed = federation.stranger("fleet", "sh", "-c", node)
    assert status == 1 and "SuperNode ID" not in printed, printed
    own = "condi credentials /tmp/own --host x --site hospital-9 > /dev/null; "
    node += "--auth-supernode-private-key /tmp/own/sites/hospital-9/site.key"
    status, printed = federation.stranger("fleet", "sh", "-c", own + node)
    assert status == 1 and "The SuperLink does not accept this site's key." in printed, printed
    assert federation.nodes() == ["online"] * 3


def test_a_run_continues_without_a_site_that_later_returns(federation):
    submitted = federation.submit(SETTINGS)
    run = federation.home / "runs" / "tiny"
    wait_for(lambda: len(read_rounds(run)) >= 1, 900, "the first round")
    for service in ("site-2", "site-2-app"):
        federation.execute(service, "sh", "-c", "kill -9 -1")  # all but the init process, which then ends
    printed, _ = submitted.communicate(timeout=1800)
    assert submitted.returncode == 0 and "Artefacts: /coordinator/runs/tiny" in printed, printed

    history = read_rounds(run)
    assert [line["round"] for line in history] == [1, 2, 3, 4]
    assert "hospital-2" in history[1]["failures"] and history[1]["site-seconds"]
    assert any("hospital-2" in line["site-seconds"] for line in history[2:])
    assert json.loads((run / "result.json").read_text())["task"]["mask"].keys() >= {"auroc", "accuracy"}
    log = federation.home / "audit/hospital-0/log.jsonl"
    assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [e["message"] for e in read_entries(log) if e["kind"] == "reply"].count("train.task") == 4
    containers = federation.containers()
    assert containers["site-2"]["RestartCount"] >= 1 and containers["site-2-app"]["RestartCount"] == 1
    wait_for(lambda: federation.nodes() == ["online"] * 3, 180, "the site online again")


def test_keys_and_secrets_are_only_where_they_belong(federation, tmp_path):
    keys = [*federation.home.glob("credentials/**/*.key"), *federation.home.glob("credentials/**/*.secret")]
    # Keys of the coordinator, of the sites, and of the SuperNodes of the sites.
    assert len(keys) == 3 + 3 * 2 + 3 * 3
    lines = {line for key in keys for line in key.read_text().splitlines() if "PRIVATE KEY" not in line}
    secrets = tmp_path / "secrets"
    secrets.write_text("\n".join(sorted(line for line in lines if len(line) > 30)))
    assert all((key.stat().st_mode & 0o777) == 0o600 for key in keys)

    ids = [container["Id"] for container in federation.containers().values()]
    printed = output("docker", "inspect", "condi", *ids) + output("docker", "history", "--no-trunc", "condi")
    printed += federation.compose("logs", "--no-color")
    assert "SuperNode ID" in printed and [s for s in secrets.read_text().split() if s in printed] == []

    search = (
        "import pathlib, sys; content = b''.join(p.read_bytes() for p in pathlib.Path('/state').iterdir()); "
    )
    search += "print(b'server_app' in content, any(s.encode() in content for s in sys.stdin.read().split()))"
    state = federation.execute("superlink", "python", "-c", search, stdin=secrets.read_text())
    # The state has runs with the bundles of their apps, and no secret.
    assert state.stdout.split() == ["True", "False"]

    with subprocess.Popen(["docker", "save", "condi"], stdout=subprocess.PIPE) as image:
        command = ["grep", "--text", "--count", "--fixed-strings", f"--file={secrets}"]
        matches = subprocess.run(command, stdin=image.stdout, capture_output=True, text=True)
    assert image.returncode == 0 and matches.stdout.strip() == "0"


def test_the_gpu_profile_gives_each_site_one_gpu(federation):
    config = subprocess.run(
        [*compose_command(), "--profile", "gpu", "config"],
        **{"cwd": PROJECT, "env": federation.env, "capture_output": True, "text": True, "check": True},
    )
    services = yaml.safe_load(config.stdout)["services"]
    for number, site in enumerate(SITES):
        (device,) = services[f"{site}-gpu"]["deploy"]["resources"]["reservations"]["devices"]
        assert device["device_ids"] == [str(number)] and device["capabilities"] == ["gpu"]
        assert services[f"{site}-gpu"]["networks"].keys() == {site}


def mounts(container: dict) -> dict[str, tuple[str, bool]]:
    """Return the source of each mount, and whether it can be written, by its path in the container."""
    return {m["Destination"]: (m["Source"], m["RW"]) for m in container["Mounts"]}


def listening(federation, service: str) -> set[tuple[str, int]]:
    """Return the addresses and ports at which a container listens, without loopback and Docker's DNS."""
    script = "import pathlib; print(*(pathlib.Path('/proc/net', p).read_text() for p in ('tcp', 'tcp6')))"
    addresses = set()
    for line in federation.execute(service, "python", "-c", script).stdout.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3] == "0A":  # LISTEN
            address, port = fields[1].split(":")
            quad = ".".join(str(byte) for byte in bytes.fromhex(address[-8:])[::-1])
            if not quad.startswith("127."):
                addresses.add(("any" if quad == "0.0.0.0" else quad, int(port, 16)))
    return addresses


def read_rounds(run) -> list[dict]:
    history = run / "history.jsonl"
    return [json.loads(line) for line in history.read_text().splitlines()] if history.exists() else []
