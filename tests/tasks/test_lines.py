"""One login at a time per host: its line, with the lock, is among the host's own connections; no two hosts share it."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

from nornir.core.inventory import Host

from inventory.lines import Line, line_of


def lines_of(host: Host, threads: int) -> set[int]:
    """The lines that so many threads get which ask at the same moment."""
    start = threading.Barrier(threads)

    def ask() -> Line:
        start.wait()
        return line_of(host)

    jobs: list[Callable[[], Line]] = [ask] * threads
    with ThreadPoolExecutor(threads) as pool:
        found = [future.result() for future in [pool.submit(job) for job in jobs]]
    return {id(lock) for lock in found}


def test_all_threads_get_the_hosts_one_line() -> None:
    """However many come first at once."""
    for _ in range(20):
        assert len(lines_of(Host(name="worker1"), 8)) == 1


def test_hosts_of_the_same_name_have_locks_of_their_own() -> None:
    """Two inventories in one process do not wait for each other."""
    assert line_of(Host(name="worker1")) is not line_of(Host(name="worker1"))


def test_closing_a_hosts_connections_takes_the_lock_along() -> None:
    """Nornir closes what it finds there; the next login has a lock again."""
    host = Host(name="worker1")
    line_of(host)
    host.close_connections()
    assert Line.NAME not in host.connections
    with line_of(host).lock:
        assert Line.NAME in host.connections


def test_a_line_that_was_cut_is_dead_at_once() -> None:
    """Whoever asks next logs in anew, though paramiko notices a moment later; a new login on it is alive."""

    def logged_in() -> Any:
        transport = SimpleNamespace(is_active=lambda: True, sock=SimpleNamespace(close=lambda: None))
        return SimpleNamespace(get_transport=lambda: transport, close=lambda: None)

    line = line_of(Host(name="worker1"))
    line.client = logged_in()
    assert line.is_alive()
    line.cut()
    assert not line.is_alive()
    line.client = logged_in()
    assert line.is_alive()
