"""Access ports on IOS-XE, EOS, NX-OS, Junos and a Linux bridge: what to ask, how to read it, what to write.

A port's state is the two lines that decide its VLAN, as the system writes them, so that undoing is writing the old
lines again. A port that is more than an access port (a trunk, tagged VLANs, any other mode, a routed port) is never
touched: it carries others' traffic, and these lines alone could not bring it back.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from vpnmesh.errors import CheckError, InputError, ToolError, UnknownNameError
from vpnmesh.model import LAST_VID, Testbed
from vpnmesh.plan import Command, Completed, Fact, unified_diff

DEFAULT_VID = 1


@dataclass(frozen=True, slots=True)
class AccessPort:
    """A port as it is or as it is wanted: `access` False where no mode is set, `vid` None where no VLAN is.

    `trunk`: it is more than an access port, so it is read and never written.
    """

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
    """How one operating system shows and sets an access port.

    `enter` is typed in exec mode, `finish` after the lines; `abandon` instead of it when a line was refused, where
    the system keeps changes apart until they are committed; `forget` in exec mode, where such changes outlive the login
    that made them; `save` in exec mode.
    """

    name: str
    show: Callable[[str], str]
    read: Callable[[str, str], AccessPort]
    write: Callable[[AccessPort], tuple[str, ...]]
    enter: str = "configure terminal"
    finish: tuple[str, ...] = ()
    abandon: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()
    save: tuple[str, ...] = ()


def system_named(name: str) -> System:
    """The system of that name; UnknownNameError lists the known ones."""
    if name not in SYSTEMS:
        raise UnknownNameError("platform", "switch system", name, list(SYSTEMS))
    return SYSTEMS[name]


def wanted_ports(
    testbed: Testbed, ports: Mapping[str, str], place: str = "switch ports"
) -> tuple[AccessPort, ...]:
    """Each node's port (node name -> port name) in the VLAN of its leg; InputError for a node that is none.

    The firewall's port carries all VLANs; it is a trunk or several ports, and left to whoever cabled it.
    """
    names = {node.name for node in testbed.nodes if node != testbed.firewall}
    if unknown := sorted(set(ports) - names):
        raise InputError(place, f"'{unknown[0]}' is no node", f"known are: {', '.join(sorted(names))}")
    return tuple(AccessPort(port, testbed.node(node).leg.vid) for node, port in ports.items())


def plan(system: System, held: Sequence[AccessPort], wanted: Sequence[AccessPort]) -> SwitchPlan:
    """The lines from held to wanted; CheckError for a port that is a trunk."""
    lines: list[str] = []
    for before, after in zip(held, wanted, strict=True):
        if before.trunk:
            raise CheckError(
                "switch",
                f"{before.name} is a trunk, tagged, routed or in another mode than access: not touched; make it an"
                " access port yourself if nothing else needs it",
            )
        lines += system.write(after) if before != after else ()
    if not lines:
        return SwitchPlan()
    diff = unified_diff("switch ports", "\n".join(map(str, held)), "\n".join(map(str, wanted)))
    return SwitchPlan((*lines, *system.finish), diff)


def _read_lines(name: str, text: str, *, default: str = "") -> AccessPort:
    """The running configuration of IOS-XE, EOS and NX-OS below one interface.

    `default` is the mode that the system does not print because it is the default one: access on EOS and NX-OS,
    dynamic (none of ours) on IOS-XE.
    """
    vid = re.search(r"^\s*switchport access vlan (\d+)", text, re.MULTILINE)
    mode = re.search(r"^\s*switchport mode (\S+)", text, re.MULTILINE)
    routed = re.search(r"^\s*no switchport\s*$", text, re.MULTILINE)
    word = mode[1] if mode else default
    return AccessPort(name, _vid(name, vid), word == "access", word not in ("", "access") or bool(routed))


def _vid(name: str, found: re.Match[str] | None) -> int | None:
    """The VLAN that a line tells, None where there is no such line; ToolError where it is none."""
    if found is None:
        return None
    if len(found[1]) > len(str(LAST_VID)) or not 1 <= int(found[1]) <= LAST_VID:
        raise ToolError("switch", f"{name}: {found[1][:20]} is no VLAN")
    return int(found[1])


def _write_lines(port: AccessPort) -> tuple[str, ...]:
    mode = "switchport mode access" if port.access else "no switchport mode"
    vid = f"switchport access vlan {port.vid}" if port.vid is not None else "no switchport access vlan"
    return (f"interface {port.name}", mode, vid)


_JUNOS = "interfaces {} unit 0 family ethernet-switching"


def _read_junos(name: str, text: str) -> AccessPort:
    vid = re.search(r"vlan members (\d+)\s*$", text, re.MULTILINE)
    mode = re.search(r"interface-mode (\S+)", text)
    if re.search(r"vlan members \D", text):
        raise CheckError(
            "switch", f"{name} is in a VLAN by name; vpnmesh compares VLAN ids: use the id there"
        )
    word = mode[1] if mode else ""
    return AccessPort(name, _vid(name, vid), word == "access", word not in ("", "access"))


def _write_junos(port: AccessPort) -> tuple[str, ...]:
    head = _JUNOS.format(port.name)
    mode = f"set {head} interface-mode access" if port.access else f"delete {head} interface-mode"
    members = (f"set {head} vlan members {port.vid}",) if port.vid is not None else ()
    return (f"delete {head} vlan members", mode, *members)


ACCESS_FLAGS = frozenset({"PVID", "Egress Untagged"})


def _read_bridge(name: str, text: str) -> AccessPort:
    """`bridge -j vlan show dev X`: an access port has one VLAN, which is its PVID and leaves untagged; or none."""
    entries = json.loads(text or "[]")
    vlans = entries[0]["vlans"] if entries else []
    trunk = len(vlans) > 1 or any(
        "vlanEnd" in one or set(one.get("flags", ())) != ACCESS_FLAGS for one in vlans
    )
    pvid = next((one["vlan"] for one in vlans if "PVID" in one.get("flags", ())), None)
    if pvid is not None and (type(pvid) is not int or not 1 <= pvid <= LAST_VID):
        raise ToolError("switch", f"{name}: {str(pvid)[:20]!r} is no VLAN")
    return AccessPort(name, pvid, access=not trunk, trunk=trunk)


_BRIDGE_PORT = """
port="$1/$2"
[ -e "$port" ] || { echo "no-interface"; exit 0; }
[ -e "$port/brport/bridge" ] || { echo "no-bridge"; exit 0; }
bridge=$(readlink -f "$port/brport/bridge")
echo "filtering $(cat "$bridge/bridge/vlan_filtering" 2> /dev/null || echo absent) ${bridge##*/}"
"""


def bridge_ports(names: Sequence[str]) -> Fact[None]:
    """Whether these ports' VLANs separate anything; `parse` raises CheckError with the port and the way out.

    A bridge forwards between all its ports, whatever VLANs they are in, unless its vlan_filtering is 1 (ip-link(8)).
    """

    def parse(completed: Sequence[Completed]) -> None:
        for name, one in zip(names, completed, strict=True):
            if complaint := _complaint(name, one.stdout.split()):
                raise CheckError("switch", complaint)

    argvs = (("sh", "-c", _BRIDGE_PORT, "sh", "/sys/class/net", name) for name in names)
    return Fact(tuple(Command(argv) for argv in argvs), parse)


def _complaint(name: str, words: Sequence[str]) -> str:
    match words:
        case ["filtering", "1", _]:
            return ""
        case ["no-interface"]:
            return f"there is no interface {name}; `bridge link` lists the ports"
        case ["no-bridge"]:
            return f"{name} is on no bridge; put it on one (`ip link set {name} master BRIDGE`)"
        case ["filtering", "0", bridge]:
            way = f"ip link set {bridge} type bridge vlan_filtering 1"
            return f"{name} is on {bridge}, which does not separate VLANs (vlan_filtering 0); `{way}` turns it on"
        case ["filtering", "absent", bridge]:
            return (
                f"{name} is on {bridge}, and this kernel has no VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING)"
            )
        case _:
            return f"{name}: its bridge cannot be read: {' '.join(words)}"


def _write_bridge(port: AccessPort) -> tuple[str, ...]:
    add = (f"bridge vlan add dev {port.name} vid {port.vid} pvid untagged",) if port.vid is not None else ()
    # the range takes away whatever VLAN it had
    return (f"bridge vlan del dev {port.name} vid 1-{LAST_VID}", *add)


def _industry(name: str, show: str, save: str, *, default: str = "") -> System:
    return System(name, show.format, partial(_read_lines, default=default), _write_lines, save=(save,))


_EOS = _industry("arista_eos", "show running-config interfaces {}", "write memory", default="access")
_NXOS = _industry(
    "cisco_nxos",
    "show running-config interface {}",
    "copy running-config startup-config",
    default="access",
)
SYSTEMS = {
    system.name: system
    for system in (
        _industry("cisco_iosxe", "show running-config interface {}", "write memory"),
        # a session of EOS takes effect as one, or not at all; it waits for a day when a login is lost, and who enters
        # one of that name goes on with it (EOS user manual, "Configure Session")
        replace(
            _EOS,
            enter="configure session vpnmesh",
            finish=("commit",),
            abandon=("abort",),
            forget=("no configure session vpnmesh",),
        ),
        _NXOS,
        System(
            "juniper_junos",
            "show configuration interfaces {} | display set".format,
            _read_junos,
            _write_junos,
            # nobody else's edits are in an exclusive candidate, to be committed or thrown away with ours
            # (Junos CLI user guide, "Using the configure exclusive Command")
            enter="configure exclusive",
            finish=("commit",),
            abandon=("rollback 0",),
        ),
        System("linux_bridge", "bridge -j vlan show dev {}".format, _read_bridge, _write_bridge, enter=""),
    )
}
