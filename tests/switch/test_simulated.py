"""The task over real SSH to simulated systems (FakeNOS, in a process and an environment of its own)."""

import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import paramiko
import pytest
from nornir.core import Nornir
from nornir.core.inventory import Host, Inventory
from nornir.core.task import AggregatedResult, Result
from nornir.plugins.runners import SerialRunner

from tasks.switch import read_ports, set_access_vlans
from tests.needs import needs
from vpnmesh.errors import CheckError, NodeUnreachableError
from vpnmesh.lab.uv import find_uv
from vpnmesh.switch.access import AccessPort

HERE = Path(__file__).parent
DROPS = 59
"""The VLAN at which the simulator closes the connection."""
NAMES = {
    "cisco_iosxe": "GigabitEthernet1/0/{}",
    "arista_eos": "Ethernet{}",
    "cisco_nxos": "Ethernet1/{}",
    "juniper_junos": "ge-0/0/{}",
}


@dataclass(frozen=True)
class Simulated:
    """The systems that listen here, by name, and the file with their host keys."""

    ports: dict[str, int]
    known_hosts: Path

    def run(self, name: str, task: object, **parameters: object) -> AggregatedResult:
        """Run a task on one of them."""
        host = Host(
            name,
            "127.0.0.1",
            self.ports[name],
            "mesh",
            "mesh",
            name,
            data={"testbed": True, "known_hosts": str(self.known_hosts)},
        )
        inventory = Inventory(hosts={name: host})  # type: ignore[arg-type]
        return Nornir(inventory, runner=SerialRunner()).run(task=task, **parameters)  # type: ignore[arg-type]

    def port(self, name: str, number: int, vid: int | None = 20, *, access: bool = True) -> AccessPort:
        """One of a system's three ports."""
        return AccessPort(NAMES[name].format(number), vid, access)

    def now(self, name: str) -> tuple[AccessPort, ...]:
        """Its first two ports as they are."""
        names = tuple(NAMES[name].format(number) for number in (1, 2))
        found: tuple[AccessPort, ...] = self.run(name, read_ports, ports=names)[name][0].result
        return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on right now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return found


