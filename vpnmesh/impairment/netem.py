"""Impairment by the kernel's netem, at the root of a device or, beside management, in a class of its own.

A former root that somebody set (a shaper, say) is noted on the node and comes back; one that we could not make again
is never touched. Under a tbf, netem becomes its child, so that the port keeps its rate.
"""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network

from vpnmesh.errors import CheckError
from vpnmesh.impairment import deadman
from vpnmesh.impairment.engine import Impairment, InstalledImpairment, plan_change
from vpnmesh.impairment.targets import Target, device_targets
from vpnmesh.model import Condition, Pair, Placement, Testbed
from vpnmesh.plan import Command, Completed, Fact, Plan, Step, WriteFile
from vpnmesh.tools import netem as tc

BAND = 4
_SUFFIXES = ("former",)


class NetemEngine:
    """The engine of every kernel that has netem; required on real nodes."""

    name = "netem"

    def targets(self, testbed: Testbed, pair: Pair, placement: Placement) -> tuple[Target, ...]:
        """On the device that the packets leave through."""
        return device_targets(testbed, pair, placement)

    def observe(self, target: Target) -> Fact[InstalledImpairment]:
        """Qdiscs, filters, the noted former root, deadman and files: five commands."""
        commands = (
            _on(target, tc.show_qdiscs(target.device)),
            _on(target, tc.show_filters(target.device, _top(target))),
            Command(("cat", deadman.path(target.name, "former"))),
            deadman.ask_armed(target.name),
            deadman.ask_files(),
        )
        return Fact(commands, lambda completed: _held(target, completed))

    def set(self, target: Target, impairment: Impairment, held: InstalledImpairment) -> Plan:
        """Deadman first, then the qdiscs from the top down; the filters last, when all that they lead to is there."""
        if not impairment.condition:
            return self.clear(target, held)
        if held.obstacle:
            raise CheckError("impairment", held.obstacle)
        former = _former(held)
        note = (WriteFile(deadman.path(target.name, "former"), held.former),) if former else ()
        steps: tuple[Step, ...] = (
            deadman.make_folder(),
            *note,
            *deadman.arm(target.name, _undo(target, former, in_place=True), impairment.deadman_s),
            *_build(target, impairment, _attach_point(former)),
        )
        return plan_change(target, held, _wanted(target, impairment, former), steps)

    def clear(self, target: Target, held: InstalledImpairment) -> Plan:
        """The former root comes back, then deadman and files go."""
        return plan_change(target, held, (), ())

    def renew(self, target: Target, impairment: Impairment, held: InstalledImpairment) -> Plan:
        """Restart the deadman."""
        if not held.condition:
            return Plan()
        undo = _undo(target, _former(held), in_place=True)
        return Plan((deadman.disarm(target.name), *deadman.arm(target.name, undo, impairment.deadman_s)))


def _on(target: Target, argv: tuple[str, ...]) -> Command:
    return Command((*(("ip", "netns", "exec", target.netns) if target.netns else ()), *argv))


def _top(target: Target) -> str:
    """The handle of what we hang into the device; tc reads it as hexadecimal."""
    return f"213{target.slot}:"


def _leaf(target: Target) -> str:
    return f"214{target.slot}:"


def _shaper(target: Target) -> str:
    return f"215{target.slot}:"


def _holder(target: Target) -> str:
    """The handle of the netem itself."""
    return _leaf(target) if _is_filtered(target) else _top(target)


def _is_filtered(target: Target) -> bool:
    return bool(target.sources or target.destinations)


def _former(held: InstalledImpairment) -> tc.Qdisc | None:
    found = tc.parse_qdiscs(held.former)
    return found[0] if found else None


def _attach_point(former: tc.Qdisc | None) -> str:
    """Below a tbf, so that the port keeps its rate; else at the root."""
    return f"{former.handle}1" if former and former.kind == "tbf" else "root"


