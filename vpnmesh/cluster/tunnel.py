"""From where people sit to the API server: a tunnel by SSH, and a kubeconfig that leads through it."""

from ipaddress import IPv4Address

import yaml

from vpnmesh.cluster.protocol import API_PORT
from vpnmesh.errors import CheckError
from vpnmesh.plan import Secret, Text, reveal

TUNNEL_PORT = 16443
"""Where a tunnel from the controller to the API server begins, on 127.0.0.1: 6443 may be somebody's own cluster."""


def through_tunnel(text: Text, address: IPv4Address, port: int = TUNNEL_PORT) -> Secret:
    """The same kubeconfig, with the API server behind 127.0.0.1; its certificate must still be that of `address`."""
    try:
        found = yaml.safe_load(reveal(text))
        clusters = [one["cluster"] for one in found["clusters"]]
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise CheckError(
            "cluster", f"the master's kubeconfig cannot be read: {type(error).__name__}"
        ) from error
    for one in clusters:
        one |= {"server": f"https://127.0.0.1:{port}", "tls-server-name": str(address)}
    return Secret(yaml.safe_dump(found, sort_keys=False))


def tunnel(login: tuple[str, ...], address: IPv4Address, port: int = TUNNEL_PORT) -> tuple[str, ...]:
    """The command that makes the tunnel and holds it, by the words that log in on the master (`ssh` first)."""
    program, *options = login
    return (program, "-N", "-L", f"127.0.0.1:{port}:{address}:{API_PORT}", *options)
