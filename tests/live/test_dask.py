"""Dask workers at two sites, real SSH hosts: who asks whom, what travels, what becomes of it when something is lost."""

import os
import signal
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed.comm import tcp
from nornir.core import Nornir
from nornir.core.inventory import ConnectionOptions
from nornir.core.task import AggregatedResult, MultiResult

import tasks
from inventory.across.certificates import Credentials, make_credentials
from inventory.across.dispatch import DaskWorkerLostError
from inventory.across.link import DaskLostError
from inventory.across.parcel import Seal
from inventory.across.placing import NoDaskWorkerError
from inventory.across.results import DaskTaskError
from inventory.dask_runner import DaskRunner
from tests.live import far_tasks
from tests.live.conftest import private_network
from tests.live.far_sites import EDGE, HERE, PORT, SCHEDULER, FarSites, address_of, far_sites
from vpnmesh.errors import CommandError, InputError, NodeUnreachableError, TurnEndedError
from vpnmesh.lab.waiting import wait_until
from vpnmesh.plan import Secret
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.interrupts import InterruptedRunError, interruptible

pytestmark = pytest.mark.live

WHO = ("sh", "-c", "echo $SSH_CONNECTION")
HOSTS = 6
THREADS = 2
MANY = THREADS + 1
WAIT_S = 60.0
FIRST, SECOND = "edge-left", "edge-right"


@pytest.fixture(scope="module")
def sites(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarSites]:
    """A scheduler, a worker here, and two at the edge that ask two hosts at once each."""
    with private_network(), far_sites(tmp_path_factory.mktemp("far"), HOSTS) as both:
        both.start_scheduler()
        both.start_workers({"here-a": HERE, FIRST: EDGE, SECOND: EDGE}, threads=THREADS)
        yield both


@pytest.fixture
def runner(sites: FarSites) -> Iterator[DaskRunner]:
    """The controller's, with both workers of the edge there."""
    sites.start_workers(
        {name: EDGE for name in (FIRST, SECOND) if name not in sites.running}, threads=THREADS
    )
    made = sites.runner()
    wait_until(lambda: len(made.workers()), WAIT_S, good=lambda count: count == 3)
    yield made
    made.close()


@pytest.fixture
def nr(sites: FarSites, runner: DaskRunner) -> Nornir:
    """All hosts."""
    return sites.nornir(runner)


def test_each_host_is_asked_from_its_own_site(nr: Nornir) -> None:
    """The controller has no route to the edge, and nothing gets in there; its hosts answer all the same."""
    for address in (address_of(EDGE, 1), "10.77.0.2"):
        with pytest.raises(OSError, match=r"unreachable|timed out"):
            socket.create_connection((address, 22), timeout=1)
    found = run_on(nr, nr.inventory.hosts, tasks.run_command, argv=WHO)
    assert {name: one.result.split()[2] for name, one in found.items()} == {
        f"{site}-{number}": address_of(site, number)
        for site in (HERE, EDGE)
        for number in range(1, HOSTS + 1)
    }


def test_connections_stay_open_between_tasks_and_controllers(sites: FarSites, nr: Nornir) -> None:
    """The client's port is the same: for the next task, and for another controller of another day."""
    first = _ports(nr)
    assert _ports(nr) == first
    other = sites.runner()
    assert _ports(sites.nornir(other)) == first
    other.close()


def _ports(nr: Nornir) -> dict[str, str]:
    found = run_on(nr, nr.inventory.hosts, tasks.run_command, argv=WHO)
    return {name: one.result.split()[1] for name, one in found.items()}


def test_a_change_comes_back_with_its_diff_and_is_none_the_second_time(nr: Nornir, tmp_path: Path) -> None:
    """What every converging task promises holds from afar."""
    wanted = {"path": str(tmp_path / "engine"), "program": b"#!/bin/sh\n"}
    first = run_on(nr, ["edge-1"], tasks.install_engine, **wanted)["edge-1"]
    again = run_on(nr, ["edge-1"], tasks.install_engine, **wanted)["edge-1"]
    assert (first.changed, bool(first.diff), again.changed, again.diff) == (True, True, False, "")
    assert first.host is nr.inventory.hosts["edge-1"]


def test_a_second_worker_of_a_name_says_that_it_is_taken(sites: FarSites, runner: DaskRunner) -> None:
    """In a sentence after Dask's own line, with exit code 1; the first one stays."""
    own = ("--credentials", str(sites.credentials / "worker"), "--logins", str(sites.folder / "logins.yaml"))
    sites.launch("twin", "worker", sites.address, *own, "--name", "here-a", "--reaches", HERE)
    try:
        code = sites.running["twin"].wait(WAIT_S)
    finally:
        sites.end("twin", signal.SIGKILL)
    said = sites.log("twin")
    assert (code, "Traceback" in said) == (1, False), said
    last = said.splitlines()[-1]
    assert last.startswith(f"error: no worker of {sites.address}: ")
    assert "name taken, here-a" in last
    assert len(runner.workers()) == 3