def _build(target: Target, impairment: Impairment, parent: str) -> tuple[Command, ...]:
    words = tc.netem_words(impairment.condition, impairment.limit_packets)
    rate = impairment.condition.rate_mbit_s
    shaper = (
        (tc.add_qdisc(target.device, f"{_holder(target)}1", _shaper(target), tc.shaper_words(rate)),)
        if rate
        else ()
    )
    if not _is_filtered(target):
        argvs = (tc.add_qdisc(target.device, parent, _top(target), words), *shaper)
        return tuple(_on(target, argv) for argv in argvs)
    band = f"{_top(target)}{BAND}"
    argvs = (
        tc.add_qdisc(target.device, parent, _top(target), tc.prio_words(BAND)),
        tc.add_qdisc(target.device, band, _leaf(target), words),
        *shaper,
        *(
            tc.add_filter(target.device, _top(target), band, source, destination)
            for source in target.sources or (None,)
            for destination in target.destinations or (None,)
        ),
    )
    return tuple(_on(target, argv) for argv in argvs)


def _undo(target: Target, former: tc.Qdisc | None, *, in_place: bool) -> tuple[Command, ...]:
    """Remove our qdiscs if they are there, put the former root back, remove the files."""
    argvs = [tc.delete_root(target.device)] if in_place else []
    if in_place and former and former.words:
        argvs.append(tc.add_qdisc(target.device, "root", former.handle, former.words))
    commands = tuple(_on(target, argv) for argv in argvs)
    return (*commands, *deadman.remove_files(target.name, _SUFFIXES))


def _wanted(target: Target, impairment: Impairment, former: tc.Qdisc | None) -> tuple[str, ...]:
    netem = tc.Netem(impairment.condition, impairment.limit_packets)
    qdiscs = [_netem_line(netem)]
    if _is_filtered(target):
        qdiscs = [_prio_line(target), *qdiscs, *_filter_lines(_wanted_filters(target))]
    return (*_former_lines(former), *qdiscs, deadman.ARMED)


def _netem_line(netem: tc.Netem) -> str:
    rate = netem.condition.rate_mbit_s
    words = tc.netem_words(netem.condition, netem.limit_packets)
    return " ".join((*words, *((f"shaped to {rate:g}mbit",) if rate else ()), *netem.others))


def _prio_line(target: Target) -> str:
    return f"prio on {target.device}"


def _former_lines(former: tc.Qdisc | None) -> tuple[str, ...]:
    return (f"former root {' '.join(former.words or (former.kind,))}",) if former else ()


def _wanted_filters(target: Target) -> tuple[tc.FlowerOptions, ...]:
    band = f"{_top(target)}{BAND}"
    return tuple(
        tc.FlowerOptions(band, tc.FlowerKeys(_as_tc_shows(source), _as_tc_shows(destination)))
        for source in target.sources or (None,)
        for destination in target.destinations or (None,)
    )


def _as_tc_shows(prefix: IPv4Network | None) -> str:
    return str(prefix).removesuffix("/32") if prefix else ""


def _filter_lines(filters: Sequence[tc.FlowerOptions]) -> tuple[str, ...]:
    return tuple(
        f"filter src {entry.keys.src_ip or 'any'} dst {entry.keys.dst_ip or 'any'} to {entry.classid}"
        for entry in filters
    )


