"""Which part of the wall time goes into measuring, at 10 s and 60 s repetitions, switching shown apart.

Real repetitions by the code of the matrix, with a stopwatch around its stages. "Measuring" is iperf3's counted window
alone: the omitted second, which only warms up, is shown in the breakdown. The paper's tooling reaches 75 % at 60 s.
"""

import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from nornir.core.task import Result
from rich.console import Console
from rich.table import Table

import tasks
from bench.figures import Figure, Size
from bench.sandbox import lab_site
from tasks.measurement import NodeSession
from vpnmesh.errors import VpnmeshError
from vpnmesh.impairment.engine import Engine
from vpnmesh.model import Cell, Condition, Placement
from vpnmesh.study.outcome import Failed
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.scenarios import scenario_named
from workflows.run import firewall, measure, provision
from workflows.run.impair import choose_engine, impaired
from workflows.run.measure import Attempt, Checked, VisitContext
from workflows.run.provision import Provisioned, provisioned
from workflows.run.site import Site
from workflows.run.store import Store

SCENARIOS = ("native-1450", "wireguard-direct")
DURATIONS_S = {Size.FULL: (10, 10, 60), Size.SMOKE: (1, 1, 2)}
"""The first of a visit also checks anew, and is not counted."""
PAPER_SHARES = {60: 0.75}
IMPAIRED = Condition(loss_pct=1)
VISIT_REPETITIONS = 10
"""Of one condition in one visit of the paper profile: 10 repetitions, tcp and udp, in two blocks."""
SWITCHING: dict[tuple[ModuleType, str], str] = {
    (provision, "require"): "find binaries",
    (provision, "firewall_policy"): "set firewall",
    (provision, "run_stages"): "join",
    (provision, "await_mesh"): "await path",
    (provision, "attach"): "attach pods",
    (firewall, "prove_policy"): "prove firewall",
    (provision, "prove_path"): "prove path",
    (provision, "take_off"): "teardown",
}


@dataclass(slots=True)
class Stopwatch:
    """Seconds by stage; a stage within another counts for the outer one only."""

    seconds: dict[str, float] = field(default_factory=dict)
    _inside: threading.local = field(default_factory=threading.local)

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time added to the stage."""

        @functools.wraps(function)
        def timed(*arguments: Any, **parameters: Any) -> Any:
            if getattr(self._inside, "busy", False):
                return function(*arguments, **parameters)
            self._inside.busy, begun = True, time.monotonic()
            try:
                return function(*arguments, **parameters)
            finally:
                self._inside.busy = False
                self.add(stage, time.monotonic() - begun)

        return timed

    def add(self, stage: str, seconds: float) -> None:
        """Add to a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def take(self) -> dict[str, float]:
        """All stages since the last time this was asked."""
        taken, self.seconds = self.seconds, {}
        return taken


@contextmanager
def watching(watch: Stopwatch) -> Iterator[None]:
    """Make the matrix's own functions tell their times; they are called by these names within their modules."""
    before: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, function: Any) -> None:
        before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, function)

    for (owner, name), stage in SWITCHING.items():
        put(owner, name, watch.around(stage, getattr(owner, name)))
    put(measure, "check", watch.around("check", measure.check))
    put(NodeSession, "run", _timed_client(watch, NodeSession.run))
    put(tasks, "measure", _iperf_told(watch, tasks.measure))
    try:
        yield
    finally:
        for owner, name, function in reversed(before):
            setattr(owner, name, function)


def _iperf_told(watch: Stopwatch, task: Callable[..., Result]) -> Callable[..., Result]:
    """The task, telling what it spent beside the client's run."""

    @functools.wraps(task)
    def told(*arguments: Any, **parameters: Any) -> Result:
        begun = time.monotonic()
        result = task(*arguments, **parameters)
        watch.add("start and stop server and samplers", time.monotonic() - begun - watch.seconds["client"])
        return result

    return told


def _timed_client(watch: Stopwatch, run: Callable[..., Any]) -> Callable[..., Any]:
    """A session's `run`, which the measurement uses for the client alone, telling what it took."""

    @functools.wraps(run)
    def timed(*arguments: Any, **parameters: Any) -> Any:
        begun = time.monotonic()
        try:
            return run(*arguments, **parameters)
        finally:
            watch.add("client", time.monotonic() - begun)

    return timed


@dataclass(frozen=True, slots=True)
class Repetition:
    """One repetition's wall time, its counted window, and its stages, all in seconds."""

    duration_s: int
    wall_s: float
    stages: dict[str, float]


@dataclass(frozen=True, slots=True)
class Visit:
    """What one visit took: switching by stage, repetitions, and entering and leaving one condition."""

    switching: dict[str, float]
    repetitions: tuple[Repetition, ...]
    condition_s: float


def visit(
    site: Site, engine: Engine, name: str, store: Store, watch: Stopwatch, durations_s: Sequence[int]
) -> Visit:
    """Stand a scenario up, measure, enter a condition once, and take all off."""
    watch.take()
    begun = time.monotonic()
    with provisioned(site, scenario_named(name)) as standing:
        switching = watch.take() | {"other": 0.0}
        switching["other"] = time.monotonic() - begun - sum(switching.values())
        repetitions = tuple(_repetitions(site, engine, standing, store, watch, durations_s))
        entered = time.monotonic()
        with impaired(site, engine, IMPAIRED, Placement()):
            pass
        condition_s = time.monotonic() - entered
        watch.take()
    switching |= watch.take()
    if complaints := site.take_complaints():
        raise VpnmeshError("; ".join(complaints))
    return Visit(switching, repetitions, condition_s)