def test_errors_come_back_as_what_they_are(nr: Nornir) -> None:
    """Ours with their fields, others by name; a result that cannot travel is a failure that says so."""
    with pytest.raises(HostsFailedError) as failed:
        run_on(nr, ["edge-2"], tasks.run_command, argv=("sh", "-c", "echo oh >&2; exit 7"))
    error = failed.value.errors["edge-2"]
    assert isinstance(error, CommandError)
    assert (error.host, error.exit_code, error.stderr) == ("edge-2", 7, "oh\n")
    one = nr.filter(name="edge-2")
    foreign = one.run(far_tasks.raise_foreign, on_failed=True)["edge-2"][0].exception
    assert isinstance(foreign, DaskTaskError)
    assert (foreign.kind, foreign.text) == ("ZeroDivisionError", "on edge-2")
    live = one.run(far_tasks.give_live, on_failed=True)["edge-2"][0]
    assert live.failed
    assert "lock" in str(live.exception)


def test_a_host_that_no_worker_reaches_fails_at_once(sites: FarSites, runner: DaskRunner) -> None:
    """It says what to start; the others are not kept waiting."""
    nr = sites.nornir(runner, (HERE, "moon"))
    began = time.monotonic()
    done = nr.run(tasks.run_command, argv=WHO)
    assert time.monotonic() - began < WAIT_S
    assert sorted(done.failed_hosts) == [f"moon-{number}" for number in range(1, HOSTS + 1)]
    error = done["moon-1"][0].exception
    assert isinstance(error, NoDaskWorkerError)
    assert "--reaches moon" in str(error)


def test_no_worker_is_missed_because_the_client_refreshes_what_it_knows(sites: FarSites, nr: Nornir) -> None:
    """Dask's client asks for itself every two seconds, without workers; here without a pause between."""
    with dask.config.set({"distributed.client.scheduler-info-interval": "1ms"}):
        busy = sites.runner()
        try:
            assert {len(busy.workers()) for _ in range(300)} == {3}
        finally:
            busy.close()


def test_what_cannot_be_sent_is_refused_by_name(nr: Nornir) -> None:
    """A lambda, a host with its connections; and what the controller alone can do runs there."""
    with pytest.raises(InputError, match=r"run_command: argv: holds a lambda"):
        nr.run(tasks.run_command, argv=(lambda: None,))
    with pytest.raises(InputError, match=r"run_command: argv: holds a live Host"):
        nr.run(tasks.run_command, argv=nr.inventory.hosts["edge-1"])
    with pytest.raises(HostsFailedError) as failed:
        run_on(nr, ["edge-1"], tasks.read_clock)
    assert isinstance(failed.value.first, NodeUnreachableError)


