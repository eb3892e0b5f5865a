"""One login at a time per host: the lock is among the host's own connections, and hosts do not share it."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from nornir.core.inventory import Host

from tasks.connection import LoginLock, _login_lock


def locks_of(host: Host, threads: int) -> set[int]:
    """The locks that so many threads get which ask at the same moment."""
    start = threading.Barrier(threads)

    def ask() -> threading.Lock:
        start.wait()
        return _login_lock(host).connection

    jobs: list[Callable[[], threading.Lock]] = [ask] * threads
    with ThreadPoolExecutor(threads) as pool:
        found = [future.result() for future in [pool.submit(job) for job in jobs]]
    return {id(lock) for lock in found}


def test_all_threads_get_the_hosts_one_lock() -> None:
    """However many come first at once."""
    for _ in range(20):
        assert len(locks_of(Host(name="worker1"), 8)) == 1


def test_hosts_of_the_same_name_have_locks_of_their_own() -> None:
    """Two inventories in one process do not wait for each other."""
    assert _login_lock(Host(name="worker1")) is not _login_lock(Host(name="worker1"))


def test_closing_a_hosts_connections_takes_the_lock_along() -> None:
    """Nornir closes what it finds there; the next login has a lock again."""
    host = Host(name="worker1")
    _login_lock(host)
    host.close_connections()
    assert LoginLock.NAME not in host.connections
    with _login_lock(host).connection:
        assert LoginLock.NAME in host.connections
