"""Other people's VPNs are told from ours on a node, by real processes; and nothing of theirs is taken away."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import click
import pytest
from click.testing import CliRunner
from nornir.core.task import Result

import tasks
from inventory.load import load
from tests.solutions.scenarios import of_every_solution
from vpnmesh.errors import UnavailableError
from vpnmesh.host.foreign import FoundForeign, foreign_vpns
from vpnmesh.host.strangers import RUN_DIRECTORY, unless_strangers
from vpnmesh.model import Scenario, Testbed
from vpnmesh.plan import Command, Completed, Fact, WriteFile, at_most
from vpnmesh.solutions import SOLUTIONS, all_interfaces, known_foreign
from vpnmesh.solutions.protocol import Mesh
from vpnmesh.study.scenarios import BUILT_IN
from workflows.run import foreign, requirements
from workflows.run.foreign import ForeignError, beside_option, refuse_foreign
from workflows.run.site import Site

T = TypeVar("T")
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process that has the name of a VPN's daemon and does nothing."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        program = tmp_path / name
        if not program.exists():
            program.symlink_to("/bin/sleep")
        running.append(subprocess.Popen((str(program), "60", *arguments)))
        return running[-1]

    yield begin
    for one in running:
        one.kill()
        one.wait()


def ran(command: Command, run: Path) -> Completed:
    """The command here, with another run directory."""
    argv = [str(run) if word == RUN_DIRECTORY else word for word in command.argv]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return Completed(command.argv, done.returncode, done.stdout, done.stderr)


def asked(fact: Fact[T], run: Path) -> T:
    """The fact here."""
    return fact.parse([ran(command, run) for command in fact.commands])


NAME = f"vm-vpn-{os.getpid()}"[:15]
"""A process's name that no other test of this machine has."""


def owner_of(pid: int, run: Path) -> str:
    """The product that this process counts as a foreign one of, "" where it is ours."""
    things = asked(foreign_vpns(known_foreign(), all_interfaces()), run)
    return "".join(one.product for one in things if one.what.startswith(f"process {pid} "))


@pytest.mark.parametrize("name", [name for one in known_foreign().values() for name in one.processes])
def test_a_daemon_is_foreign_without_a_mark_of_ours(name: str, start: Start, tmp_path: Path) -> None:
    """And ours by its pid file, or by a folder of ours in its command line, whatever has become of the pid file."""
    pid = start(name).pid
    assert owner_of(pid, tmp_path) in [
        one.product for one in known_foreign().values() if name in one.processes
    ]
    (tmp_path / "daemon.pid").write_text(f"{pid}\n")
    assert owner_of(pid, tmp_path) == ""


@pytest.mark.parametrize("argument", ["0 --statedir=/var/lib/vpnmesh/x", "0 -s /run/vpnmesh/x.sock"])
def test_a_daemon_in_our_folders_is_ours(argument: str, tmp_path: Path) -> None:
    """What a killed run left is taken for ours without its pid file."""
    program = tmp_path / "tailscaled"
    program.symlink_to("/bin/sh")
    for words, owner in (((), "Tailscale"), (argument.split(), "")):
        with subprocess.Popen((str(program), "-c", "read x", *words), stdin=subprocess.PIPE) as process:
            assert owner_of(process.pid, tmp_path) == owner
            process.kill()


def test_links_of_the_kernels_own_wireguard_are_foreign_unless_a_solution_names_them() -> None:
    """As `ip -o link show type wireguard` tells them, with or without a peer link behind the name."""
    fact = foreign_vpns(known_foreign(), all_interfaces())
    ours = " ".join(f"link wireguard {name}\n" for name in all_interfaces())
    text = f"link wireguard wg0\n{ours}"
    assert fact.parse([Completed((), 0, text.replace("\n ", "\n"), "")]) == (
        FoundForeign("wireguard", "WireGuard", "interface wg0", "wg-quick down INTERFACE", shares=False),
    )


def test_what_may_be_a_strangers_is_left_where_one_runs(start: Start, tmp_path: Path) -> None:
    """The step does nothing then; it is taken where the daemon is ours, or there is none."""
    command = unless_strangers(Command(("echo", "done")), (NAME,), at_once=True)
    assert ran(command, tmp_path).stdout == "done\n"
    process = start(NAME)
    assert ran(command, tmp_path).stdout == ""
    assert ran(unless_strangers(Command(("false",)), (NAME,)), tmp_path).exit_code == 0
    (tmp_path / "vpn.pid").write_text(str(process.pid))
    assert ran(command, tmp_path).stdout == "done\n"


