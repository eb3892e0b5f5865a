"""A small matrix on the lab in which something breaks at a known moment, and what must hold whatever broke."""

import io
import math
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from tests.faults.table import Fault
from vpnmesh.lab.lifecycle import DEFAULT_PORT_RATE_MBIT_S
from vpnmesh.measurements import measurement_named
from vpnmesh.measurements.protocol import Question
from vpnmesh.model import Condition
from vpnmesh.solutions import solution_named
from vpnmesh.study.journal import RepetitionEnded, TeardownProblem, VisitStarted, of_kind
from vpnmesh.study.matrix import MatrixPlan, plan_matrix
from vpnmesh.study.profiles import PROFILES
from vpnmesh.study.record import Record
from vpnmesh.study.scenarios import scenario_named
from workflows.run import provenance
from workflows.run.impair import choose_engine
from workflows.run.measure import tuned
from workflows.run.progress import RunProgress
from workflows.run.runner import MatrixRun
from workflows.run.site import Site
from workflows.run.store import Store

Action = Callable[[], object]
WIRE_SHARE = 1.02
"""A rate of a short flow may be over its port's by what a queue held when counting began."""


class WatchedStore(Store):
    """A run on disk that lets something happen once a file of that name was kept, or that attempt was journalled."""

    def watch(self, at: Mapping[str, Action]) -> None:
        """What happens when; each once."""
        self.at = dict(at)

    def append(self, record: Record) -> None:
        """Write it down, then break what is to break after it."""
        super().append(record)
        self.at.pop(f"{record.cell.test} {record.repetition}", lambda: None)()

    def keep_raw(self, name: str, text: str) -> str:
        """Keep it, then break what is to break."""
        path = super().keep_raw(name, text)
        self.at.pop(name, lambda: None)()
        return path


@dataclass(frozen=True, slots=True)
class Matrix:
    """A plan of a few short cells between the lab's pair, and where it is carried out."""

    site: Site
    directory: Path
    scenarios: Sequence[str] = ("native-1450",)
    tests: Sequence[str] = ("ping",)
    conditions: Sequence[str] = ("none",)
    repetitions: int = 2
    duration_s: int = 1
    said: list[str] = field(default_factory=list)

    @property
    def plan(self) -> MatrixPlan:
        """Fixed, in one block."""
        profile = replace(
            PROFILES["quick"],
            scenarios=tuple(self.scenarios),
            conditions=tuple(Condition.parse(name) for name in self.conditions),
            tests=tuple(self.tests),
            repetitions_clean=self.repetitions,
            repetitions_impaired=self.repetitions,
            blocks=1,
            budget_min=None,
            duration_s=self.duration_s,
        )
        return plan_matrix(profile, self.site.testbed.pairs, seed=1)

    def raw(self, test: str, repetition: int, name: str, scenario: str = "") -> str:
        """Where that file of a repetition is kept below raw/, under the first condition."""
        pair = self.site.testbed.pairs[0]
        folder = f"{scenario or self.scenarios[0]}/{self.conditions[0]}/{test}"
        return f"{folder}/{pair.client}-to-{pair.server}/{repetition}/{name}"

    def run(self, at: Mapping[str, Action], mend: Action = lambda: None) -> Store:
        """Carry it out with these faults at these files, then hold all that holds of every run; returns the store.

        `mend` is what a person does before the run is gone on with.
        """
        manifest = provenance.request(self.plan.profile, 1, "lab", self.site.testbed)
        Store.create(self.directory, manifest)
        store = WatchedStore(self.directory, secrets=self.site.secrets)
        store.watch(at)
        before = provenance.footprint(self.site)
        self._carry_out(store)
        assert store.at == {}, "a fault never came"
        honest(self.site, self.plan, store)
        mend()
        left = provenance.compare_footprints(before, provenance.footprint(self.site))
        assert left == [], left
        self._goes_on()
        return store

    def _carry_out(self, store: Store) -> None:
        console = Console(record=True, width=300, quiet=False, file=io.StringIO())
        matrix = MatrixRun(self.site, self.plan, store, choose_engine(self.site))
        with RunProgress(console, self.plan, matrix.done) as progress:
            matrix.run(progress)
        store.write_results()
        self.said.append(console.export_text())

    def _goes_on(self) -> None:
        """Gone on with, the run finds everything done, reads all that it has written, and adds no row."""
        again = Store.open(self.directory)
        before = len(again.repetitions)
        assert before == self.plan.repetitions
        self._carry_out(again)
        assert len(again.repetitions) == before


