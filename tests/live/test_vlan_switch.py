"""Workers at access ports of a bridge that filters VLANs, the firewall's legs as 802.1q sub-interfaces on its trunk.

The switch task, the netem engine and the nftables driver on what a stock kernel has and a lab does not need.
"""

from collections.abc import Iterator
from functools import partial

import pytest
from nornir.core.task import Result

from tests.live.bridges import BridgeShell, switch
from tests.live.routed import PAIR, Routed, outside, routed, small_testbed, wire_by_switch
from tests.needs import missing
from vpnmesh.errors import CommandError
from vpnmesh.firewall import nftables
from vpnmesh.firewall.policy import policy_named, resolve
from vpnmesh.impairment.engine import check_held, impairment_for
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.model import Condition, Place, Placement
from vpnmesh.plan import Completed
from vpnmesh.switch.access import AccessPort, wanted_ports
from vpnmesh.tools import ping

pytestmark = pytest.mark.live

NEW = (AccessPort("p20", 1), AccessPort("p30", 1))
"""How a bridge has its new ports: in its default VLAN, untagged."""


@pytest.fixture(scope="module")
def net(root: None) -> Iterator[Routed]:
    """The namespaces, if this kernel has VLAN filtering and 802.1q."""
    try:
        with routed(small_testbed(leg="trunk.{}"), wire_by_switch) as namespaces:
            yield namespaces
    except CommandError as error:
        missing(
            "bridge-vlan-filtering",
            f"no bridge that filters VLANs with 802.1q on its trunk: {error.stderr.strip()}",
        )


@pytest.fixture
def ports(net: Routed, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[AccessPort, ...]]:
    """Both workers in their own VLAN; their ports are as new ones after."""
    shell = BridgeShell(partial(on_bridge, net))
    monkeypatch.setattr("tasks.switch.shell", lambda _task: shell)
    wanted = wanted_ports(net.testbed, {"worker1": "p20", "worker2": "p30"})
    assert switched(*wanted).result == NEW
    yield wanted
    switched(*NEW)


def on_bridge(net: Routed, *argv: str) -> Completed:
    """One command in the namespace of the bridge."""
    return Completed(argv, 0, net.check("firewall", *argv), "")


def switched(*ports: AccessPort) -> Result:
    """The task, which must succeed."""
    done = switch(*ports)
    assert done.exception is None, done.exception
    return done


def trip_ms(net: Routed, address: object, count: int = 10) -> float | None:
    """The least round trip from worker1, None where nothing answers."""
    done = net.run("worker1", *ping.argv(str(address), count, interval_s=0.05, wait_s=2))
    summary = ping.parse(done.stdout)
    return summary.rtt.min_ms if summary.rtt else None


def test_packets_pass_only_between_ports_in_their_vlans(net: Routed, ports: tuple[AccessPort, ...]) -> None:
    """By way of the firewall's two 802.1q legs; not with new ports, nor with the server's port in the client's VLAN."""
    server = net.address("worker2")
    assert trip_ms(net, server) is not None
    moved = switched(ports[0], AccessPort("p30", ports[0].vid))
    assert moved.result == ports
    assert trip_ms(net, server, 3) is None
    assert switched(*moved.result).changed
    assert trip_ms(net, server) is not None
    switched(*NEW)
    assert trip_ms(net, net.testbed.vlan(ports[0].vid or 0).gateway, 3) is None
    assert switched(*ports).changed


def test_netem_between_two_vlans_of_one_trunk(net: Routed, ports: tuple[AccessPort, ...]) -> None:
    """250 ms on the sub-interface towards the server's VLAN, for the client's packets alone; nothing of it stays."""
    engine, asked = NetemEngine(), impairment_for(Condition(delay_ms=250), Placement(Place.VLAN_PAIR), seed=1)
    (target,) = engine.targets(net.testbed, PAIR, Placement(Place.VLAN_PAIR))
    assert target.device == "trunk.30"
    clean, server = trip_ms(net, net.address("worker2")), net.address("worker2")
    net.apply(target.node, engine.set(target, asked, net.gather(target.node, engine.observe(target))))
    check_held(net.gather(target.node, engine.observe(target)), asked)
    seen, beside = trip_ms(net, server), trip_ms(net, outside(1))
    net.apply(target.node, engine.clear(target, net.gather(target.node, engine.observe(target))))
    after = trip_ms(net, server)
    assert clean is not None
    assert seen is not None
    assert beside is not None
    assert after is not None
    assert seen >= 250 > max(clean, beside, after)
    assert "netem" not in net.check("firewall", "tc", "qdisc", "show", "dev", "trunk.30")


def test_a_policy_by_names_of_sub_interfaces(net: Routed, ports: tuple[AccessPort, ...]) -> None:
    """block-udp on legs that are called trunk.20 and trunk.30: UDP stops, also of a tracked flow; TCP and ping pass."""
    server = str(net.address("worker2"))
    assert reaches(net, server) == ["udp", "tcp"]
    rules = nftables.render(resolve(policy_named("block-udp"), net.testbed), net.testbed)
    net.check("firewall", "nft", "-f", "-", stdin=rules)
    assert reaches(net, server) == ["tcp"]
    assert trip_ms(net, server) is not None
    net.check("firewall", "nft", "delete", "table", "inet", "vpnmesh")
    assert reaches(net, server) == ["udp", "tcp"]


# a port where nobody listens refuses: by ICMP what came by UDP, by a reset what came by TCP; silence means blocked
_REACHES = """
import socket, sys
for name, kind in (("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)):
    one = socket.socket(socket.AF_INET, kind)
    one.settimeout(3)
    try:
        one.connect((sys.argv[1], 33999))
        one.send(b"x")
        one.recv(1)
    except ConnectionRefusedError:
        print(name)
    except OSError:
        pass
"""


def reaches(net: Routed, address: str) -> list[str]:
    """By which protocols worker1 reaches the address."""
    return net.check("worker1", "python3", "-c", _REACHES, address).split()
