"""How the tests lie beside each other on pytest-xdist's workers, and what is shown meanwhile.

A worker takes a whole file, so that its lab is built once; files that take minutes are cut into parts, each with a
lab of its own, and the longest come first. Every test of NetBox is one part: there is one server.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from xdist.scheduler import LoadScopeScheduling

NETBOX = "tests/netbox/"
PART_S = 120
"""A part more is a lab more, and whatever a file prepares for all its tests."""
SECONDS: Mapping[str, int] = {
    "tests/bench/test_bench.py": 320,
    "tests/crash/test_every_point.py": 240,
    "tests/firewall/test_kill.py": 90,
    "tests/firewall/test_manual_processes.py": 75,
    "tests/inventory/test_ugly_files.py": 50,
    "tests/live/test_adaptive_live.py": 190,
    "tests/live/test_api_live.py": 135,
    "tests/live/test_bad_luck.py": 235,
    "tests/live/test_cluster_calico.py": 45,
    "tests/live/test_cluster_command_live.py": 400,
    "tests/live/test_cluster_health.py": 305,
    "tests/live/test_cluster_k3s.py": 180,
    "tests/live/test_cluster_kubernetes.py": 255,
    "tests/live/test_crash_live.py": 335,
    "tests/live/test_criteria_verify.py": 150,
    "tests/live/test_dask.py": 60,
    "tests/live/test_dask_mesh.py": 15,
    "tests/live/test_do_no_harm.py": 55,
    "tests/live/test_doctor_live.py": 60,
    "tests/live/test_encryption.py": 60,
    "tests/live/test_fallback.py": 110,
    "tests/live/test_faults_nodes.py": 90,
    "tests/live/test_faults_tools.py": 95,
    "tests/live/test_faults_vpns.py": 70,
    "tests/live/test_firewall.py": 40,
    "tests/live/test_firewall_pfsense.py": 130,
    "tests/live/test_firewall_walk_through.py": 40,
    "tests/live/test_gate.py": 175,
    "tests/live/test_headscale.py": 275,
    "tests/live/test_impair_command.py": 60,
    "tests/live/test_impairment_engine.py": 60,
    "tests/live/test_impairment_more.py": 60,
    "tests/live/test_lab.py": 105,
    "tests/live/test_lab_containers.py": 60,
    "tests/live/test_ladder.py": 225,
    "tests/live/test_lease_live.py": 120,
    "tests/live/test_leftovers.py": 2,
    "tests/live/test_load_live.py": 10,
    "tests/live/test_many_hosts.py": 40,
    "tests/live/test_matrix.py": 240,
    "tests/live/test_mesh_live.py": 95,
    "tests/live/test_nat_grid.py": 120,
    "tests/live/test_native_tuning.py": 45,
    "tests/live/test_netbird.py": 195,
    "tests/live/test_one_of_each.py": 60,
    "tests/live/test_placement.py": 20,
    "tests/live/test_push_files.py": 15,
    "tests/live/test_repl_tour.py": 25,
    "tests/live/test_scenario_file.py": 120,
    "tests/live/test_secrets.py": 240,
    "tests/live/test_solutions.py": 320,
    "tests/live/test_stability.py": 35,
    "tests/live/test_steady_live.py": 30,
    "tests/live/test_tasks.py": 25,
    "tests/live/test_twin_live.py": 20,
    "tests/live/test_verify_killed.py": 50,
    # in one part, though it takes longer: its tests share three meshes, one after the other
    "tests/live/test_why.py": PART_S,
    "tests/report/test_advice.py": 35,
    "tests/report/test_figures.py": 35,
    "tests/report/test_tables.py": 30,
    "tests/stats/test_sequential_errors.py": 60,
    "tests/study/test_adaptive_against_fixed.py": 90,
}
"""What files take that take long, in seconds, on two cores with four workers; the rest is short. Only the order and the
cut depend on it."""


def file_of(nodeid: str) -> str:
    """The file that a test is in."""
    return nodeid.partition("::")[0]


def earliness(file: str, tests: Mapping[str, int]) -> tuple[float, int]:
    """What files are sorted by, the greatest first: seconds of a part, then the number of its tests.

    NetBox is first of all, for it cannot be cut.
    """
    # no test is cut, so a file of one test is one part, however long
    cut = max(1, min(parts(file), tests[file]))
    return math.inf if file.startswith(NETBOX) else SECONDS.get(file, 0) / cut, tests[file]


def parts(file: str) -> int:
    """How many parts a file is cut into, none longer than about two minutes."""
    return max(1, math.ceil(SECONDS.get(file, 0) / PART_S))


@dataclass
class Cut:
    """Which part each test is in; the tests of a file go to its parts in turn, as they are asked for."""

    known: dict[str, str] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def part(self, nodeid: str) -> str:
        """The name of the test's part."""
        if nodeid not in self.known:
            file = file_of(nodeid)
            turn = self.seen[file] % parts(file)
            self.seen[file] += 1
            self.known[nodeid] = NETBOX if file.startswith(NETBOX) else f"{file} {turn}"
        return self.known[nodeid]


class Parts(LoadScopeScheduling):  # type: ignore[misc]
    """What a worker takes at once: a file, or a part of a long one."""

    def __init__(self, config: pytest.Config, log: object = None) -> None:
        super().__init__(config, log)
        self._cut = Cut()

    def _split_scope(self, nodeid: str) -> str:
        """The name of what is taken at once."""
        return self._cut.part(nodeid)


@dataclass
class LinePerFile:
    """Shows a line for every file that is through, and at once every test that failed; no letter per test."""

    terminal: pytest.TerminalReporter
    left: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    done: int = 0

    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Every worker collects the same tests; the first one's count."""
        self.left = self.left or Counter(map(file_of, ids))
        self.outcomes = self.outcomes or {file: Counter() for file in self.left}

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, tuple[str, str, object], tuple[str, str, object]]:
        """Take the letter away."""
        category, _, word = yield
        return category, "", word

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count it, and name a failure."""
        file = file_of(report.nodeid)
        if file not in self.outcomes:
            return
        self.seconds[file] += report.duration
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[file][report.outcome] += 1
        if report.failed:
            self.terminal.write_line(f"FAILED {report.nodeid} ({report.when})", red=True)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """The line of a file whose last test has ended."""
        file = file_of(nodeid)
        self.done += 1
        self.left[file] -= 1
        if self.left[file] == 0:
            found = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes[file].items()))
            percent = 100 * self.done // (self.done + self.left.total())
            self.terminal.write_line(f"[{percent:3}%] {file}: {found}, {self.seconds[file]:.0f} s")


def shows_lines(config: pytest.Config) -> bool:
    """Whether this process is the one that hears of all workers, and was not asked to say more or less."""
    option = config.option
    return (
        getattr(option, "dist", "no") != "no" and not hasattr(config, "workerinput") and option.verbose == 0
    )
