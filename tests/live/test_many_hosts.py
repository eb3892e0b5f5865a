"""Sixty SSH servers, some of them broken: the rest is right, reasons are right, and a signal ends all in seconds."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nornir.core import Nornir
from nornir.core.task import Result, Task

import tasks
from bench.farm import Farm, farm
from bench.farm_inventory import write_farm_inventory
from inventory.lines import line_of
from inventory.load import load, load_hosts
from inventory.runner import BoundedRunner
from tasks import connection
from tasks.connection import shell
from tasks.login import Retries
from tests.live.conftest import private_network
from vpnmesh.lab.waiting import wait_until
from workflows.run.hosts import HostsFailedError, run_on, within

pytestmark = pytest.mark.live

COUNT = 60
MUTE_PORT = 2222
REFUSES, MUTE, HANGS, DIES = "host0007", "host0019", "host0031", "host0043"
KILL_OWN_SSHD = """
p=$$; while [ "$(cat /proc/$p/comm)" != sshd ]; do p=$(ps -o ppid= -p $p | tr -d ' '); done; kill -9 $p; sleep 302
"""
ENDS_WITHIN_S = 30.0
"""Seconds on an idle machine; the machine is busy."""


@pytest.fixture(scope="module")
def many(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Sixty hosts, each with its name in /srv/name, and an address range that accepts and never answers."""
    with private_network(), farm(tmp_path_factory.mktemp("farm"), COUNT) as here:
        for name in here.addresses:
            (here.srv(name) / "name").write_text(name)
        write_farm_inventory(here)
        yield here


@pytest.fixture
def nr(many: Farm) -> Iterator[Nornir]:
    """All of them, not yet logged in to."""
    nr = load(str(many.folder / "inventory"))[0]
    yield nr
    nr.close_connections(on_failed=True)


@contextmanager
def mute_addresses() -> Iterator[list[socket.socket]]:
    """Every loopback address accepts at MUTE_PORT and says nothing; the connections so far."""
    came: list[socket.socket] = []
    with socket.create_server(("0.0.0.0", MUTE_PORT), backlog=1000) as listening:

        def accept() -> None:
            try:
                while True:
                    came.append(listening.accept()[0])
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield came
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for one in came:
                one.close()


def line_on(task: Task, lines: dict[str, str]) -> Result:
    """Run the host's own line, else say its name."""
    done = shell(task).run("sh", "-c", lines.get(task.host.name, "cat /srv/name"), timeout_s=300)
    return Result(host=task.host, result=done.stdout)


def test_broken_hosts_do_not_spoil_the_others(nr: Nornir, monkeypatch: pytest.MonkeyPatch) -> None:
    """One refuses, one is mute, one hangs in a command, one dies in one; each is told with its reason."""
    monkeypatch.setattr(connection, "RETRIES", Retries(first_wait_s=0.05))
    assert {name: one.result for name, one in run_on(nr, nr.inventory.hosts, line_on, lines={}).items()} == {
        name: name for name in nr.inventory.hosts
    }
    for name, port in ((REFUSES, MUTE_PORT + 1), (MUTE, MUTE_PORT)):
        host = nr.inventory.hosts[name]
        host.close_connections()
        host.port = port
        options = host.get_connection_parameters("netmiko")
        options.extras = {**(options.extras or {}), "conn_timeout": 0.5}
        host.connection_options["netmiko"] = options
    lines = {HANGS: "sleep 301", DIES: KILL_OWN_SSHD}
    began_s = time.monotonic()
    with mute_addresses():
        done = within(nr, 6).run(line_on, lines=lines)
    took_s = time.monotonic() - began_s
    assert {name: str(results[0].exception) for name, results in done.failed_hosts.items()} == {
        REFUSES: f"{REFUSES}: no SSH: connection refused (3 attempts) at 127.1.0.8:{MUTE_PORT + 1}",
        MUTE: f"{MUTE}: no SSH: connected, but no SSH greeting within 0.5 s (3 attempts) at 127.1.0.20:{MUTE_PORT}",
        HANGS: f"{HANGS}: not done within 6 s, its connection was cut",
        DIES: f"{DIES}: no SSH: the connection ended before the answer did",
    }
    assert all(done[name][0].result == name for name in nr.inventory.hosts if name not in done.failed_hosts)
    assert took_s < 6 + ENDS_WITHIN_S
    # the connections of the hosts that are well are those of before, and the others can be used again
    nr.data.reset_failed_hosts()
    assert run_on(nr, [HANGS, DIES], line_on, lines={})[HANGS].result == HANGS


