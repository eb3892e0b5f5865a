"""What an application sees when the network changes: UDP and TCP flow from pod to pod while one event is made.

\b
Events, each made and undone on a scenario of its own:
  path-cut        the firewall blocks UDP between all VLANs, then lets it pass again
  relay-lost      the relay's daemons are killed under a relayed scenario, then started again
  control-lost    the control plane's daemons are killed, then started again
  address-change  the client's underlay address becomes another one of its VLAN, then the former one again
  node-added      a member joins the mesh
What cannot be made with a solution is a row with the reason.

\b
Written as it goes: fallback.jsonl (a line per attempt), raw/; at the end report.html with a timeline per solution and
event, figures/, fallback.csv. Exit codes: 0 all measured or impossible, 3 some failed, 2 bad input, 130 after Ctrl-C.

\b
examples:
  python -m workflows.fallback --plan
  python -m workflows.fallback --solutions headscale,wireguard --events path-cut,control-lost
  python -m workflows.fallback --solutions headscale --events path-cut --repetitions 6
  python -m workflows.fallback --resume fallback/20260101-120000
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from inventory.load import load
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.host.lease import SECONDS
from vpnmesh.model import Scenario, Testbed
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.study.fallback import EVENTS, Event, Silence, event_named
from vpnmesh.study.fallback_record import Attempt, Outcome, finished, newest
from vpnmesh.study.scenarios import BUILT_IN
from workflows.run.agreement import Intent, may_change, yes_option
from workflows.run.cluster_record import refuse_beside_cluster
from workflows.run.dry_run import show_scenario
from workflows.run.fallback import HOLD_S, Asked, Timing, asked, attempt, expected_s
from workflows.run.fallback_events import changes_of
from workflows.run.fallback_store import FallbackStore
from workflows.run.firewall import FirewallRun, run_of
from workflows.run.foreign import beside_option, refuse_foreign
from workflows.run.intents import of_lease, of_scenario
from workflows.run.interrupts import closing_connections
from workflows.run.lab import lab_for
from workflows.run.lease import leased
from workflows.run.measured_hosts import MeasuredHosts
from workflows.run.options import bad_input_exits_2, split
from workflows.run.progress import make_console
from workflows.run.site import Site

ALL_MEASURED, SOME_FAILED = 0, 3


@click.command(help=__doc__)
@click.option("--solutions", help="comma-separated; default: every VPN")
@click.option("--events", help=f"comma-separated of {', '.join(EVENTS)}; default: all")
@click.option(
    "--inventory", default="lab", show_default=True, help="a built-in inventory, or a folder with hosts.yaml"
)
@click.option(
    "--repetitions", type=click.IntRange(1, 100), default=1, show_default=True, help="of every event"
)
@click.option(
    "--hold",
    type=click.FloatRange(2, 600),
    default=HOLD_S,
    show_default=True,
    help="seconds for which an event lasts at least, and that are watched after it",
)
@click.option("--out", type=click.Path(path_type=Path), help="a folder; default: fallback/DATE-TIME")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    help="go on with a study: what it has measured is not done again",
)
@click.option(
    "--lease",
    type=click.IntRange(10, 86_400),
    default=SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="after how long without a word of this process every node undoes by itself what was made (docs/leases.md)",
)
@yes_option
@beside_option
@click.option(
    "--plan", "only_plan", is_flag=True, help="list every attempt, what it does where, and about how long"
)
@click.option("--dry-run", is_flag=True, help="show what would change on every node, and change nothing")
@bad_input_exits_2
def main(*, inventory: str, only_plan: bool, dry_run: bool, **options: Any) -> None:
    """Parse, plan, measure, and write; see the module's docstring."""
    study = _Study(inventory, **options)
    console = make_console()
    nr, testbed = load(inventory)
    if study.resume:
        MeasuredHosts.of(inventory, testbed).refuse_others(study.resume, "--resume")
    site = Site(nr, testbed, firewall=FirewallRun.of(study.directory, run_of("fallback", study.directory)))
    store = (FallbackStore.open if study.resume else FallbackStore.new)(study.directory, site.secrets)
    wanted = study.wanted(testbed, store)
    if only_plan:
        _show_plan(console, wanted, study.timing)
        return
    code = ALL_MEASURED
    if wanted or dry_run:
        refuse_beside_cluster(testbed, f"--inventory {inventory}")
        if not dry_run:
            store.begin()
        with closing_connections(nr) as ended, lab_for(testbed, console):
            if dry_run:
                _show_changes(console, site, wanted, study.made)
            else:
                _carry_out(console, site, store, wanted, study)
        code = ended.code
    if dry_run:
        sys.exit(code)
    if store.attempts:
        _show(console, store)
    failed = any(one.outcome is Outcome.FAILED for one in newest(store.attempts))
    sys.exit(code or (SOME_FAILED if failed else ALL_MEASURED))


@dataclass(frozen=True, slots=True)
class _Study:
    """What the options ask for; InputError for what is wrong."""

    inventory: str
    solutions: str | None
    events: str | None
    repetitions: int
    hold: float
    out: Path | None
    resume: Path | None
    lease: int
    directory: Path = field(init=False)

    def __post_init__(self) -> None:
        """One folder, and names that are known."""
        if self.out is not None and self.resume is not None:
            raise InputError("--resume", "goes on in its own folder", "leave --out out")
        named = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        object.__setattr__(self, "directory", self.resume or self.out or Path("fallback") / named)

    @property
    def timing(self) -> Timing:
        """How long is watched."""
        return Timing(hold_s=self.hold)

    @property
    def made(self) -> list[Event]:
        """The events that are made."""
        return _events(self.events)

    def wanted(self, testbed: Testbed, store: FallbackStore) -> list[Asked]:
        """The attempts that are still to be made."""
        done = finished(store.attempts)
        every = asked(testbed, BUILT_IN, _solutions(self.solutions), self.made, self.repetitions)
        return [one for one in every if one.key not in done]