def test_no_secret_travels(
    sites: FarSites, runner: DaskRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither sealed nor open: logins. Sealed only, so not to be found in the scheduler: secrets of a task."""
    planted = {
        word: f"planted-{word}-7f3a" for word in ("password", "key", "known", "sudo", "token", "passphrase")
    }
    nr = sites.nornir(runner)
    for host in nr.inventory.hosts.values():
        host.password = planted["password"]
        host.data |= {"sudo_password": planted["sudo"], "api_token": planted["token"]}
        extras = {
            "key_file": planted["key"],
            "alt_key_file": planted["known"],
            "passphrase": planted["passphrase"],
        }
        host.connection_options["netmiko"] = ConnectionOptions(extras=extras)
    sent, packed = _record(monkeypatch)
    secret, back = "planted-of-the-task-91c2", "back-planted-of-the-task-91c2"
    path = str(tmp_path / "secret")
    found = run_on(nr, ["edge-1"], far_tasks.keep_secret, secret=Secret(secret), path=path)["edge-1"]
    assert Path(path).read_text() == secret
    assert found.result == Secret(back)
    on_wire, in_parcels = b"".join(sent), b"".join(packed)
    assert b"log-event" in on_wire or b"update-graph" in on_wire
    assert path.encode() in in_parcels
    for word in planted.values():
        assert word.encode() not in in_parcels + on_wire
    assert secret.encode() in in_parcels
    assert secret.encode() not in on_wire
    scheduler = sites.running["scheduler"].pid
    assert _in_memory(scheduler, b"vpnmesh"), "the scan finds nothing at all"
    for text in (*planted.values(), secret, path):
        assert not _in_memory(scheduler, text.encode()), text
    assert any(_in_memory(sites.running[name].pid, path.encode()) for name in (FIRST, SECOND))


def _record(monkeypatch: pytest.MonkeyPatch) -> tuple[list[bytes], list[bytes]]:
    """Everything that Dask writes to the wire in this process, and everything that is sealed in it."""
    sent: list[bytes] = []
    packed: list[bytes] = []
    to_frames: Any = vars(tcp)["to_frames"]
    pack = Seal.pack

    async def framed(*arguments: Any, **options: Any) -> Any:
        frames = await to_frames(*arguments, **options)
        sent.extend(bytes(frame) for frame in frames)
        return frames

    def kept(self: Seal, value: object) -> bytes:
        from inventory.across import parcel  # noqa: PLC0415

        packed.append(parcel._pickled(value))
        return pack(self, value)

    monkeypatch.setattr(tcp, "to_frames", framed)
    monkeypatch.setattr(Seal, "pack", kept)
    return sent, packed


def _in_memory(pid: int, text: bytes) -> bool:
    """Whether a process holds it anywhere in what it may write."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            if not rights.startswith("rw") or line.endswith(("[vvar]", "[vsyscall]")):
                continue
            begin, end = (int(part, 16) for part in place.split("-"))
            memory.seek(begin)
            try:
                if text in memory.read(end - begin):
                    return True
            except OSError:
                continue
    return False


def test_a_lost_worker_costs_no_result_of_a_task_that_may_be_repeated(
    sites: FarSites, runner: DaskRunner, tmp_path: Path
) -> None:
    """kill -9 in the middle: its hosts are asked by the other worker, and those that it had not begun only once."""
    done = _lose(sites, runner, far_tasks.slow_again, tmp_path)
    assert not done.failed, {name: str(one) for name, one in done.failed_hosts.items()}
    begun = {name: lines["begun"] for name, lines in _notes(tmp_path).items()}
    mine = _hosts_of(SECOND)
    assert sorted(begun[name] for name in mine) == [1, 2, 2]
    assert all(count == 1 for name, count in begun.items() if name not in mine)
    assert all("done" in lines for lines in _notes(tmp_path).values())


def test_a_task_that_may_have_begun_is_not_run_twice_in_silence(
    sites: FarSites, runner: DaskRunner, tmp_path: Path
) -> None:
    """Without the declaration a host whose worker died is a failure that says so, and is begun once."""
    done = _lose(sites, runner, far_tasks.slow_once, tmp_path)
    notes = _notes(tmp_path)
    lost = {name: one[0].exception for name, one in done.items() if one.failed}
    assert len(lost) == THREADS
    for name, error in lost.items():
        assert isinstance(error, DaskWorkerLostError)
        assert (error.host, error.worker) == (name, SECOND)
        assert "may have begun" in str(error)
    assert all(lines["begun"] == 1 for lines in notes.values())
    assert set(notes) - set(lost) == {name for name, one in done.items() if not one.failed}


def _lose(sites: FarSites, runner: DaskRunner, task: Any, folder: Path) -> AggregatedResult:
    """Run the task on many hosts of the edge, and kill its second worker once that has begun on one."""
    many = sites.nornir(runner, (EDGE,))
    found: list[AggregatedResult] = []
    seconds = 4.0
    mine = _hosts_of(SECOND)
    assert MANY <= len(mine) <= HOSTS - MANY, (
        "choose other names: each worker shall have more hosts than it asks at once"
    )
    thread = threading.Thread(
        target=lambda: found.append(many.run(task, folder=str(folder), seconds=seconds)), daemon=True
    )
    thread.start()
    wait_until(lambda: set(_notes(folder)), WAIT_S, good=lambda names: len(mine & names) == THREADS)
    sites.end(SECOND, signal.SIGKILL)
    thread.join(WAIT_S)
    assert found, "the run hangs"
    return found[0]


def _hosts_of(worker: str) -> set[str]:
    """The hosts of the edge that this worker asks while both are there."""
    from inventory.across.placing import DaskWorker, worker_for  # noqa: PLC0415

    both = [DaskWorker(name, name, frozenset({EDGE}), THREADS) for name in (FIRST, SECOND)]
    names = [f"{EDGE}-{number}" for number in range(1, HOSTS + 1)]
    return {name for name in names if worker_for(name, EDGE, both).name == worker}


def _notes(folder: Path) -> dict[str, Counter[str]]:
    return {path.name: Counter(path.read_text().split()) for path in folder.iterdir()}


def test_when_the_last_worker_of_a_site_is_lost_its_hosts_fail_with_the_reason(
    sites: FarSites, nr: Nornir, tmp_path: Path
) -> None:
    """No hang: the site's hosts say that nobody reaches them any more, the other site's have results."""
    sites.end(FIRST)
    wait_until(lambda: len(nr.runner.workers()), WAIT_S, good=lambda count: count == 2)  # type: ignore[attr-defined]
    found: list[AggregatedResult] = []
    run = threading.Thread(
        target=lambda: found.append(nr.run(far_tasks.slow_again, folder=str(tmp_path), seconds=8.0)),
        daemon=True,
    )
    run.start()
    wait_until(lambda: set(_notes(tmp_path)), WAIT_S, good=lambda names: f"{EDGE}-1" in names)
    sites.end(SECOND, signal.SIGKILL)
    run.join(WAIT_S)
    assert found, "the run hangs"
    reasons = {name: repr(_error(one)) for name, one in found[0].failed_hosts.items()}
    assert sorted(reasons) == [f"{EDGE}-{number}" for number in range(1, HOSTS + 1)], reasons
    assert all(isinstance(_error(one), NoDaskWorkerError) for one in found[0].failed_hosts.values())


def _error(results: MultiResult) -> BaseException | None:
    return results[0].exception


def test_a_deadline_cuts_the_connection_and_the_next_task_works(
    sites: FarSites, runner: DaskRunner, tmp_path: Path
) -> None:
    """The host fails with the deadline as its reason; its command got no further."""
    nr = sites.nornir(runner.within(3.0), (EDGE,)).filter(name="edge-1")
    done = nr.run(far_tasks.slow_once, folder=str(tmp_path), seconds=30.0)
    error = done["edge-1"][0].exception
    assert isinstance(error, TurnEndedError)
    assert "not done within 3 s" in str(error)
    nr.data.reset_failed_hosts()
    assert not nr.run(tasks.run_command, argv=WHO).failed
    assert "edge-1: ended on request" in sites.log(FIRST) + sites.log(SECOND)


def test_ctrl_c_ends_what_runs_and_the_next_task_works(nr: Nornir, tmp_path: Path) -> None:
    """Within seconds, though the hosts are busy for half a minute more."""
    pid, begun = os.getpid(), threading.Event()

    def interrupt() -> None:
        wait_until(lambda: set(_notes(tmp_path)), WAIT_S, good=lambda names: len(names) >= 3)
        begun.set()
        os.kill(pid, signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(InterruptedRunError), interruptible(nr):
        nr.run(far_tasks.slow_once, folder=str(tmp_path), seconds=30.0)
    assert begun.is_set()
    assert not any("done" in lines for lines in _notes(tmp_path).values())
    nr.data.reset_failed_hosts()
    assert not nr.run(tasks.run_command, argv=WHO).failed


def test_only_who_has_a_certificate_of_this_authority_is_heard(sites: FarSites, tmp_path: Path) -> None:
    """Another authority's, none, and no TLS at all are refused; every port that is open speaks TLS."""
    make_credentials(tmp_path / "other")
    stranger = DaskRunner(sites.address, str(tmp_path / "other"))
    with pytest.raises(DaskLostError, match="no Dask scheduler answers"):
        stranger.workers()
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
    assert _said_by(nobody, b"") == b""
    assert _said_by(None, b"GET / HTTP/1.0\r\n\r\n") == b""
    own = Credentials.read(sites.credentials, "client")
    assert own.security().require_encryption is True


def _said_by(context: ssl.SSLContext | None, hello: bytes) -> bytes:
    """What the scheduler answers to this end of TLS, or to none; nothing where it hangs up."""
    try:
        with socket.create_connection((SCHEDULER, PORT), timeout=10) as sock:
            if context is None:
                sock.sendall(hello)
                return sock.recv(1000)
            with context.wrap_socket(sock) as line:
                return line.recv(1000)
    except (ssl.SSLError, ConnectionError):
        return b""


def test_without_the_scheduler_all_hosts_fail_with_the_reason(
    sites: FarSites, nr: Nornir, tmp_path: Path
) -> None:
    """kill -9 in the middle: no hang, commands are cut, and workers end, to be started anew. The last test."""
    found: list[AggregatedResult] = []
    run = threading.Thread(
        target=lambda: found.append(nr.run(far_tasks.slow_once, folder=str(tmp_path), seconds=60.0)),
        daemon=True,
    )
    run.start()
    wait_until(lambda: set(_notes(tmp_path)), WAIT_S, good=lambda names: f"{HERE}-1" in names)
    sites.end("scheduler", signal.SIGKILL)
    run.join(WAIT_S)
    assert found, "the run hangs"
    assert len(found[0].failed_hosts) == 2 * HOSTS
    assert all(isinstance(_error(one), DaskLostError) for one in found[0].values())
    assert sites.running["here-a"].wait(WAIT_S) == 1
    assert "error: the scheduler at tls://10.77.0.1:8786 is gone" in sites.log("here-a")
    with pytest.raises(DaskLostError, match="no Dask scheduler answers"):
        run_on(nr, ["here-1"], tasks.run_command, argv=WHO)
