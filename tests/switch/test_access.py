"""Access ports as values: what each system's text means, and what is written to change it."""

import pytest

from inventory.load import load
from vpnmesh.errors import CheckError, InputError, UnknownNameError
from vpnmesh.switch.access import SYSTEMS, AccessPort, plan, system_named, wanted_ports

ACCESS = (
    "interface Gi1/0/1\n description uplink vlan 7\n switchport access vlan 20\n switchport mode access\n!"
)
TRUNK = "interface Gi1/0/1\n switchport mode trunk\n switchport trunk allowed vlan 10,20\n!"
JUNOS = "set interfaces ge-0/0/1 unit 0 family ethernet-switching {}\n"
BRIDGE = '[{{"ifname":"port1","vlans":[{}]}}]'
PVID = '{"vlan":20,"flags":["PVID","Egress Untagged"]}'


@pytest.mark.parametrize("name", ["cisco_iosxe", "arista_eos", "cisco_nxos"])
@pytest.mark.parametrize(
    ("text", "port"),
    [
        (ACCESS, AccessPort("p", 20)),
        (TRUNK, AccessPort("p", None, access=False, trunk=True)),
        ("interface p\n switchport mode dot1q-tunnel", AccessPort("p", None, access=False, trunk=True)),
        ("interface p\n switchport mode dynamic desirable", AccessPort("p", None, access=False, trunk=True)),
    ],
)
def test_industry_lines(name: str, text: str, port: AccessPort) -> None:
    """IOS-XE, EOS and NX-OS: VLAN and mode by their lines, not by a description that looks like one."""
    assert SYSTEMS[name].read("p", text) == port


def test_what_a_port_without_a_mode_is() -> None:
    """EOS and NX-OS leave their default mode, access, out of the configuration; IOS-XE's default is no access mode."""
    text = "interface p\n switchport access vlan 20\n!"
    assert (
        SYSTEMS["arista_eos"].read("p", text) == SYSTEMS["cisco_nxos"].read("p", text) == AccessPort("p", 20)
    )
    assert SYSTEMS["cisco_iosxe"].read("p", text) == AccessPort("p", 20, access=False)


@pytest.mark.parametrize("name", ["cisco_iosxe", "arista_eos", "cisco_nxos"])
def test_a_routed_port_is_not_touched(name: str) -> None:
    """`no switchport`: its address would be lost."""
    assert SYSTEMS[name].read("p", "interface p\n no switchport\n ip address 192.0.2.1/24").trunk


def test_junos_lines() -> None:
    """Junos in set form; a VLAN by name cannot be compared and is said."""
    access = JUNOS.format("interface-mode access") + JUNOS.format("vlan members 20")
    assert SYSTEMS["juniper_junos"].read("ge-0/0/1", access) == AccessPort("ge-0/0/1", 20)
    trunk = JUNOS.format("interface-mode trunk")
    assert SYSTEMS["juniper_junos"].read("ge-0/0/1", trunk).trunk
    with pytest.raises(CheckError, match="in a VLAN by name"):
        SYSTEMS["juniper_junos"].read("ge-0/0/1", JUNOS.format("vlan members storage"))


def test_bridge_json() -> None:
    """One VLAN that is PVID and leaves untagged is an access port's, none is none; any other is a trunk."""
    read = SYSTEMS["linux_bridge"].read
    assert read("port1", BRIDGE.format(PVID)) == AccessPort("port1", 20)
    assert read("port1", BRIDGE.format(PVID + ',{"vlan":30}')).trunk
    assert read("port1", "[]") == AccessPort("port1", None)
    for other in (
        '{"vlan":30}',
        '{"vlan":30,"flags":["PVID"]}',
        '{"vlan":30,"flags":["Egress Untagged"]}',
        '{"vlan":30,"vlanEnd":31,"flags":["PVID","Egress Untagged"]}',
    ):
        port = read("port1", BRIDGE.format(other))
        assert port.trunk, other
        with pytest.raises(CheckError, match="port1 is a trunk, tagged"):
            plan(SYSTEMS["linux_bridge"], [port], [AccessPort("port1", 20)])


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("cisco_iosxe", ("interface p", "switchport mode access", "switchport access vlan 20")),
        ("arista_eos", ("interface p", "switchport mode access", "switchport access vlan 20", "commit")),
        ("cisco_nxos", ("interface p", "switchport mode access", "switchport access vlan 20")),
        (
            "juniper_junos",
            (
                "delete interfaces p unit 0 family ethernet-switching vlan members",
                "set interfaces p unit 0 family ethernet-switching interface-mode access",
                "set interfaces p unit 0 family ethernet-switching vlan members 20",
                "commit",
            ),
        ),
        (
            "linux_bridge",
            ("bridge vlan del dev p vid 1-4094", "bridge vlan add dev p vid 20 pvid untagged"),
        ),
    ],
)
def test_lines_that_set_a_vlan(name: str, lines: tuple[str, ...]) -> None:
    """The reviewed lines of each system; a port that is already so needs none; the way back is the old lines."""
    system = SYSTEMS[name]
    before, after = AccessPort("p", None, access=False), AccessPort("p", 20)
    assert plan(system, [before], [after]).lines == lines
    assert not plan(system, [after], [after])
    assert plan(system, [after], [before]).lines[-len(system.finish) or None :] == system.finish or lines
    assert "-p: no mode, VLAN 1 (default)" in plan(system, [before], [after]).diff


def test_a_trunk_is_never_touched() -> None:
    """Others' VLANs are on it."""
    with pytest.raises(CheckError, match="p is a trunk"):
        plan(SYSTEMS["cisco_iosxe"], [AccessPort("p", None, access=False, trunk=True)], [AccessPort("p", 20)])


def test_ports_of_nodes_follow_the_inventory() -> None:
    """A node's port gets the VLAN of its leg; a node that is none is named."""
    _, testbed = load("lab")
    assert wanted_ports(testbed, {"worker1": "Gi1/0/1"}) == (AccessPort("Gi1/0/1", 20),)
    with pytest.raises(InputError, match="'worker9' is no node"):
        wanted_ports(testbed, {"worker9": "Gi1/0/1"})


def test_unknown_system_lists_the_known_ones() -> None:
    """A platform that we do not know is named with those that we do."""
    with pytest.raises(UnknownNameError, match="known are: cisco_iosxe, arista_eos"):
        system_named("cisco_ios")
