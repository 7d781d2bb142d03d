"""`condi site`: checks everything that a site needs, then becomes Flower's SuperNode."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from client_app.join.address import Address
from condi_core.flower_environment import make_flower_environment


def _parse_address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _write_policy(path: Path | None) -> None:
    if path is None:
        return
    from client_app.node.site_policy import write_policy_text
    from data_partitions.console import one_sentence_errors
    from data_partitions.storage import atomic_write, require_absent

    with one_sentence_errors():
        require_absent(path)
        with atomic_write(path, mode=0o644) as file:
            file.write(write_policy_text().encode())
    typer.echo(f"Written: {path}. Edit it, and give it to condi site by --policy.")
    raise typer.Exit


def site(
    data: Annotated[Path, typer.Option(help="Partition of this site, made by `condi prepare`.")],
    superlink: Annotated[
        Address,
        typer.Option(
            parser=_parse_address,
            metavar="HOST:PORT",
            help="Address of the SuperLink's Fleet API (gRPC over TLS).",
        ),
    ],
    root_certificates: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="ca.crt: certificates of the authorities that sign the SuperLink's."
        ),
    ],
    key: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="site.key: private key of this site. Only its owner may be able to read it."
        ),
    ],
    device: Annotated[
        str, typer.Option(help="Device to compute on: auto, cpu, cuda or cuda:NUMBER.")
    ] = "auto",
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder for completed windows. Default: in the user's cache folder."),
    ] = None,
    superexec_secret: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="superexec.secret: apps run in a `condi superexec` that is started separately with the "
            "same secret. Without this option the node starts one itself, and any user of this machine can "
            "request apps.",
        ),
    ] = None,
    trusted_entities: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Run only apps signed by one of the keys in this YAML file."),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Policy of this site: what it lets runs do with its data. Default: the policy that "
            "--write-policy writes.",
        ),
    ] = None,
    write_policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            is_eager=True,
            callback=_write_policy,
            help="Write the default policy with the meaning of each key, and exit.",
        ),
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Audit log of this site, which `condi audit` shows. Default: named after --data, in the "
            "user's folder of state.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Host at which this node's Runtime API listens; 0.0.0.0 in a container.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=1,
            max=65535,
            help="Port of this node's Runtime API. Nodes on one machine need different ports.",
        ),
    ] = 9094,
    metrics_port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            help="Port at which metrics for Prometheus are served on --host, without a login; 0 for none.",
        ),
    ] = 0,
    check: Annotated[
        bool, typer.Option("--check", help="Only run the checks; exit with 0 when the site can join.")
    ] = False,
) -> None:
    """Join a federation with the data of this site, after checking everything that it needs.

    This process then becomes Flower's SuperNode and works for the coordinator until it receives SIGTERM.
    """
    from client_app.join.checklist import run_checks
    from client_app.node.completion_cache import default_cache

    _require_home()
    data, key, root_certificates = map(_absolute, (data, key, root_certificates))
    cache = _absolute(cache or default_cache())
    superexec_secret = superexec_secret and _absolute(superexec_secret)
    trusted_entities = trusted_entities and _absolute(trusted_entities)
    policy = policy and _absolute(policy)
    audit = _absolute(audit or default_audit_folder() / f"{data.name}.jsonl")
    node_config = {"data": data, "device": device, "cache": cache}
    for name, value in node_config.items():
        if set('"\\\n') & set(str(value)):
            raise typer.BadParameter(f"--{name} must not contain quotes, backslashes or new lines: {value}")

    passed = run_checks(
        data=data,
        cache=cache,
        superlink=superlink,
        root_certificates=root_certificates,
        key=key,
        superexec_secret=superexec_secret,
        trusted_entities=trusted_entities,
        policy=policy,
        audit=audit,
        device=device,
        host=host,
        port=port,
    )
    if not passed:
        raise typer.Exit(1)
    if check:
        return

    command = [
        *(sys.executable, "-P", "-m", "client_app.join.supernode", "--grpc-rere"),
        *("--superlink", str(superlink)),
        *("--root-certificates", str(root_certificates), "--auth-supernode-private-key", str(key)),
        *("--host", host, "--port", str(port), "--metrics-port", str(metrics_port)),
        *("--audit", str(audit), *(("--policy", str(policy)) if policy else ())),
        *("--node-config", " ".join(f'{name}="{value}"' for name, value in node_config.items())),
    ]
    if superexec_secret:
        command += ["--isolation", "process", "--superexec-auth-secret-file", str(superexec_secret)]
    if trusted_entities:
        command += ["--trusted-entities", str(trusted_entities)]
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    sys.stdout.flush()
    os.execve(sys.executable, command, make_flower_environment(host) | {"PATH": path})


def default_audit_folder() -> Path:
    """Return the folder of audit logs in the user's folder of state."""
    return platformdirs.user_state_path("condi") / "audit"


def _require_home() -> None:
    try:
        Path.home()
    except RuntimeError:
        raise typer.BadParameter(
            f"the user with number {os.getuid()} has no home directory on this machine, where Flower unpacks "
            "apps: set the variable HOME to a folder that only this user can write to"
        ) from None


def _absolute(path: Path) -> Path:
    return Path(os.path.expanduser(path)).absolute()