def _solutions(text: str | None) -> list[str]:
    known = [name for name, one in SOLUTIONS.items() if one.is_vpn]
    names = known if text is None else split(text)
    for name in names:
        if name not in known:
            raise UnknownNameError("--solutions", "VPN", name, known)
    if not names:
        raise InputError("--solutions", "names none", f"known are: {', '.join(known)}")
    return list(dict.fromkeys(names))


def _events(text: str | None) -> list[Event]:
    names = list(EVENTS) if text is None else split(text)
    if not names:
        raise InputError("--events", "names none", f"known are: {', '.join(EVENTS)}")
    return [event_named(name) for name in dict.fromkeys(names)]


def _carry_out(
    console: Console, site: Site, store: FallbackStore, wanted: Sequence[Asked], study: _Study
) -> None:
    """Once the owner of real hosts agreed, hold all nodes and make every attempt."""
    again = study.resume is not None
    refuse_foreign(site, resumed=again)
    may_change(site, study.inventory, _intents(site, _scenarios(wanted), study.made))
    with leased(site, site.firewall.run, again=again, seconds=study.lease):
        MeasuredHosts.of(study.inventory, site.testbed, site.firewall.run).keep(study.directory)
        _measure(console, site, store, wanted, study.timing)


def _scenarios(wanted: Sequence[Asked]) -> list[Scenario]:
    """Those that are set up, each once."""
    return list(
        {one.scenario.name: one.scenario for one in wanted if one.scenario and not one.impossible}.values()
    )


def _intents(site: Site, scenarios: Sequence[Scenario], events: Sequence[Event]) -> list[Intent]:
    made = [Intent(f"event {event.name}", partial(changes_of, site.testbed, event)) for event in events]
    return [of_lease(site, ("fallback",)), *(of_scenario(site, one) for one in scenarios), *made]


def _show_plan(console: Console, wanted: Sequence[Asked], timing: Timing) -> None:
    for one in wanted:
        where = one.scenario.name if one.scenario else "-"
        what = f"impossible: {one.impossible}" if one.impossible else one.event.made
        console.print(
            f"{one.solution:10} {one.event.name:14} {one.repetition:3}  {where:17} {what}", highlight=False
        )
    minutes = sum(expected_s(one, timing) for one in wanted) / 60
    console.print(
        f"{len(wanted)} attempts, about {minutes:.0f} minutes where every VPN recovers soon", highlight=False
    )


def _show_changes(console: Console, site: Site, wanted: Sequence[Asked], events: Sequence[Event]) -> None:
    for scenario in _scenarios(wanted):
        show_scenario(console, site, scenario)
    for event in events:
        for change in changes_of(site.testbed, event):
            console.print(f"{event.name}: {change.host}: {change.what}", highlight=False, markup=False)


def _measure(
    console: Console, site: Site, store: FallbackStore, wanted: Sequence[Asked], timing: Timing
) -> None:
    for number, one in enumerate(wanted, 1):
        head = f"[{number}/{len(wanted)}] {one.solution} {one.event.name} {one.repetition}"
        with console.status(head) as status:
            made = attempt(
                site,
                one,
                timing,
                store.keep_raw,
                lambda what, head=head: status.update(f"{head}: {what}"),  # type: ignore[misc]
            )
        kept = store.append(made)
        console.print(f"{head}: {_said(kept)}", highlight=False, markup=False)
        for complaint in site.take_complaints():
            console.print(f"teardown: {complaint}", highlight=False, markup=False)


def _said(made: Attempt) -> str:
    """An attempt in a line."""
    if made.seen is None:
        return f"{made.outcome}: {made.reason}"
    udp, tcp = made.seen.udp, made.seen.tcp
    return "; ".join(
        (
            f"UDP silent {_silent(udp.silence)}, {_silent(udp.undo_silence)} after undoing",
            f"{udp.lost} of {udp.sent} lost, {udp.reordered} reordered, {udp.duplicates} twice",
            f"TCP silent {_silent(tcp.silence)}, {_silent(tcp.undo_silence)} after undoing",
            f"{tcp.connections} TCP connections",
        )
    )


def _silent(silence: Silence | None) -> str:
    if silence is None:
        return "-"
    return f"{silence.longest_s:.2f} s" + ("" if silence.came_back else " without an end")


def _show(console: Console, store: FallbackStore) -> None:
    # polars where there is a row
    from vpnmesh.report.fallback import NAMES, TCP, UDP, reasons, summary, without_interval  # noqa: PLC0415

    rows, names = summary(store.attempts), len(NAMES)
    for columns, first in ((UDP, names), (TCP, names + len(UDP))):
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for column in (*NAMES, *columns):
            table.add_column(column, no_wrap=True)
        for row in rows:
            table.add_row(*row[:names], *row[first : first + len(columns)])
        console.print(table)
    for sentence in filter(None, (without_interval(store.attempts), *reasons(store.attempts))):
        console.print(sentence, highlight=False, markup=False)
    console.print(f"written: {store.write_page()}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
