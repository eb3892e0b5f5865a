"""The runner for many hosts: every host has its result, deadlines end what hangs, and Ctrl-C ends all of it."""

import importlib
import logging
import resource
import signal
import socket
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from nornir.core import Nornir
from nornir.core.inventory import Defaults, Groups, Host, Hosts, Inventory
from nornir.core.task import Result, Task

from inventory import runner
from inventory.limits import RESERVED, WORKER_KB, lines_for, workers_for
from inventory.lines import Line, Lines, Turn, line_of
from inventory.runner import BoundedRunner, hold_line
from vpnmesh.errors import TurnEndedError
from workflows.run.hosts import HostsFailedError, abort_connections, run_on, within


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "END_S", 0.3)
    monkeypatch.setattr(runner, "LOOK_EVERY_S", 0.02)


def hosts_on(count: int, runner: BoundedRunner) -> Nornir:
    hosts = Hosts({f"h{number}": Host(name=f"h{number}") for number in range(count)})
    return Nornir(Inventory(hosts, Groups(), Defaults()), runner=runner)


class Ended:
    """A socket to a node that never answers, and how many tasks were still reading from it when it was cut."""

    def __init__(self) -> None:
        self.far: list[socket.socket] = []
        self.near: list[socket.socket] = []
        self.woken: list[str] = []

    def wait_for_ever(self, task: Task) -> Result:
        hold_line(task, task.host)
        near, far = socket.socketpair()
        self.near.append(near)
        self.far.append(far)
        line_of(task.host).sock = near
        said = near.recv(1)
        self.woken.append(task.host.name)
        raise OSError(f"cut after {len(said)} bytes")


@pytest.fixture
def mute() -> Iterator[Ended]:
    ended = Ended()
    yield ended
    for end in (*ended.near, *ended.far):
        end.close()


def name_of(task: Task) -> Result:
    return Result(host=task.host, result=task.host.name)


def test_every_host_has_its_result_in_the_hosts_order() -> None:
    """More hosts than threads; one that fails is a failed result, the others are right."""

    def odd_one_out(task: Task) -> Result:
        if task.host.name == "h7":
            raise ValueError("seven")
        return name_of(task)

    done = hosts_on(50, BoundedRunner(num_workers=4)).run(odd_one_out)
    assert [f"h{number}" for number in range(50)] == list(done)
    assert list(done.failed_hosts) == ["h7"]
    assert all(done[name][0].result == name for name in done if name != "h7")


def test_a_host_over_its_deadline_is_cut_and_the_others_go_on(mute: Ended) -> None:
    """Its connection is cut, so that its thread ends; the reason says how long it had."""

    def one_hangs(task: Task) -> Result:
        return mute.wait_for_ever(task) if task.host.name == "h0" else name_of(task)

    nr = hosts_on(20, BoundedRunner(num_workers=2))
    with pytest.raises(HostsFailedError) as caught:
        run_on(within(nr, 0.2), nr.inventory.hosts, one_hangs)
    assert {host: str(error) for host, error in caught.value.errors.items()} == {
        "h0": "h0: not done within 0.2 s, its connection was cut"
    }
    assert mute.woken == ["h0"]


def test_a_task_that_does_not_notice_the_cut_is_left_to_itself() -> None:
    """The run goes on without it, with a thread in its place, and what it says later counts no more."""
    free = threading.Event()

    def deaf(task: Task) -> Result:
        if task.host.name == "h0":
            free.wait(60)
        return name_of(task)

    done = hosts_on(3, BoundedRunner(num_workers=1, host_deadline_s=0.1)).run(deaf)
    free.set()
    assert list(done.failed_hosts) == ["h0"]
    assert isinstance(done["h0"][0].exception, TurnEndedError)
    assert done["h2"][0].result == "h2"


def test_the_deadline_of_all_ends_what_runs_and_what_was_not_begun(mute: Ended) -> None:
    """Both have a reason of their own."""
    done = hosts_on(4, BoundedRunner(num_workers=2, deadline_s=0.3)).run(mute.wait_for_ever)
    assert [str(done[name][0].exception) for name in done] == [
        "h0: not done when the 0.3 s for all hosts were over, its connection was cut",
        "h1: not done when the 0.3 s for all hosts were over, its connection was cut",
        "h2: not begun within the 0.3 s for all hosts",
        "h3: not begun within the 0.3 s for all hosts",
    ]


def test_a_task_that_was_ended_may_not_log_in_again(mute: Ended) -> None:
    """Else a task that tries again would go on to change the node behind the run's back."""
    tried: list[str] = []

    def stubborn(task: Task) -> None:
        try:
            mute.wait_for_ever(task)
        except OSError:
            tried.append("again")
            hold_line(task, task.host)
            tried.append("logged in")

    hosts_on(1, BoundedRunner(host_deadline_s=0.1)).run(stubborn)
    assert tried == ["again"]


def test_ctrl_c_ends_all_tasks_in_flight_and_begins_no_other(mute: Ended) -> None:
    """Without a handler of ours, as at the prompt: KeyboardInterrupt comes out once the tasks have ended."""
    begun: list[str] = []

    def hangs(task: Task) -> Result:
        begun.append(task.host.name)
        if len(begun) == 8:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return mute.wait_for_ever(task)

    nr = hosts_on(100, BoundedRunner(num_workers=8))
    with pytest.raises(KeyboardInterrupt):
        nr.run(hangs)
    # a task that is ended before it waits is not woken: it is refused the line
    assert set(mute.woken) <= set(begun)
    assert len(begun) == 8


