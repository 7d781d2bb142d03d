"""The environment variables of Flower's processes: nothing is reported, and this machine needs no proxy."""

from __future__ import annotations

import os

OFFLINE_ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
ALL_ADDRESSES = ("", "0.0.0.0", "::")  # at which a server listens; no client asks for them


def make_flower_environment(*hosts: str) -> dict[str, str]:
    """Return the variables of this process, changed for Flower.

    Flower's HTTP clients would ask a proxy for this machine itself, and end at one that speaks SOCKS.

    Parameters
    ----------
    *hosts : str
        Names or addresses of this federation's machines that are reached without a proxy, beside this one.

    Returns
    -------
    dict of str to str
        gRPC reads the names of proxies in lower case alone, so these have the values of both.
    """
    environment = os.environ | OFFLINE_ENVIRONMENT
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        if value := environment.get(name) or environment.get(name.upper()):
            environment[name] = value
    for name in [name for name in environment if name.lower().endswith("_proxy")]:
        if environment[name].lower().startswith("socks"):
            del environment[name]
    exempt = [name.strip() for name in environment.get("no_proxy", "").split(",") if name.strip()]
    exempt += [host for host in (*THIS_MACHINE, *hosts) if host not in (*exempt, *ALL_ADDRESSES)]
    return environment | {"no_proxy": ",".join(exempt), "NO_PROXY": ",".join(exempt)}
