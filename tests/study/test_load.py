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
    return "\n".join([f"@sample {uptime}", f"cpu  {cpu} 0 0", f"tx {tx}", memory, *processes, "@end"]) + "\n"


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


def born(
    pid: int, parent: int, name: str, own: int, children: int = 0, start: int = 100, state: str = "S"
) -> str:
    """A line of /proc/PID/stat with user ticks of its own, and of children that it waited for."""
    tail = f"0 {children} 0 20 0 1 0 {start} 4096 100 0 0"
    return f"{pid} ({name}) {state} {parent} 1 1 0 -1 0 0 0 0 0 {own} {tail}"


def three(*samples: tuple[str, ...]) -> str:
    """Samples one second apart from uptime 10."""
    return "".join(sample(10.0 + i, "0 0 0 0 0 0 0 0", 0, *one) for i, one in enumerate(samples))


ENDINGS = {
    "alive": (born(1, 0, "tini", 0), born(2, 1, "sh", 0), born(3, 2, "burn", 200)),
    "ended, not waited for": (born(1, 0, "tini", 0), born(2, 1, "sh", 0), born(3, 2, "burn", 200, state="Z")),
    "ended, waited for": (born(1, 0, "tini", 0), born(2, 1, "sh", 0, 200)),
    "orphaned, waited for by init": (born(1, 0, "tini", 0, 200), born(2, 1, "sh", 0)),
    "ended with its parent": (born(1, 0, "tini", 0, 200),),
    "its number is another's now": (
        born(1, 0, "tini", 0),
        born(2, 1, "sh", 0, 200),
        born(3, 1, "new", 0, start=900),
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_core_is_a_core_however_its_process_ends(ending: str) -> None:
    """One process takes a core for two seconds; what it took before the window is nobody's load in it."""
    before = (born(1, 0, "tini", 0), born(2, 1, "sh", 0), born(3, 2, "burn", 0))
    middle = (born(1, 0, "tini", 0), born(2, 1, "sh", 0), born(3, 2, "burn", 100))
    raw = three(before, middle, ENDINGS[ending])
    assert pytest.approx(100.0) == load.parse(raw, NodeKind.NETNS, [], window_s=1).cpu_pct
    assert pytest.approx(100.0) == load.parse(raw, NodeKind.NETNS, [], window_s=2).cpu_pct


def test_a_grandchild_counts_once() -> None:
    """A process ends, then its parent: both pass on what they took, and what was before the window is taken off."""
    raw = three(
        (born(1, 0, "tini", 0), born(2, 1, "sh", 10, 5), born(3, 2, "sh", 20), born(4, 3, "burn", 70)),
        (born(1, 0, "tini", 0), born(2, 1, "sh", 10, 5), born(3, 2, "sh", 20, 110)),
        (born(1, 0, "tini", 0), born(2, 1, "sh", 10, 145)),
    )
    one = load.parse(raw, NodeKind.NETNS, [], window_s=2)
    assert pytest.approx(100 * (145 - 5 - 20 - 70) / 200) == one.cpu_pct


def test_what_begins_and_ends_between_two_samples_counts() -> None:
    """Its ticks are seen through the parent that waited for it."""
    raw = three(
        (born(1, 0, "tini", 0), born(2, 1, "sh", 0)), (born(1, 0, "tini", 0), born(2, 1, "sh", 0, 30))
    )
    assert pytest.approx(30.0) == load.parse(raw, NodeKind.NETNS, [], window_s=1).cpu_pct


def test_a_process_whose_parent_is_outside_takes_nothing_away() -> None:
    """Who entered the namespace from outside (parent 0) is waited for out there: its end is no negative load."""
    raw = three(
        (born(1, 0, "tini", 0), born(5, 0, "entered", 500), born(7, 1, "vpn", 0)),
        (born(1, 0, "tini", 0), born(7, 1, "vpn", 40)),
    )
    assert pytest.approx(40.0) == load.parse(raw, NodeKind.NETNS, [], window_s=1).cpu_pct


def test_a_solutions_helper_that_ended_counts_from_the_windows_start() -> None:
    """A daemon's child took 90 ticks before the window and 10 in it; only those are the solution's."""
    raw = three(
        (born(1, 0, "tini", 0), born(7, 1, "vpnd", 0), born(8, 7, "iptables", 90)),
        (born(1, 0, "tini", 0), born(7, 1, "vpnd", 5, 100)),
    )
    one = load.parse(raw, NodeKind.NETNS, ["vpnd"], window_s=1)
    assert pytest.approx(15.0) == one.solution_cpu_pct


def test_the_window_ends_with_the_tool() -> None:
    """Samples after the tool's end are of an idle node: they are not among the measured seconds."""
    busy = [(born(1, 0, "tini", 0), born(3, 1, "iperf3", 100 * i)) for i in range(3)]
    idle = [(born(1, 0, "tini", 0, 200),)] * 2
    raw = three(*busy, *idle)
    assert pytest.approx(100.0) == load.parse(raw, NodeKind.NETNS, [], window_s=2, tool="iperf3").cpu_pct
    assert pytest.approx(50.0) == load.parse(raw, NodeKind.NETNS, [], window_s=4).cpu_pct


def test_samples_without_the_tool_are_all_there_is() -> None:
    """The relay has no iperf3: its window is the end of its samples."""
    raw = three((born(1, 0, "tini", 0),), (born(1, 0, "tini", 50),))
    assert pytest.approx(50.0) == load.parse(raw, NodeKind.NETNS, [], window_s=1, tool="iperf3").cpu_pct


def test_every_process_of_a_sample_counts() -> None:
    """The one that is listed last too, whichever that is: here the two change places."""
    raw = three(
        (born(1, 0, "tini", 0), born(7, 1, "vpnd", 10), born(8, 1, "iperf3", 500)),
        (born(1, 0, "tini", 0), born(8, 1, "iperf3", 510), born(7, 1, "vpnd", 20)),
    )
    one = load.parse(raw, NodeKind.NETNS, ["vpnd"], window_s=1)
    assert pytest.approx(20.0) == one.cpu_pct
    assert pytest.approx(10.0) == one.solution_cpu_pct


@pytest.mark.parametrize("cut", ["line", "list"])
def test_a_sample_that_was_cut_off_does_not_count(cut: str) -> None:
    """The sampler is ended anywhere: within a line, or after one, when processes are missing that nobody ended."""
    whole = (born(1, 0, "tini", 0), born(7, 1, "vpnd", 10)), (born(1, 0, "tini", 0), born(7, 1, "vpnd", 40))
    last = sample(12.0, "0 0 0 0 0 0 0 0", 0, *whole[1]).removesuffix("@end\n")
    cut_off = last[:-20] if cut == "line" else "".join(last.splitlines(keepends=True)[:-1])
    one = load.parse(three(*whole) + cut_off, NodeKind.NETNS, [], window_s=2)
    assert pytest.approx(30.0) == one.cpu_pct
    assert one.samples == 2
