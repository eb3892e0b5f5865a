"""Network interfaces of a node as `ip` shows them: kinds of links, a tunnel's address and MTU, endpoints of peers.

The kernel's own names of link kinds (`ip -details link`, ip-link(8)) are written here and nowhere else.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Address, ip_address
from typing import Any

from vpnmesh.errors import NO_JSON, ToolError
from vpnmesh.host.dual_stack import Address
from vpnmesh.model import DataPlane
from vpnmesh.plan import Command, Completed, Fact

WIREGUARD = "wireguard"
"""The kernel's own WireGuard (Linux 5.6 and newer); a userspace one is of the kind `tun`."""
VXLAN, TUN = "vxlan", "tun"
OVERLAY_KINDS = frozenset(
    {VXLAN, "geneve", WIREGUARD, TUN, "gre", "gretap", "ipip", "sit", "vti", "xfrm", "ip6tnl"}
)
"""Kinds of links that lead into some overlay."""

LARGEST_MTU = 2**31 - 1
"""The kernel keeps a link's MTU as an unsigned number and takes none above this one (`dev_set_mtu`)."""
Tunnel = tuple[DataPlane, IPv4Address | None, int | None]
"""Data plane, address and MTU (bytes) of a tunnel's interface; NONE and twice None where there is no interface."""


def interface_fact(name: str, kernel_links: Collection[str] = ()) -> Fact[Tunnel]:
    """Data plane, address and MTU of a tunnel interface, read from the kernel (`ip -j -d address`).

    `kernel_links` are the kinds of links by which the kernel itself carries the data; any other kind leads to a
    process. ToolError where `ip` prints something else than interfaces.
    """

    def parse(completed: Sequence[Completed]) -> Tunnel:
        text = completed[0].stdout
        if completed[0].exit_code or not text.strip():
            return DataPlane.NONE, None, None
        try:
            links = [link for link in json.loads(text) if link]
            return _tunnel(links[0], kernel_links) if links else (DataPlane.NONE, None, None)
        except (*NO_JSON, KeyError, TypeError, AttributeError) as error:
            # an interface that cannot be read is not one that is missing
            raise ToolError("ip", f"{name}: {text.strip()[:80]!r} is no interface: {error}") from error

    return Fact((Command(("ip", "-j", "-d", "address", "show", "dev", name), ok=(0, 1)),), parse)


def _tunnel(link: Mapping[str, Any], kernel_links: Collection[str]) -> Tunnel:
    kind = link.get("linkinfo", {}).get("info_kind")
    addresses = [one["local"] for one in link.get("addr_info", []) if one.get("family") == "inet"]
    plane = DataPlane.KERNEL if kind in kernel_links else DataPlane.USERSPACE
    return plane, IPv4Address(addresses[0]) if addresses else None, mtu_of(link)


def mtu_of(link: Mapping[str, Any]) -> int:
    """The MTU of a link as `ip -j` tells it, in bytes; KeyError and ValueError where it tells none."""
    mtu = link["mtu"]
    if isinstance(mtu, bool) or not isinstance(mtu, int) or not 0 <= mtu <= LARGEST_MTU:
        raise ValueError(f"{str(mtu)[:20]} is no MTU")
    return mtu


def endpoint_address(endpoint: str) -> IPv4Address | None:
    """The IPv4 address of `address:port` or `address`, mapped into IPv6 or not; None for IPv6 and other text."""
    found = any_endpoint_address(endpoint)
    return found if isinstance(found, IPv4Address) else None


def any_endpoint_address(endpoint: str) -> Address | None:
    """The address of `address:port`, `[address]:port` or `address`: IPv4 where it is mapped; None for other text."""
    host = endpoint.removeprefix("[").partition("]")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return _ipv4(host.partition(":")[0])
    return address if isinstance(address, IPv4Address) else address.ipv4_mapped or address


def _ipv4(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None
