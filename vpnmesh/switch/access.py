"""Access ports on IOS-XE, EOS, NX-OS, Junos and a Linux bridge: what to ask, how to read it, what to write.

A port's state is the two lines that decide its VLAN, as the system writes them, so that undoing is writing the old
lines again. A trunk is never touched: it carries others.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vpnmesh.errors import CheckError, InputError, UnknownNameError
from vpnmesh.model import Testbed
from vpnmesh.plan import unified_diff

DEFAULT_VID = 1


@dataclass(frozen=True, slots=True)
class Port:
    """A port as it is or as it is wanted: `access` False where no mode is set, `vid` None where no VLAN is."""

    name: str
    vid: int | None
    access: bool = True
    trunk: bool = False

    def __str__(self) -> str:
        mode = "trunk" if self.trunk else "access" if self.access else "no mode"
        return f"{self.name}: {mode}, VLAN {self.vid if self.vid is not None else f'{DEFAULT_VID} (default)'}"


@dataclass(frozen=True, slots=True)
class SwitchPlan:
    """Lines to send in configuration mode, and what they change; falsy when every port is as wanted."""

    lines: tuple[str, ...] = ()
    diff: str = ""

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.lines)


@dataclass(frozen=True, slots=True)
class System:
    """How one operating system shows and sets an access port; `finish` comes after the lines, `save` in exec mode."""

    name: str
    show: Callable[[str], str]
    read: Callable[[str, str], Port]
    write: Callable[[Port], tuple[str, ...]]
    finish: tuple[str, ...] = ()
    save: tuple[str, ...] = ()


def system_named(name: str) -> System:
    """The system of that name; UnknownNameError lists the known ones."""
    if name not in SYSTEMS:
        raise UnknownNameError("platform", "switch system", name, list(SYSTEMS))
    return SYSTEMS[name]


def wanted_ports(testbed: Testbed, ports: Mapping[str, str]) -> tuple[Port, ...]:
    """Each node's port (node name -> port name) in the VLAN of its leg; InputError for a node that is none.

    The firewall's port carries all VLANs; it is a trunk or several ports, and left to whoever cabled it.
    """
    names = {node.name for node in testbed.nodes if node != testbed.firewall}
    if unknown := sorted(set(ports) - names):
        raise InputError(
            "switch ports", f"'{unknown[0]}' is no node", f"known are: {', '.join(sorted(names))}"
        )
    return tuple(Port(port, testbed.node(node).leg.vid) for node, port in ports.items())


def plan(system: System, held: Sequence[Port], wanted: Sequence[Port]) -> SwitchPlan:
    """The lines from held to wanted; CheckError for a port that is a trunk."""
    lines: list[str] = []
    for before, after in zip(held, wanted, strict=True):
        if before.trunk:
            raise CheckError("switch", f"{before.name} is a trunk and carries other VLANs: not touched")
        lines += system.write(after) if before != after else ()
    if not lines:
        return SwitchPlan()
    diff = unified_diff("switch ports", "\n".join(map(str, held)), "\n".join(map(str, wanted)))
    return SwitchPlan((*lines, *system.finish), diff)


def _read_lines(name: str, text: str) -> Port:
    """The running configuration of IOS-XE, EOS and NX-OS below one interface."""
    vid = re.search(r"^\s*switchport access vlan (\d+)", text, re.MULTILINE)
    mode = re.search(r"^\s*switchport mode (\S+)", text, re.MULTILINE)
    word = mode[1] if mode else ""
    return Port(name, int(vid[1]) if vid else None, word == "access", word == "trunk")


def _write_lines(port: Port) -> tuple[str, ...]:
    mode = "switchport mode access" if port.access else "no switchport mode"
    vid = f"switchport access vlan {port.vid}" if port.vid is not None else "no switchport access vlan"
    return (f"interface {port.name}", mode, vid)


_JUNOS = "interfaces {} unit 0 family ethernet-switching"


def _read_junos(name: str, text: str) -> Port:
    vid = re.search(r"vlan members (\d+)\s*$", text, re.MULTILINE)
    mode = re.search(r"interface-mode (\S+)", text)
    if re.search(r"vlan members \D", text):
        raise CheckError(
            "switch", f"{name} is in a VLAN by name; vpnmesh compares VLAN ids: use the id there"
        )
    word = mode[1] if mode else ""
    return Port(name, int(vid[1]) if vid else None, word == "access", word == "trunk")


def _write_junos(port: Port) -> tuple[str, ...]:
    head = _JUNOS.format(port.name)
    mode = f"set {head} interface-mode access" if port.access else f"delete {head} interface-mode"
    members = (f"set {head} vlan members {port.vid}",) if port.vid is not None else ()
    return (f"delete {head} vlan members", mode, *members)


def _read_bridge(name: str, text: str) -> Port:
    """`bridge -j vlan show dev X`: an access port has its one VLAN as PVID and sends it untagged."""
    entries = json.loads(text or "[]")
    vlans = entries[0]["vlans"] if entries else []
    pvid = next((one["vlan"] for one in vlans if "PVID" in one.get("flags", [])), None)
    return Port(name, pvid, access=True, trunk=len(vlans) > 1)


def _write_bridge(port: Port) -> tuple[str, ...]:
    add = (f"bridge vlan add dev {port.name} vid {port.vid} pvid untagged",) if port.vid is not None else ()
    # the range takes away whatever VLAN it had
    return (f"bridge vlan del dev {port.name} vid 1-4094", *add)


def _industry(name: str, show: str, save: str) -> System:
    return System(name, show.format, _read_lines, _write_lines, save=(save,))


SYSTEMS = {
    system.name: system
    for system in (
        _industry("cisco_iosxe", "show running-config interface {}", "write memory"),
        _industry("arista_eos", "show running-config interfaces {}", "write memory"),
        _industry("cisco_nxos", "show running-config interface {}", "copy running-config startup-config"),
        System(
            "juniper_junos",
            "show configuration interfaces {} | display set".format,
            _read_junos,
            _write_junos,
            finish=("commit",),
        ),
        System("linux_bridge", "bridge -j vlan show dev {}".format, _read_bridge, _write_bridge),
    )
}
