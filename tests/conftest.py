"""What all tests share: where the captured outputs are, a testbed, speed by folder, the closing list of skips."""

from pathlib import Path

import pytest

from inventory.load import load
from tests.needs import summary
from vpnmesh.model import Testbed

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def captured() -> Path:
    """The folder of real tool outputs."""
    return ROOT / "tests" / "captured"


@pytest.fixture(scope="session")
def bed() -> Testbed:
    """The lab's testbed, as its inventory has it."""
    return load("lab")[1]


SLOW = (
    "tests/bench/test_bench.py",
    "tests/firewall/test_kill.py",
    "tests/lab/test_programs_from_modules.py",
    "tests/report/test_chromium.py",
    "tests/report/test_paper_command.py",
    "tests/stats/test_sequential.py",
    "tests/switch/test_simulated.py",
)
"""What `make test-fast` leaves out: benchmarks, a process killed at every call, Go's builds, a browser, the whole study
by command, simulated studies by the hundred, simulated switches."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long, by file."""
    for item in items:
        if item.nodeid.split("::")[0] in SLOW:
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List every skipped test below its reason, before pytest's closing line."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons = [(report.nodeid, report.longrepr[2].removeprefix("Skipped: ")) for report in skipped]
    terminalreporter.section(f"{len(skipped)} tests skipped, by reason")
    for line in summary(reasons):
        terminalreporter.line(line)
