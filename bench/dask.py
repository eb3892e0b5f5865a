"""Tasks by threads of the controller and by Dask workers at the hosts' site: hosts, distance, seconds, processor time.

Three questions, one after the other, to every host; first with the logins, then again over the open connections. All
is on one machine: one sshd in a network of its own answers at as many addresses as there are hosts, and the lab's own
delay line is between that network and the controller's. Workers are in the hosts' network, as they are at a site.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nornir.core import Nornir
from nornir.core.inventory import ConnectionOptions
from rich.console import Console
from rich.table import Table

from bench.dask_task import three_questions
from bench.figures import Figure, Size
from bench.sandbox import private_place
from inventory.across.logins import Login
from inventory.runner import BoundedRunner
from tests.live.far_sites import EDGE, FarSites, far_sites, in_edge
from vpnmesh.errors import VpnmeshError
from vpnmesh.lab.nfqueue.build import binary_path, build
from vpnmesh.lab.waiting import wait_until

THREADS, ONE, TWO = "threads of the controller", "1 worker there", "2 workers there"
CASES = {
    Size.FULL: ((50, 0), (50, 50), (50, 100), (200, 0), (200, 50), (1000, 0)),
    Size.SMOKE: ((3, 0), (3, 20)),
}
"""Hosts, and the round trip between controller and site in ms."""
AT_ONCE = 256
"""Hosts that a worker asks at once."""
PASSES = 3
"""Over connections that are open; the least is shown, for load only adds."""
_DELAYED = ("iptables", "-t", "mangle", "{}", "OUTPUT", "-o", "far1", "-j", "NFQUEUE", "--queue-num", "7")
COLUMNS = (
    "hosts",
    "round trip ms",
    "who asks",
    "first pass s",
    "again s",
    "controller's processor s, first and again",
)


@dataclass(frozen=True, slots=True)
class Took:
    """One way to ask, at one size and distance: seconds of both passes, and the controller's processor time."""

    hosts: int
    rtt_ms: int
    way: str
    first_s: float
    again_s: float
    first_cpu_s: float
    again_cpu_s: float

    def cells(self) -> tuple[str, ...]:
        """In the order of COLUMNS."""
        used = f"{self.first_cpu_s:.1f} and {self.again_cpu_s:.2f}"
        return (
            str(self.hosts),
            str(self.rtt_ms),
            self.way,
            f"{self.first_s:.1f}",
            f"{self.again_s:.2f}",
            used,
        )


def run(console: Console, size: Size) -> list[Figure]:
    """Every case, one way after the other."""
    found: list[Took] = []
    cases = CASES[size]
    with private_place() as place:
        (folder := place / "far").mkdir()
        with far_sites(folder, max(hosts for hosts, _ in cases), guarded=False) as sites:
            sites.start_scheduler()
            for hosts, rtt_ms in cases:
                for way in (THREADS, ONE, TWO):
                    with distance(sites, rtt_ms):
                        found.append(_case(sites, hosts, rtt_ms, way))
                    console.print("  ".join(found[-1].cells()), highlight=False, style="dim")
    table = Table(*COLUMNS, title="three questions to every host", title_justify="left")
    for one in found:
        table.add_row(*one.cells())
    console.print(table)
    return _figures(found)


def _figures(found: list[Took]) -> list[Figure]:
    by_threads = {(one.hosts, one.rtt_ms): one for one in found if one.way == THREADS}
    figures = []
    for one in found:
        other = by_threads[one.hosts, one.rtt_ms]
        if one is other:
            continue
        what = f"{one.hosts} hosts at {one.rtt_ms} ms, {one.way}, first pass and again"
        ratio = f"{one.first_s / other.first_s:.1f} and {one.again_s / other.again_s:.1f}"
        against = f"{other.first_s:.1f} and {other.again_s:.2f} s by {THREADS}"
        figures.append(Figure(what, f"{one.first_s:.1f} and {one.again_s:.2f} s", against, ratio))
    return figures


@contextmanager
def distance(sites: FarSites, rtt_ms: int) -> Iterator[None]:
    """The delay line on what the site sends: a round trip takes so much longer."""
    if not rtt_ms:
        yield
        return
    enter = ("nsenter", f"--net=/proc/{sites.edge_pid}/ns/net")
    argv = (
        str(build(binary_path())),
        "--queue",
        "7",
        "--delay-ms",
        str(rtt_ms),
        "--limit",
        "100000",
        "--foreground",
    )
    line = subprocess.Popen(("setpriv", "--pdeathsig", "KILL", *enter, *argv))
    try:
        queues = ("cat", "/proc/net/netfilter/nfnetlink_queue")
        wait_until(lambda: subprocess.run((*enter, *queues), capture_output=True, check=True).stdout, 10.0)
        in_edge(sites.edge_pid, *(word.format("-A") for word in _DELAYED))
        yield
    finally:
        in_edge(sites.edge_pid, *(word.format("-D") for word in _DELAYED))
        line.terminate()
        line.wait()


def _case(sites: FarSites, hosts: int, rtt_ms: int, way: str) -> Took:
    if way == THREADS:
        nr = sites.nornir(BoundedRunner(), (EDGE,), hosts)
        _log_in(nr, sites.folder)
        try:
            return _timed(nr, hosts, rtt_ms, way)
        finally:
            nr.close_connections()
    names = [f"site-{number}" for number in range(1 if way == ONE else 2)]
    sites.start_workers(dict.fromkeys(names, EDGE), threads=AT_ONCE)
    runner = sites.runner()
    try:
        wait_until(lambda: len(runner.workers()), 60.0, good=lambda count: count == len(names))
        return _timed(sites.nornir(runner, (EDGE,), hosts), hosts, rtt_ms, way)
    finally:
        runner.close()
        for name in names:
            sites.end(name)


def _log_in(nr: Nornir, folder: Path) -> None:
    """The controller's own logins, which it does not have in the tests."""
    login = Login(key_file=str(folder / "id_ed25519"), known_hosts=str(folder / "known_hosts"))
    extras = {**login.extras(), "allow_agent": False}
    for host in nr.inventory.hosts.values():
        host.connection_options["netmiko"] = ConnectionOptions(extras=extras)


def _timed(nr: Nornir, hosts: int, rtt_ms: int, way: str) -> Took:
    first_s, first_cpu_s = _pass(nr)
    again = [_pass(nr) for _ in range(PASSES)]
    return Took(
        hosts, rtt_ms, way, first_s, min(one for one, _ in again), first_cpu_s, min(used for _, used in again)
    )


def _pass(nr: Nornir) -> tuple[float, float]:
    """Seconds on the clock and of this process's processor; VpnmeshError where a host did not answer."""
    began_s, used_s = time.monotonic(), time.process_time()
    done = nr.run(three_questions, on_failed=True)
    took = time.monotonic() - began_s, time.process_time() - used_s
    if failed := done.failed_hosts:
        name, results = next(iter(failed.items()))
        raise VpnmeshError(f"{len(failed)} hosts failed; {name}: {results[0].exception}")
    return took