def _repetitions(
    site: Site,
    engine: Engine,
    standing: Provisioned,
    store: Store,
    watch: Stopwatch,
    durations_s: Sequence[int],
) -> Iterator[Repetition]:
    """As the runner makes them: the check after one is the check before the next."""
    cell = Cell(standing.scenario.name, "none", "tcp", site.testbed.pairs[0])
    checked: Checked | None = None
    with impaired(site, engine, Condition(), Placement()) as impairment:
        for number, duration_s in enumerate(durations_s, start=1):
            profile = replace(PROFILES["paper"], duration_s=duration_s)
            watch.take()
            begun = time.monotonic()
            attempt = Attempt(cell, number, 1, number)
            record, checked = measure.measure(
                VisitContext(site, standing, profile, store), attempt, impairment, checked
            )
            store.append(record)
            wall_s = time.monotonic() - begun
            if isinstance(record.outcome, Failed):
                raise VpnmeshError(f"{cell.key}: {record.outcome.stage}: {record.outcome.reason}")
            yield Repetition(duration_s, wall_s, _stages(watch.take(), duration_s, profile.omit_s, wall_s))


def _stages(told: dict[str, float], duration_s: int, omit_s: int, wall_s: float) -> dict[str, float]:
    client_s = told.pop("client")
    stages = {
        "measuring": float(duration_s),
        "omitted second": float(omit_s),
        "iperf3's own start and end": client_s - duration_s - omit_s,
        **told,
    }
    return stages | {"parse, keep, journal": wall_s - sum(stages.values())}


def run(console: Console, size: Size) -> list[Figure]:
    """The share spent measuring of each scenario; prints breakdowns."""
    watch, visits, durations_s = Stopwatch(), dict[str, Visit](), DURATIONS_S[size]
    with lab_site() as site, TemporaryDirectory() as folder, watching(watch):
        engine = choose_engine(site)
        store = Store.create(Path(folder) / "run", secrets=site.secrets)
        for name in SCENARIOS:
            console.print(f"measuring: {name}, repetitions of {durations_s} s", style="dim", highlight=False)
            with console.status(name) if console.is_terminal else nullcontext():
                visits[name] = visit(site, engine, name, store, watch, durations_s)
    console.print(_breakdown(visits))
    console.print(_switching(visits))
    return _shares(visits, durations_s)


def _of(visited: Visit, duration_s: int) -> list[Repetition]:
    """The repetitions of that length but the very first, which also checks anew and happens once a visit."""
    return [one for one in visited.repetitions[1:] if one.duration_s == duration_s]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _shares(visits: dict[str, Visit], durations_s: Sequence[int]) -> list[Figure]:
    """Entering and leaving a condition is spread over the repetitions that a visit makes under it."""
    found = []
    for name, visited in visits.items():
        for duration_s in dict.fromkeys(durations_s):
            wall_s = _mean([one.wall_s for one in _of(visited, duration_s)])
            spread_s = wall_s + visited.condition_s / VISIT_REPETITIONS
            shares = (duration_s / wall_s, (duration_s + 1) / wall_s, duration_s / spread_s)
            told = "{:.1%} ({:.1%} with the omitted second, {:.1%} with entering a condition)".format(*shares)
            paper = PAPER_SHARES.get(duration_s)
            against = f"{paper:.0%} with the paper's tools" if paper else ""
            found.append(
                Figure(f"{name}: share of the time spent measuring at {duration_s} s", told, against)
            )
    return found


def _breakdown(visits: dict[str, Visit]) -> Table:
    table = Table(title="one repetition, seconds", title_justify="left")
    table.add_column("stage")
    columns = [
        (name, one, index)
        for name, visited in visits.items()
        for index, one in enumerate(visited.repetitions)
    ]
    for name, one, index in columns:
        table.add_column(f"{name}\n{one.duration_s} s{', first' if not index else ''}", justify="right")
    for stage in columns[0][1].stages:
        table.add_row(stage, *(f"{one.stages.get(stage, 0.0):.2f}" for _, one, _ in columns))
    table.add_row("wall", *(f"{one.wall_s:.2f}" for _, one, _ in columns))
    return table


def _switching(visits: dict[str, Visit]) -> Table:
    table = Table(title="switching, once a visit, and a condition, seconds", title_justify="left")
    table.add_column("stage")
    for name in visits:
        table.add_column(name, justify="right")
    for stage in (*SWITCHING.values(), "other"):
        told = [visited.switching.get(stage) for visited in visits.values()]
        table.add_row(stage, *("" if value is None else f"{value:.2f}" for value in told))
    table.add_row("switching", *(f"{sum(visited.switching.values()):.2f}" for visited in visits.values()))
    table.add_row(
        "impair: set, read back, burst, lift", *(f"{visited.condition_s:.2f}" for visited in visits.values())
    )
    return table
