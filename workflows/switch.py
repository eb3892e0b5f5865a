"""The switches below the testbed: show, plan, set and take back the VLANs of the nodes' ports.

A switch is a host in the group role__switch, with its platform, and in its data the port of each node:
`ports: {worker1: Ethernet1}` (docs/switch.md). Which VLAN a port gets is what the inventory says of the node.

\b
examples:
  python -m workflows.switch show --inventory my-testbed      the ports as they are
  python -m workflows.switch plan --inventory my-testbed      the difference and every line; changes nothing
  python -m workflows.switch apply --inventory my-testbed     write, read back; set back where a line is refused
  python -m workflows.switch undo --inventory my-testbed      the ports as they were before the first apply
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click
from nornir.core import Nornir
from nornir.core.inventory import Host

import tasks
from inventory.load import load, switches_of
from inventory.marks import refuse_unmarked
from vpnmesh.errors import InputError
from vpnmesh.study.changes import changes_in
from vpnmesh.switch.access import AccessPort, SwitchPlan, System, plan, system_named, wanted_ports
from workflows.run.agreement import Intent, agree, yes_option
from workflows.run.hosts import run_on
from workflows.run.options import bad_input_exits_2
from workflows.run.switch_record import SwitchRecord
from workflows.run.terminal import say

DONE, LEFT = 0, 1


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch: its host, its system, and its ports as the inventory wants them."""

    nr: Nornir
    host: Host
    system: System
    wanted: tuple[AccessPort, ...]

    def read(self, ports: tuple[AccessPort, ...]) -> tuple[AccessPort, ...]:
        """These ports as they are now."""
        names = tuple(port.name for port in ports)
        found: tuple[AccessPort, ...] = run_on(self.nr, [self.host.name], tasks.read_ports, ports=names)[
            self.host.name
        ].result
        return found

    def write(self, ports: tuple[AccessPort, ...], *, save: bool) -> None:
        """Put the ports so, verified, or as they were before."""
        run_on(self.nr, [self.host.name], tasks.set_access_vlans, ports=ports, save=save)


def switches(inventory: str) -> list[Switch]:
    """All switches of the inventory; InputError where there is none, or one names no ports."""
    nr, testbed = load(inventory)
    found = []
    for host in switches_of(nr):
        ports = host.get("ports")
        place = f"{host.name}: ports"
        if not isinstance(ports, Mapping) or not ports:
            raise InputError(place, "missing", "write NODE: PORT for every node that hangs on this switch")
        named = {str(node): str(port) for node, port in ports.items()}
        if len(set(named.values())) < len(named):
            raise InputError(place, "two nodes have one port", "write each node's own port")
        found.append(Switch(nr, host, system_named(str(host.platform)), wanted_ports(testbed, named, place)))
    if not found:
        raise InputError(inventory, "has no switch", "put its host into the group role__switch")
    return found


@click.group(help=__doc__)
def main() -> None:
    """See the module's docstring."""


_inventory = click.option("--inventory", default="lab", show_default=True, help="a folder, or a built-in one")
_save = click.option("--save", is_flag=True, help="make it the switch's startup configuration, too")


@main.command()
@_inventory
@bad_input_exits_2
def show(inventory: str) -> None:
    """Show the nodes' ports as they are."""
    for switch in switches(inventory):
        for port in switch.read(switch.wanted):
            say(f"{switch.host.name}: {port}")


@main.command("plan")
@_inventory
@bad_input_exits_2
def plan_(inventory: str) -> None:
    """Show the difference, and every line that would be typed; changes nothing."""
    for switch in switches(inventory):
        _show_plan(switch, plan(switch.system, switch.read(switch.wanted), switch.wanted))


def _show_plan(switch: Switch, found: SwitchPlan) -> None:
    say(f"{switch.host.name}: {found.diff or 'nothing to do'}")
    for line in (*filter(None, [switch.system.enter]), *found.lines) if found else ():
        say(f"  {line}")


@main.command()
@_inventory
@_save
@yes_option
@bad_input_exits_2
def apply(inventory: str, *, save: bool) -> None:
    """Put every node's port into its VLAN; what the ports were is kept for `undo`."""
    for switch in switches(inventory):
        before = switch.read(switch.wanted)
        found = plan(switch.system, before, switch.wanted)
        _show_plan(switch, found)
        if not found:
            continue
        refuse_unmarked([switch.host])
        changes = list(changes_in(switch.host.name, found.diff))
        agree([switch.host], inventory, [Intent("switch ports", lambda changes=changes: changes)])  # type: ignore[misc]
        changed = [port for port, was in zip(switch.wanted, before, strict=True) if port != was]
        was = [port for port in before if port not in switch.wanted]
        # before anything is written: whatever happens then, `undo` knows what was there
        SwitchRecord.of(switch.host).add(was, changed)
        switch.write(tuple(changed), save=save)
        say(f"{switch.host.name}: set and read back: {', '.join(port.name for port in changed)}")


@main.command()
@_inventory
@_save
@bad_input_exits_2
def undo(inventory: str, *, save: bool) -> None:
    """Set the ports back as they were before the first `apply`; exit code 1 where somebody else changed one since."""
    sys.exit(max([_undo(switch, save=save) for switch in switches(inventory)]))


def _undo(switch: Switch, *, save: bool) -> int:
    record = SwitchRecord.of(switch.host)
    if not record.before:
        say(f"{switch.host.name}: nothing to undo")
        return DONE
    theirs = dict(_changed_by_others(switch, record))
    for port, wrote in theirs.items():
        say(f"{switch.host.name}: left as it is: {port}; we had written: {wrote}", err=True)
    names = {port.name for port in theirs}
    back = tuple(port for name, port in record.before.items() if name not in names)
    switch.write(back, save=save)
    for port in back:
        say(f"{switch.host.name}: set back: {port}")
    if theirs:
        return LEFT
    record.remove()
    return DONE


def _changed_by_others(switch: Switch, record: SwitchRecord) -> Iterator[tuple[AccessPort, AccessPort]]:
    """Ports that are neither as they were nor as we wrote them: now, and as we wrote them."""
    for port in switch.read(tuple(record.before.values())):
        if port not in (record.before[port.name], record.written[port.name]):
            yield port, record.written[port.name]


if __name__ == "__main__":
    main()