def _held(target: Target, completed: Sequence[Completed]) -> InstalledImpairment:
    qdiscs_out, filters_out, former_out, armed, listing = completed
    qdiscs = tc.parse_qdiscs(qdiscs_out.stdout) if qdiscs_out.exit_code == 0 else ()
    filters = tc.parse_filters(filters_out.stdout) if filters_out.exit_code == 0 else ()
    noted = tc.parse_qdiscs(former_out.stdout) if former_out.exit_code == 0 else ()
    ours = next((qdisc for qdisc in qdiscs if qdisc.handle == _top(target)), None)
    former = _find_former(qdiscs, ours, noted)
    netem = _find_netem(target, qdiscs)
    files = deadman.files_of(target.name, listing)
    is_armed = armed.exit_code == 0
    faults = _faults(target, ours, netem, filters, is_armed=is_armed)
    lines = _lines(target, ours, netem, filters, former, files, is_armed=is_armed)
    undo = _undo(target, former, in_place=ours is not None)
    return InstalledImpairment(
        condition=netem.condition if netem and not faults else Condition(),
        limit_packets=netem.limit_packets if netem else None,
        lines=lines,
        undo=(*undo[:-2], deadman.disarm(target.name), *undo[-2:]) if lines else (),
        faults=faults,
        former=tc.dump_qdisc(former) if former else "",
        obstacle=_obstacle(target, qdiscs_out, former, ours),
    )


def _find_former(
    qdiscs: Sequence[tc.Qdisc], ours: tc.Qdisc | None, noted: Sequence[tc.Qdisc]
) -> tc.Qdisc | None:
    """The root that somebody else set: it is there (alone, or above ours), or it is in the note."""
    root = next((qdisc for qdisc in qdiscs if qdisc.root), None)
    if root and root != ours:
        return None if root.is_default else root
    return noted[0] if ours and noted else None


def _find_netem(target: Target, qdiscs: Sequence[tc.Qdisc]) -> tc.Netem | None:
    """Our netem, with the rate of the shaper below it."""
    handle = _holder(target)
    found = next((qdisc.netem for qdisc in qdiscs if qdisc.kind == "netem" and qdisc.handle == handle), None)
    shaper = next((one for one in qdiscs if one.kind == "tbf" and one.handle == _shaper(target)), None)
    if found is None or shaper is None:
        return found
    return replace(found, condition=replace(found.condition, rate_mbit_s=shaper.rate_mbit_s))


def _obstacle(target: Target, shown: Completed, former: tc.Qdisc | None, ours: tc.Qdisc | None) -> str:
    where = f"{target.node}: {target.device}"
    if shown.exit_code != 0:
        return f"{where}: {shown.stderr.strip() or 'no such device'}"
    if former and ours is None and former.words is None:
        return (
            f"{where} has a root qdisc '{former.kind}' of its own that could not be put back afterwards; "
            "take it away, or choose another placement"
        )
    return ""


def _lines(
    target: Target,
    ours: tc.Qdisc | None,
    netem: tc.Netem | None,
    filters: Sequence[tc.FlowerOptions],
    former: tc.Qdisc | None,
    files: Sequence[str],
    *,
    is_armed: bool,
) -> tuple[str, ...]:
    lines = [*_former_lines(former)] if ours else []
    if ours and ours.kind != "netem":
        lines.append(f"{ours.kind} on {target.device}")
    if netem:
        lines.append(_netem_line(netem))
    lines += [*_filter_lines(filters)] if ours else []
    lines += [deadman.ARMED] if is_armed else []
    stale = [file for file in files if not (is_armed if ".deadman." in file else ours)]
    return (*lines, *(f"left-over file {file}" for file in stale))


def _faults(
    target: Target,
    ours: tc.Qdisc | None,
    netem: tc.Netem | None,
    filters: Sequence[tc.FlowerOptions],
    *,
    is_armed: bool,
) -> tuple[str, ...]:
    if ours is None:
        return ()
    where = f"{target.node}: impairment {target.name}"
    faults = []
    if netem is None:
        faults.append(f"{where}: no netem on {target.device}")
    if netem and netem.others:
        faults.append(f"{where}: netem does what nobody asked for: {', '.join(netem.others)}")
    expected = _wanted_filters(target) if _is_filtered(target) else ()
    if sorted(_filter_lines(filters)) != sorted(_filter_lines(expected)):
        faults.append(f"{where}: the filters on {target.device} are not the testbed's prefixes")
    if not is_armed:
        faults.append(f"{where}: no deadman would lift it")
    return tuple(faults)