def test_cutting_the_connections_stops_a_run_in_another_thread(mute: Ended) -> None:
    """As a signal does while several pairs are measured at once; the next run works again."""
    nr = hosts_on(10, BoundedRunner(num_workers=3))
    failed: list[HostsFailedError] = []

    def run() -> None:
        with pytest.raises(HostsFailedError) as caught:
            run_on(nr, nr.inventory.hosts, mute.wait_for_ever)
        failed.append(caught.value)

    thread = threading.Thread(target=run)
    thread.start()
    while len(mute.far) < 3:
        time.sleep(0.01)
    abort_connections(nr)
    thread.join(30)
    assert {f"{name}: interrupted" for name in nr.inventory.hosts} == set(map(str, failed[0].errors.values()))
    assert run_on(nr, ["h1"], name_of)["h1"].result == "h1"


def test_a_processor_that_breaks_is_raised() -> None:
    """As with Nornir's own runners, but all hosts end before."""

    class Broken:
        def __getattr__(self, name: str) -> Any:
            def event(*_: object) -> None:
                if name == "task_instance_completed":
                    raise ZeroDivisionError

            return event

    with pytest.raises(ZeroDivisionError):
        hosts_on(5, BoundedRunner()).with_processors([Broken()]).run(name_of)


class Client:
    """As much of a client as a line asks for."""

    def __init__(self) -> None:
        self.active = True
        self.sock = socket.socket()

    def get_transport(self) -> "Client":
        return self

    def is_active(self) -> bool:
        return self.active

    def close(self) -> None:
        self.active = False
        self.sock.close()


def test_the_longest_unused_connection_makes_room() -> None:
    """Never more than allowed at once, and never one that a task uses."""
    most: list[int] = []

    def connect(task: Task) -> None:
        hold_line(task, task.host)
        line: Any = line_of(task.host)
        if not line.is_alive():
            line.client = Client()
        most.append(sum(line_of(host).is_alive() for host in nr.inventory.hosts.values()))
        assert line.is_alive()

    bounded = BoundedRunner(num_workers=1, max_connections=4)
    nr = hosts_on(12, bounded)
    assert not nr.run(connect).failed
    assert max(most) <= 4
    assert bounded.lines.closed == 8
    assert [name for name, host in nr.inventory.hosts.items() if line_of(host).is_alive()] == [
        "h8",
        "h9",
        "h10",
        "h11",
    ]
    nr.close_connections()


def test_who_waits_for_room_gets_it_when_a_task_ends() -> None:
    """All connections in use: the next task waits for one to fall free."""
    lines, first, second = Lines(most=1), Turn(Host(name="a")), Turn(Host(name="b"))
    lines.hold(first, Line())
    waiting = threading.Thread(target=lines.hold, args=(second, Line()))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    lines.release(first)
    waiting.join(30)
    assert not waiting.is_alive()
    assert len(second.held) == 1


def test_workers_are_as_many_as_hosts_files_and_memory_allow() -> None:
    """Never none, and two connections each, for a task may need another node's."""
    assert [workers_for(1), workers_for(50), workers_for(5000)] == [1, 50, 512]
    assert workers_for(1000, lines=100) == 50
    assert workers_for(1000, memory_kb=100 * 2 * WORKER_KB) == 100
    assert workers_for(1000, lines=0, memory_kb=0) == 1


def test_the_limit_of_open_files_is_raised_as_far_as_it_goes_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Enough: nothing is done. Too low: raised, said. Not to be raised that far: said how many hosts fit."""
    held = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(held))
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: held.__setitem__(slice(None), list(new)))
    with caplog.at_level(logging.WARNING):
        assert (lines_for(700), held, caplog.messages) == (1024 - RESERVED, [1024, 4096], [])
        assert lines_for(1000) == 1000
        assert held == [1000 + RESERVED, 4096]
        assert lines_for(100_000) == 4096 - RESERVED
    assert caplog.messages == [
        "open files: limit raised from 1024 to 1256 for 1000 hosts",
        "open files: limit raised from 1256 to 4096 for 100000 hosts",
        "open files: 4096 may be open, so at most 3840 of 100000 hosts are connected at once (ulimit -Hn)",
    ]
    held = [resource.RLIM_INFINITY, resource.RLIM_INFINITY]
    assert lines_for(5000) == 5000


def test_nornir_finds_the_runner_by_name() -> None:
    """`runner: {plugin: bounded}` in a configuration of one's own."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["nornir.plugins.runners"]["bounded"].partition(":")
    assert getattr(importlib.import_module(module), name) is BoundedRunner


def test_a_cut_wakes_whoever_waits_on_the_socket() -> None:
    """Also before there is a client: a login under way ends at once."""
    line = Line()
    near, far = socket.socketpair()
    line.sock = near
    with far:
        threading.Timer(0.05, line.cut).start()
        assert near.recv(1) == b""
    line.close()
    assert line.connection is None


def test_a_connection_that_ended_is_not_alive() -> None:
    """The next task logs in again."""
    line: Any = Line()
    near, far = socket.socketpair()
    line.client = paramiko.SSHClient()
    line.client._transport = paramiko.Transport(near)
    assert not line.is_alive()
    line.close()
    near.close()
    far.close()