def test_an_exit_code_and_input_pass_through(tmp_path: Path) -> None:
    """Of a command that is guarded, where nobody is there."""
    argv = unless_strangers(Command(("sh", "-c", "cat; exit 3")), (NAME,)).argv
    argv = tuple(str(tmp_path) if word == RUN_DIRECTORY else word for word in argv)
    done = subprocess.run(argv, input="text", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "text")


@pytest.mark.parametrize("scenario", of_every_solution(), ids=lambda one: one.name)
def test_leaving_never_touches_what_another_installation_has_too(scenario: Scenario, bed: Testbed) -> None:
    """Every step that deletes an interface or rules is guarded, or names what only we use."""
    solution = SOLUTIONS[scenario.solution]
    own = {name for name in solution.interfaces if "vm" in name or "vpnmesh" in name}
    for node in bed.nodes:
        for step in at_most(solution.leave(Mesh(bed, scenario), node)).steps:
            assert not isinstance(step, WriteFile)
            guarded = solution.foreign is not None and set(solution.foreign.processes) <= set(step.argv)
            words = " ".join(step.argv)
            shared = "link delete" in words or "iptables" in words or step.argv[:2] == ("nft", "delete")
            mine = any(name in step.argv for name in own)
            assert guarded or mine or not shared, step.argv[:8]


def test_every_vpn_says_what_a_foreign_one_looks_like() -> None:
    """And how its owner ends it; a baseline has none."""
    assert set(known_foreign()) == {name for name, one in SOLUTIONS.items() if one.is_vpn}
    for one in known_foreign().values():
        assert one.product
        assert one.stop
        assert all(len(name) <= 15 for name in one.processes)


THEIRS = FoundForeign("headscale", "Tailscale", "process 7 (tailscaled --tun x)", "systemctl stop tailscaled")


def refused(
    monkeypatch: pytest.MonkeyPatch, *options: str, words: tuple[str, ...] = (), resumed: bool = False
) -> Site:
    """The site after asking nodes of which worker1 has somebody's VPN."""
    site = Site(*load("baremetal"))

    def run_on(_nr: object, names: list[str], task: object) -> dict[str, Result]:
        vpns = (THEIRS,) if task is tasks.read_foreign and not words else ()
        said = words if task is tasks.read_other_clusters else vpns
        return {name: Result(host=None, result=said if name == "worker1" else ()) for name in names}

    monkeypatch.setattr(foreign, "run_on", run_on)

    @click.command()
    @beside_option
    def command() -> None:
        refuse_foreign(site, resumed=resumed)

    done = CliRunner().invoke(command, options)
    if done.exception is not None:
        raise done.exception
    return site


def test_a_foreign_vpn_stops_a_run_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Node, product, process, its owner's way to end it, and the way round."""
    with pytest.raises(ForeignError) as caught:
        refused(monkeypatch)
    said = str(caught.value)
    assert "worker1: Tailscale: process 7 (tailscaled --tun x)" in said
    assert "systemctl stop tailscaled" in said
    assert "nothing was changed" in said
    assert "--beside-foreign" in said


@pytest.mark.parametrize(
    ("words", "resumed", "stops"),
    [
        (("process k3s-server",), False, True),
        (("process k3s-server",), True, True),
        (("folder /var/lib/rancher",), False, True),
        (("folder /var/lib/rancher",), True, False),
        (("process containerd", "process dockerd"), False, False),
    ],
)
def test_a_foreign_cluster_stops_it_too(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, *, resumed: bool, stops: bool
) -> None:
    """Also one that does not run; not engines of containers alone, nor folders that a run may have left itself."""
    if stops:
        with pytest.raises(ForeignError, match=f"worker1: Kubernetes: {words[0]}"):
            refused(monkeypatch, words=words, resumed=resumed)
    else:
        refused(monkeypatch, words=words, resumed=resumed)


def test_beside_it_scenarios_of_the_same_product_are_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, and before anything is asked of nodes; the others go on."""
    site = refused(monkeypatch, "--beside-foreign")
    with pytest.raises(
        UnavailableError, match=r"Tailscale is on worker1 already, process 7 .*: two of one product"
    ):
        requirements.require(site, BUILT_IN.named("headscale-relay"))
    assert set(site.foreign) == {"headscale"}