def honest(site: Site, plan: MatrixPlan, store: Store) -> None:
    """Failed rows have a reason and no figure; measured ones what their raw files say, within what physics allows."""
    assert sorted(one.key for one in store.repetitions) == sorted(
        (job.cell.key, n) for visit in plan.visits for job in visit.jobs for n in job.repetitions
    )
    for one in store.repetitions:
        figures = figures_of(one)
        if one.outcome == "failed":
            assert one.stage
            assert one.reason
            assert figures == {}, one
            continue
        assert figures == again_from_raw(site, plan, store, one)
        for name, value in figures.items():
            assert plausible(name, value), (one.key, name, value)


def plausible(name: str, value: float) -> bool:
    """Whether a figure can be: no rate above the port's, no share outside of 0 to 100, no time that runs backwards."""
    if not math.isfinite(value) or value < 0:
        return False
    if name.endswith("_mbit_s") and name != "sent_mbit_s":
        return 0 < value <= DEFAULT_PORT_RATE_MBIT_S * WIRE_SHARE
    return not name.endswith("lost_pct") or value <= 100


def figures_of(one: RepetitionEnded) -> dict[str, float]:
    """Every figure that the journal has of a repetition."""
    columns = ("rate_mbit_s", "sent_mbit_s", "lost_pct", "retransmits", "cpu_pct")
    found = {name: one.columns().get(name) for name in columns}
    return {name: float(value) for name, value in found.items() if value is not None} | dict(one.samples)  # type: ignore[arg-type]


def again_from_raw(site: Site, plan: MatrixPlan, store: Store, one: RepetitionEnded) -> dict[str, float]:
    """The figures that the kept files of a repetition give."""
    solution, scenario = solution_named(scenario_named(one.scenario).solution), scenario_named(one.scenario)
    settings = tuned(plan.profile.settings, solution.tuning(scenario))
    condition = Condition.parse(one.condition)
    question = Question(
        site.testbed, one.cell.pair, condition, settings, scenario, solution.processes, solution.fallback_s
    )
    folder = store.directory / str(one.raw)
    raw = {path.name: path.read_text() for path in folder.iterdir()}
    measured = measurement_named(one.test).parse(raw, question)
    return {sample.name: sample.value for sample in measured.samples}


def complaints(store: Store) -> list[str]:
    """What teardowns of the run could not clean."""
    return [one.problem for one in of_kind(store.events, TeardownProblem)]


def failed(store: Store, fault: Fault) -> list[str]:
    """The failed repetitions as `SCENARIO TEST NUMBER`; every one of them failed as the fault is declared to fail."""
    rows = [one for one in store.repetitions if one.outcome == "failed"]
    others = [(one.key, one.stage, one.reason) for one in rows if not fault.failed(one)]
    assert others == [], others
    return [f"{one.scenario} {one.test} {one.repetition}" for one in rows]


def set_up_anew(store: Store) -> list[str]:
    """Why scenarios were set up anew."""
    return [one.again for one in of_kind(store.events, VisitStarted) if one.again]


def soon(action: Action, after_s: float) -> Action:
    """The action, made a moment later beside whatever happens then."""

    def begin() -> None:
        timer = threading.Timer(after_s, action)
        timer.daemon = True
        timer.start()

    return begin


def in_node(pid: int, script: str, *arguments: str) -> str:
    """What a shell script prints in the namespaces of a node's process, without its SSH server."""
    argv = ("nsenter", "-t", str(pid), "-a", "sh", "-c", script, "sh", *arguments)
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