def test_many_that_fail_alike_are_counted(nr: Nornir, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for forty hosts, with the errors of all in it as values."""
    monkeypatch.setattr(connection, "RETRIES", Retries(attempts=1))
    for host in list(nr.inventory.hosts.values())[:40]:
        host.port = MUTE_PORT + 1
    with pytest.raises(HostsFailedError) as caught:
        run_on(nr, nr.inventory.hosts, line_on, lines={"host0059": "exit 3"})
    assert str(caught.value) == (
        "line_on: 41 of 60 failed: 40 x no SSH: connection refused (host0000, host0001, host0002, ...); "
        "1 x sh -c exit 3: exit 3: no message (host0059)"
    )
    assert len(caught.value.errors) == 41


def test_hosts_that_are_no_testbed_answer_too(many: Farm, tmp_path: Path) -> None:
    """An inventory of addresses alone, as the prompt has it with `--hosts-only`."""
    marked = "data: {testbed: true}"
    hosts = "".join(
        f"{name}: {{hostname: {address}, {marked}}}\n" for name, address in many.addresses.items()
    )
    defaults = (many.folder / "inventory" / "defaults.yaml").read_text()
    for name, text in (("hosts", hosts), ("groups", "{}\n"), ("defaults", defaults)):
        (tmp_path / f"{name}.yaml").write_text(text)
    nr = load_hosts(str(tmp_path))
    said = run_on(within(nr, 60), nr.inventory.hosts, tasks.run_command, argv=("cat", "/srv/name"))
    assert {name: name for name in many.addresses} == {name: one.result for name, one in said.items()}
    nr.close_connections()


def test_fewer_connections_than_hosts(nr: Nornir) -> None:
    """With room for ten, sixty hosts answer twice; never are more than ten connected."""
    few = nr.with_runner(BoundedRunner(max_connections=10))
    most = []

    def counted(task: Task) -> Result:
        done = line_on(task, {})
        most.append(sum(line_of(host).is_alive() for host in nr.inventory.hosts.values()))
        return done

    for _ in range(2):
        assert {one.result for one in run_on(few, nr.inventory.hosts, counted).values()} == set(
            nr.inventory.hosts
        )
    assert max(most) <= 10
    runner = few.runner
    assert isinstance(runner, BoundedRunner)
    assert runner.lines.closed >= 2 * COUNT - 10 - 10


def test_one_server_is_not_asked_by_more_than_it_takes(
    many: Farm, nr: Nornir, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two dozen names of one sshd that lets 16 log in at once: all are logged in to, each at the first attempt.

    Eight log in at once; sshd also counts those that are through until its first process has read that they are,
    which takes a while on a busy machine.
    """
    monkeypatch.setattr(connection, "RETRIES", Retries(attempts=1))
    given = (many.folder / "host0000.sshd_config").read_text()
    config = many.folder / "narrow.sshd_config"
    assert "MaxStartups 200" in given
    config.write_text(given.replace(":22", ":2200").replace("MaxStartups 200", "MaxStartups 16"))
    known = many.known_hosts.read_text().splitlines()[0]
    narrow = many.folder / "narrow_known_hosts"
    narrow.write_text(f"[127.1.0.1]:2200 {known.partition(' ')[2]}\n")
    hosts = list(nr.inventory.hosts.values())[:24]
    for host in hosts:
        host.hostname, host.port = "127.1.0.1", 2200
        options = host.get_connection_parameters("netmiko")
        options.extras = {**(options.extras or {}), "alt_key_file": str(narrow)}
        options.hostname, options.port = host.hostname, host.port
        host.connection_options["netmiko"] = options
    start = f"mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -f {config}"
    with subprocess.Popen(("unshare", "--mount", "sh", "-c", start), stderr=subprocess.DEVNULL) as server:
        try:
            assert wait_until(lambda: _listens("127.1.0.1", 2200), 60)
            with caplog.at_level(logging.INFO, "vpnmesh.hosts"):
                run_on(
                    nr, [host.name for host in hosts], line_on, lines=dict.fromkeys(nr.inventory.hosts, ":")
                )
            assert caplog.messages == []
        finally:
            server.kill()


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(("where", "signum"), [("mute", signal.SIGINT), ("in a command", signal.SIGTERM)])
def test_a_signal_ends_it_within_seconds(
    many: Farm, tmp_path: Path, where: str, signum: signal.Signals
) -> None:
    """Hundreds of logins that nobody answers, or sixty commands under way: it ends, and nothing of it is left."""
    folder = many.folder / "inventory" if where == "in a command" else _mute_inventory(many, tmp_path, 300)
    line = f"touch /srv/began-{signum}; sleep 303"
    argv = (sys.executable, "-m", "tests.live.many_hosts_run", str(folder), line)
    with mute_addresses() as came, subprocess.Popen(argv, start_new_session=True) as controller:

        def begun() -> int:
            began = sum((many.srv(name) / f"began-{signum}").exists() for name in many.addresses)
            return len(came) if where == "mute" else began

        try:
            wanted = 300 if where == "mute" else COUNT
            assert wait_until(lambda: begun() >= wanted or controller.poll() is not None, 60)
            assert controller.poll() is None
            began_s = time.monotonic()
            controller.send_signal(signum)
            assert controller.wait(ENDS_WITHIN_S) == 128 + signum
            print(f"{where}, {signum.name}: ended after {time.monotonic() - began_s:.1f} s")
            with pytest.raises(ProcessLookupError):
                os.killpg(controller.pid, 0)
        finally:
            controller.kill()


def _mute_inventory(many: Farm, folder: Path, count: int) -> Path:
    """So many hosts at addresses that accept and never answer."""
    shutil.copy(many.key, folder)
    extras = {
        "use_keys: true": "use_keys: true\n      conn_timeout: 300",
        "port: 22\n": f"port: {MUTE_PORT}\n",
    }
    mute = Farm(folder, {f"mute{n:03}": f"127.2.{n // 250}.{n % 250 + 1}" for n in range(count)})
    written = write_farm_inventory(mute)
    defaults = written / "defaults.yaml"
    text = defaults.read_text()
    for given, wanted in extras.items():
        assert given in text
        text = text.replace(given, wanted)
    defaults.write_text(text)
    return written
