"""CPU and RAM from samples of /proc: sums over a namespace, or a machine's own figures."""

from pathlib import Path

import pytest

from vpnmesh.errors import ToolError
from vpnmesh.model import NodeKind
from vpnmesh.tools import load


def stat(pid: int, name: str, user: int, system: int, pages: int = 100) -> str:
    """A line of /proc/PID/stat with these ticks."""
    return f"{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 {user} {system} 0 0 20 0 1 0 100 4096 {pages} 0 0"


def sample(uptime: float, cpu: str, tx: int, *processes: str) -> str:
    """One sample as the node's script prints it."""
    memory = "MemTotal:       2000 kB\nMemAvailable:   500 kB"
    return "\n".join([f"@sample {uptime}", f"cpu  {cpu} 0 0", f"tx {tx}", memory, *processes, "cut"]) + "\n"


RAW = "".join(
    (
        sample(10.0, "0 0 0 0 0 0 0 0", 1000, stat(1, "tini", 0, 0), stat(7, "a (b) c", 5, 5)),
        sample(11.0, "100 0 50 50 0 10 20 0", 5000, stat(1, "tini", 0, 0), stat(7, "a (b) c", 55, 30)),
        sample(12.0, "200 0 100 100 0 20 40 0", 9000, stat(1, "tini", 0, 10), stat(7, "a (b) c", 105, 55)),
        "@sample 12.5\ncpu  9",
    )
)


def test_a_namespace_is_the_sum_of_its_processes() -> None:
    """CPU in percent of one core, user and system apart, over the window asked for."""
    one = load.parse(RAW, NodeKind.NETNS, ["a (b) c"], window_s=2)
    assert pytest.approx(50.0) == one.cpu_user_pct
    assert pytest.approx(30.0) == one.cpu_system_pct
    assert pytest.approx(75.0) == one.solution_cpu_pct
    assert pytest.approx(200 * 4096 / 1e6) == one.ram_mb
    assert pytest.approx(100 * 4096 / 1e6) == one.solution_ram_mb
    assert one.tx_bytes == 8000


def test_the_window_is_the_end_of_the_samples() -> None:
    """A window of one second starts at the last sample but one; bytes are counted over all of them."""
    one = load.parse(RAW, NodeKind.NETNS, [], window_s=1)
    assert one.samples == 2
    assert pytest.approx(35.0) == one.cpu_system_pct
    assert one.tx_bytes == 8000


def test_a_machine_is_its_own_figure_with_softirq() -> None:
    """On metal the machine's CPU and memory are the node's."""
    one = load.parse(RAW, NodeKind.METAL, [], window_s=2)
    assert pytest.approx(100.0) == one.cpu_user_pct
    assert pytest.approx(80.0) == one.cpu_system_pct
    assert pytest.approx(20.0) == one.machine_softirq_pct
    assert pytest.approx(1500 * 1024 / 1e6) == one.ram_mb


def test_one_sample_is_no_measurement() -> None:
    """A difference needs two samples; fewer is a reason, not a zero."""
    with pytest.raises(ToolError, match="1 samples"):
        load.parse(sample(10.0, "0 0 0 0 0 0 0 0", 0, stat(1, "a", 0, 0)), NodeKind.NETNS, [], 1)


def test_real_samples_of_a_lab_node(captured: Path) -> None:
    """The relay's own samples: nebula worked, and more than a megabyte passed."""
    raw = (captured / "load" / "relay-namespace.txt").read_text()
    one = load.parse(raw, NodeKind.NETNS, ["nebula"], window_s=1)
    assert 0 < one.solution_cpu_pct < one.cpu_pct + 1e-6 < 200
    assert one.tx_bytes > 1_000_000
    assert one.machine_softirq_pct > 0
