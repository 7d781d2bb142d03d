"""Flower's processes of a run serve the user who started it, and nobody else on the machine."""

import importlib
import ssl
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

from server_app.operations.flower_processes import FlowerError, FlowerProcesses
from server_app.operations.guarded_flower import hand_tokens_over_in, require_token, write_operator_token
from server_app.operations.simulate import require_ray_token
from tests.helpers.run_settings import PROJECT

START_RAY = """
import ray, sys
context = ray.init(include_dashboard=False, num_cpus=1, log_to_driver=False)
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""
USE_RAY = """
import ray, sys
ray.init(address=sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=0)
def run():
    return "carried out"
print(ray.get(run.remote(), timeout=60), flush=True)
"""
RUNTIME_CALLS = ("pull-pending-tasks", "acquire-task", "claim-task", "pull-task-input", "create-task")


def test_only_the_token_is_accepted(monkeypatch):
    module = importlib.import_module("flwr.superlink.cli.flower_superlink")
    monkeypatch.setattr(module, "load_control_authn_plugin", module.load_control_authn_plugin)
    require_token("secret")
    plugin = module.load_control_authn_plugin()
    for token in (None, "", "other", "secre", "secret2", "sécret"):
        metadata = [] if token is None else [("flwr-access-token", token)]
        assert plugin.validate_tokens_in_metadata(metadata) == (False, None)
        assert plugin.refresh_tokens([("flwr-refresh-token", "secret")]) == (None, None)
    accepted, account = plugin.validate_tokens_in_metadata([(access_token_key(), "secret")])
    assert accepted and account


def access_token_key() -> str:
    from flwr.common.constant import ACCESS_TOKEN_KEY

    return ACCESS_TOKEN_KEY


def test_tokens_of_tasks_are_in_files_that_others_cannot_read(tmp_path, monkeypatch):
    module = importlib.import_module("flwr.supercore.superexec.executor.subprocess_executor")
    monkeypatch.setattr(module, "subprocess", module.subprocess)
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda arguments, **_: started.append(arguments))
    hand_tokens_over_in(tmp_path)
    module.subprocess.Popen(["flwr-simulation", "--token", "0123", "--parent-pid", "1"])
    (file,) = tmp_path.iterdir()
    assert started == [["flwr-simulation", "--token-file", str(file), "--parent-pid", "1"]]
    assert file.read_text() == "0123" and stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_flower_without_the_guarded_function_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace())
    with pytest.raises(AttributeError):
        require_token("secret")
    with pytest.raises(AttributeError):
        hand_tokens_over_in(tmp_path)


@pytest.mark.deployment
def test_another_user_of_the_machine_can_neither_start_runs_nor_take_tasks():
    with FlowerProcesses() as own, FlowerProcesses() as stranger:
        own.start_superlink("--simulation")
        assert own.flwr("ls", "condi")["runs"] == []
        assert not own.folder.stat().st_mode & 0o077
        address = own.address
        # The certificate is no secret, and strangers may have tokens of their own.
        stranger.connect(address, own.folder / "keys" / "ca.crt")
        for token in ("", "0" * 64):
            if token:
                write_operator_token(token, address, stranger.folder / "flwr")
            for command in (("ls", "condi"), ("run", str(PROJECT), "condi")):
                with pytest.raises(FlowerError, match="Authentication failed"):
                    stranger.flwr(*command)
        trust = ssl.create_default_context(cafile=own.folder / "keys" / "ca.crt")
        for call in RUNTIME_CALLS:
            request = urllib.request.Request(f"https://{address}/v1/runtime/{call}", b"")
            request.add_header("Content-Type", "application/protobuf")
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, context=trust, timeout=30)
            assert refused.value.code == 401, call
        assert own.flwr("ls", "condi")["runs"] == []


@pytest.mark.deployment
def test_the_program_of_another_user_at_the_port_is_noticed(monkeypatch):
    from server_app.operations import flower_processes

    with FlowerProcesses() as stranger, FlowerProcesses() as own:
        stranger.start_superlink("--simulation")
        port = int(stranger.address.rpartition(":")[2])
        monkeypatch.setattr(flower_processes, "free_port", lambda: port)
        with pytest.raises(FlowerError, match="SuperLink did not start: .*address already in use"):
            own.start_superlink("--simulation")


@pytest.mark.engine
def test_ray_carries_out_only_what_comes_with_the_token():
    with FlowerProcesses() as own, FlowerProcesses() as stranger:
        require_ray_token(own)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        address = own.start(sys.executable, "-c", START_RAY, **pipes).stdout.readline().strip()
        use = [sys.executable, "-c", USE_RAY, address]
        options = {"cwd": own.empty, "capture_output": True, "text": True}
        answer = subprocess.run(use, **options, env=own.env, timeout=120)
        assert "carried out" in answer.stdout, answer.stderr
        for changes in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
            used = stranger.start(*use, env=stranger.env | changes, **pipes, stderr=subprocess.STDOUT)
            try:
                printed = used.communicate(timeout=20)[0]
            except subprocess.TimeoutExpired:  # Ray tries again for a minute
                used.kill()
                printed = used.communicate()[0]
            assert "InvalidAuthToken" in printed and "carried out" not in printed
