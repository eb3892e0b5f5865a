"""The controller's side of the management network: is it free, is it set up, does every node answer."""

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from vpnmesh.errors import InputError
from vpnmesh.lab.errors import LabError
from vpnmesh.lab.topology import UPLINK, Topology
from vpnmesh.lab.waiting import wait_until

SSH_PORT = 22
_PAUSE_S = 0.01
_GREETS_WITHIN_S = 15.0
_WAY_OUT = "take it away, or give the lab's nodes other management addresses"


def check_free(topology: Topology) -> None:
    """InputError if the lab's link, addresses or prefix are already used here."""
    for link in _ip("addr"):
        if link["ifname"] == UPLINK:
            raise InputError(
                "controller", f"interface {UPLINK} is in use", "perhaps by a lab in another directory"
            )
        for entry in link.get("addr_info", ()):
            if entry["family"] == "inet" and IPv4Address(entry["local"]) in topology.management:
                place = f"{entry['local']} on {link['ifname']}"
                raise InputError("controller", f"{topology.management} is in use: {place}", _WAY_OUT)
    for route in _ip("-4", "route"):
        if route["dst"] != "default" and IPv4Network(route["dst"]).subnet_of(topology.management):
            place = f"route to {route['dst']} by {route.get('dev', 'several')}"
            raise InputError("controller", f"{topology.management} is in use: {place}", _WAY_OUT)


def used_networks() -> tuple[IPv4Network, ...]:
    """The networks that this machine has addresses in or routes to; a lab's own link does not count."""
    own = (
        IPv4Interface(f"{entry['local']}/{entry['prefixlen']}").network
        for link in _ip("addr")
        for entry in link.get("addr_info", ())
        if entry["family"] == "inet" and link["ifname"] != UPLINK
    )
    routed = (
        IPv4Network(route["dst"])
        for route in _ip("-4", "route")
        if route["dst"] != "default" and route.get("dev") != UPLINK
    )
    return tuple(dict.fromkeys((*own, *routed)))


def _ip(*words: str) -> list[dict[str, Any]]:
    argv = ("ip", "-json", *words)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode != 0:
        raise LabError("checks", f"{' '.join(argv)}: {done.stderr.strip()}")
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found


def link_exists(name: str) -> bool:
    """Whether the controller's namespace has such an interface."""
    return any(known == name for _, known in socket.if_nameindex())


def settle_uplink() -> None:
    """On the controller's end too: no IPv6, and nothing that a node sends is forwarded, whatever the machine does."""
    settings = (
        ("ipv6/conf/{}/disable_ipv6", "1"),
        ("ipv4/conf/{}/forwarding", "0"),
        # the bridge may open its port a moment late; the next try shall not be a whole second later
        ("ipv4/neigh/{}/retrans_time_ms", "50"),
    )
    for name, value in settings:
        with contextlib.suppress(FileNotFoundError):
            Path("/proc/sys/net", name.format(UPLINK)).write_text(value)


def await_ssh(addresses: Iterable[str], timeout_s: float) -> None:
    """Return when every node's sshd has greeted; LabError names the one that did not in time."""
    silent = list(addresses)

    def all_greeted() -> bool:
        while silent and _greets(silent[0]):
            silent.pop(0)
        return not silent

    if not wait_until(all_greeted, timeout_s, _PAUSE_S):
        raise LabError("ssh", f"{silent[0]} does not answer on port {SSH_PORT} in {timeout_s:g} s")


def _greets(address: str) -> bool:
    try:
        with socket.create_connection((address, SSH_PORT), timeout=_GREETS_WITHIN_S) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
