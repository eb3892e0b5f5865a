"""What all solutions share: a tunnel's interface as `ip` shows it, and endpoints as VPNs write them."""

import json
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tests.golden.goldens import answered
from vpnmesh.errors import ToolError
from vpnmesh.host.links import WIREGUARD, endpoint_address, interface_fact
from vpnmesh.host.pods import CALICO_INTERFACES
from vpnmesh.model import DataPlane, Testbed
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.scenarios import scenario_named

LINK = {"ifname": "wt0", "mtu": 1280, "addr_info": [{"family": "inet", "local": "10.213.0.2"}]}


def test_an_interface_is_read() -> None:
    """Data plane, address and MTU; kernel WireGuard says so itself."""
    kernel = {**LINK, "linkinfo": {"info_kind": "wireguard"}}
    wanted = IPv4Address("10.213.0.2"), 1280
    fact = interface_fact("wt0", (WIREGUARD,))
    assert (DataPlane.USERSPACE, *wanted) == answered(fact, 0, json.dumps([LINK]))
    assert (DataPlane.KERNEL, *wanted) == answered(fact, 0, json.dumps([{}, kernel]))


@pytest.mark.parametrize(
    ("exit_code", "text"), [(1, ""), (127, "ip: not found"), (0, ""), (0, "[]"), (0, "[{}]")]
)
def test_an_interface_that_is_not_there(exit_code: int, text: str) -> None:
    """No such device, no `ip`, an empty list: none, without an error."""
    assert answered(interface_fact("wt0"), exit_code, text) == (DataPlane.NONE, None, None)


@pytest.mark.parametrize(
    "text",
    ["wt0: <UP> mtu 1280", '[{"ifname": "wt0"', '["wt0"]', "3", '[{"ifname": "wt0"}]'],
)
def test_an_interface_that_cannot_be_read_is_said(text: str) -> None:
    """Exit code 0 and other words than asked for: ToolError with the words, neither a crash nor "not there"."""
    with pytest.raises(ToolError, match=r"ip: wt0: .* is no interface"):
        answered(interface_fact("wt0"), 0, text)


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("192.88.99.2:4242", "192.88.99.2"),
        ("192.88.99.2", "192.88.99.2"),
        ("192.88.99.2:7777:vni:1", "192.88.99.2"),
        ("::ffff:192.88.99.2", "192.88.99.2"),
        ("[::ffff:192.88.99.2]:51820", "192.88.99.2"),
        *(
            (text, None)
            for text in ("", "[fe80::1]:51820", "fe80::1", "2001:db8::7", "worker2:9", "1.2.3:4", "None")
        ),
    ],
)
def test_endpoints(endpoint: str, address: str | None) -> None:
    """IPv4 with or without port or mapping; IPv6, names and half addresses are not known."""
    assert endpoint_address(endpoint) == (IPv4Address(address) if address else None)


@pytest.mark.parametrize(
    ("management", "underlay", "listed"),
    [
        ("mgmt0", "eth0", True),
        ("eno1", "eno1", False),
        ("eno1", "eno1.20", False),
        ("eno1.20", "eno1", True),
        ("", "eth0", False),
    ],
)
def test_management_is_blacklisted_unless_that_hits_the_underlay(
    bed: Testbed,
    management: str,
    underlay: str,
    listed: bool,  # noqa: FBT001
) -> None:
    """Solutions take the list for prefixes: `eno1` would forbid `eno1.20`, and no peer could be reached at all."""
    leg = replace(bed.client.leg, interface=underlay)
    node = replace(bed.client, management_interface=management, legs=(leg,))
    found = Mesh(bed, scenario_named("nebula-direct")).blacklisted(node)
    assert found == (*CALICO_INTERFACES, *([management] if listed else []))