def connected(port: int) -> socket.socket:
    """A connection to who listens there, or will within a minute: FakeNOS listens some time after it has started."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def host_key(port: int) -> str:
    """The line of known_hosts for who listens there."""
    transport = paramiko.Transport(connected(port))
    # the answer to a first login of four systems at once takes long on a busy machine
    transport.start_client(timeout=60)
    key = transport.get_remote_server_key()
    transport.close()
    return f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    """The four systems, each on a port of its own."""
    uv = find_uv()
    needs(uv is not None, "no uv, which brings FakeNOS: run make setup")
    folder = tmp_path_factory.mktemp("switch")
    ports = free_ports(len(NAMES))
    run = (str(uv), "run", "--quiet", "--no-project", "--with-requirements", str(HERE / "simulator.txt"))
    argv = (*run, "python", str(HERE / "simulator.py"), *map(str, ports))
    with (
        # a file, for nobody reads a pipe, and what FakeNOS says of every connection would fill it
        (folder / "stderr").open("w") as complaints,
        subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        try:
            ready = process.stdout.readline() == "ready\n"
            said = (folder / "stderr").read_text().strip().splitlines()
            needs(ready, f"FakeNOS does not run: {said[-1] if said else 'it ended without a word'}")
            known_hosts = folder / "known_hosts"
            known_hosts.write_text("".join(host_key(port) for port in ports))
            yield Simulated(dict(zip(NAMES, ports, strict=True)), known_hosts)
        finally:
            process.stdin.close()
            process.wait(30)


@dataclass(frozen=True)
class Trip:
    """What the task said of a dry run, a change, the same again and the way back; then the ports."""

    dry: Result
    done: Result
    again: Result
    undone: Result
    now: tuple[AccessPort, ...]


def ports_of(simulated: Simulated, name: str) -> tuple[tuple[AccessPort, ...], tuple[AccessPort, ...]]:
    """The first two ports as they are at first, and as they are wanted."""
    # on EOS and NX-OS access is the mode of a port that has no mode
    former = (
        simulated.port(name, 1, 30),
        simulated.port(name, 2, None, access=name in ("arista_eos", "cisco_nxos")),
    )
    return former, (simulated.port(name, 1), simulated.port(name, 2))


def there_and_back(simulated: Simulated, name: str) -> Trip:
    """Set two ports and undo it."""
    former, wanted = ports_of(simulated, name)
    dry = simulated.run(name, set_access_vlans, ports=wanted, dry_run=True)[name][0]
    done = simulated.run(name, set_access_vlans, ports=wanted)[name][0]
    again = simulated.run(name, set_access_vlans, ports=wanted)[name][0]
    undone = simulated.run(name, set_access_vlans, ports=done.result or former, save=True)[name][0]
    return Trip(dry, done, again, undone, simulated.now(name))


@pytest.fixture(scope="module")
def trips(simulated: Simulated) -> dict[str, Trip]:
    """All four systems at once, for a login takes seconds of waiting."""
    with ThreadPoolExecutor(len(NAMES)) as pool:
        return dict(zip(NAMES, pool.map(partial(there_and_back, simulated), NAMES), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_vlan_is_set_verified_and_undone(simulated: Simulated, trips: dict[str, Trip], name: str) -> None:
    """Dry run shows the diff and changes nothing; then set; again unchanged; the former ports undo it."""
    (former, wanted), trip = ports_of(simulated, name), trips[name]
    assert (trip.dry.changed, trip.dry.result) == (True, former), trip.dry.exception
    assert f"-{former[0]}\n" in trip.dry.diff
    assert (trip.done.changed, trip.done.result) == (True, former), trip.done.exception
    assert (trip.again.changed, trip.again.result) == (False, wanted)
    assert trip.undone.changed, trip.undone.exception
    assert trip.now == former


@pytest.mark.parametrize("name", ["arista_eos", "juniper_junos"])
def test_a_trunk_is_refused_before_anything_is_written(simulated: Simulated, name: str) -> None:
    """AccessPort 3 is a trunk: neither it nor the port before it is changed."""
    ports = (simulated.port(name, 1), simulated.port(name, 3))
    result = simulated.run(name, set_access_vlans, ports=ports)[name][0]
    assert isinstance(result.exception, CheckError)
    assert "is a trunk" in str(result.exception)
    assert simulated.now(name)[0] == simulated.port(name, 1, 30)


@dataclass(frozen=True)
class Broken:
    """What the task said of a change that breaks at its second port, and the ports then; and after one more change."""

    said: Result
    then: tuple[AccessPort, ...]
    later: tuple[AccessPort, ...]


def broken(simulated: Simulated, name: str, vid: int, after: int) -> Broken:
    """Two ports, the second into a VLAN that breaks the change off; then port `after` alone, and back."""
    (former, wanted), alone = ports_of(simulated, name), slice(after - 1, after)
    first = simulated.run(name, set_access_vlans, ports=(wanted[0], simulated.port(name, 2, vid)))[name][0]
    then = simulated.now(name)
    simulated.run(name, set_access_vlans, ports=wanted[alone])
    later = simulated.now(name)
    simulated.run(name, set_access_vlans, ports=former[alone])
    return Broken(first, then, later)


def broken_everywhere(simulated: Simulated, vid: int, after: int) -> dict[str, Broken]:
    """All four systems at once."""
    with ThreadPoolExecutor(len(NAMES)) as pool:
        return dict(
            zip(NAMES, pool.map(lambda name: broken(simulated, name, vid, after), NAMES), strict=True)
        )


@pytest.fixture(scope="module")
def refusals(simulated: Simulated, trips: dict[str, Trip]) -> dict[str, Broken]:
    """A VLAN that no switch takes; after the round trips."""
    assert set(trips) == set(NAMES)
    return broken_everywhere(simulated, 4000, after=1)


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_line_is_named_and_leaves_nothing_half_edited(
    simulated: Simulated, refusals: dict[str, Broken], name: str
) -> None:
    """Both ports are as before, no edit of the refused change waits for the next commit, and the next change works."""
    (former, wanted), seen = ports_of(simulated, name), refusals[name]
    assert isinstance(seen.said.exception, CheckError)
    words = (
        "vlan members 4000': unknown command" if name == "juniper_junos" else "vlan 4000': % Invalid input"
    )
    assert words in str(seen.said.exception)
    assert "setting the ports back failed" not in str(seen.said.exception)
    assert seen.then == former
    assert seen.later == (wanted[0], former[1])


@pytest.fixture(scope="module")
def losses(simulated: Simulated, refusals: dict[str, Broken]) -> dict[str, Broken]:
    """A VLAN at which the switch closes the connection; after the refusals."""
    assert set(refusals) == set(NAMES)
    return broken_everywhere(simulated, DROPS, after=2)


@pytest.mark.parametrize("name", NAMES)
def test_a_lost_connection_leaves_nothing_half_edited(
    simulated: Simulated, losses: dict[str, Broken], name: str
) -> None:
    """The first port is set back over another login, and no edit of the lost one waits for the next commit."""
    (former, wanted), seen = ports_of(simulated, name), losses[name]
    assert isinstance(seen.said.exception, NodeUnreachableError), seen.said.exception
    assert seen.then == former
    assert seen.later == (former[0], wanted[1])


@pytest.mark.parametrize("case", ["changed", "unknown", "nobody known", "no file"])
def test_another_host_key_stops_the_login(case: str, simulated: Simulated, tmp_path: Path) -> None:
    """A switch whose key is not the one in known_hosts, or not in it, gets no password."""
    known = tmp_path / "known_hosts"
    lines = simulated.known_hosts.read_text().splitlines(keepends=True)
    port = simulated.ports["arista_eos"]
    mine = next(line for line in lines if f":{port} " in line)
    other = next(line.split(" ", 1)[1] for line in reversed(lines) if line != mine)
    texts = {
        "changed": f"{mine.split(' ', 1)[0]} {mine.split(' ', 1)[1].replace('AAAA', 'AAAB', 1)}",
        "unknown": f"[127.0.0.1]:1 {other}",
        "nobody known": "",
    }
    if case in texts:
        known.write_text(texts[case])
    stranger = Simulated(simulated.ports, known)
    started = time.monotonic()
    result = stranger.run("arista_eos", read_ports, ports=("Ethernet1",))["arista_eos"][0]
    assert isinstance(result.exception, NodeUnreachableError), time.monotonic() - started
