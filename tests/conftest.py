"""What all tests share: where the captured outputs are, a testbed, speed by folder, the closing list of skips."""

import signal
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from inventory.load import load
from tests.needs import summary
from tests.side_by_side import LinePerFile, Parts, earliness, file_of, shows_lines
from vpnmesh.model import Testbed

ROOT = Path(__file__).resolve().parents[1]

# how long an example takes tells more of the machine's other load than of the code
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")


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
    "tests/firewall/test_manual_processes.py",
    "tests/firewall/test_quirks.py",
    "tests/lab/test_programs_from_modules.py",
    "tests/report/test_chromium.py",
    "tests/report/test_paper_command.py",
    "tests/stats/test_sequential_errors.py",
    "tests/switch/test_simulated.py",
    "tests/test_side_by_side.py",
)
"""What `make test-fast` leaves out: benchmarks, processes that are killed or asked anew, pfSense's quirks, Go's builds,
a browser, the whole study by command, simulated studies by the hundred, simulated switches, pytest called anew."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what takes long, by file, and on several workers begin with it."""
    for item in items:
        if file_of(item.nodeid) in SLOW:
            item.add_marker(pytest.mark.slow)
    if hasattr(config, "workerinput"):
        tests = Counter(file_of(item.nodeid) for item in items)
        items.sort(key=lambda item: earliness(file_of(item.nodeid), tests), reverse=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Parts | None:
    """By file means: parts of the long ones too, and in the order in which they were collected."""
    if config.option.dist != "loadfile":
        return None
    config.option.loadscopereorder = False
    return Parts(config, log)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Several workers at once show a line per file; Ctrl-C is heard, also by a run in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # as a shell starts what ends in `&`: tests send it to themselves and to programs, and would wait without end
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if shows_lines(config):
        config.pluginmanager.register(LinePerFile(config.pluginmanager.getplugin("terminalreporter")))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List every skipped test below its reason, before pytest's closing line."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons = [(report.nodeid, report.longrepr[2].removeprefix("Skipped: ")) for report in skipped]
    terminalreporter.section(f"{len(skipped)} tests skipped, by reason")
    for line in summary(reasons):
        terminalreporter.line(line)
