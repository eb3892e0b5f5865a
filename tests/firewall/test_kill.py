"""The controller is killed with -9 at every call of a change, and of a roll back: the way back always works."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks.firewall.journal import Journal
from tasks.firewall.policy import take_back
from tests.firewall.appliance import KEY, RUN, WORKER1, WORKER2, Bench, inventory, without_nodes
from tests.pfsense_server.config import Item
from workflows.teardown import main as teardown

POLICY = "block-udp-k8s"


@dataclass
class Changer:
    """The process that forks a child per change."""

    process: "subprocess.Popen[str]"
    pid: int = 0
    known: threading.Event = field(default_factory=threading.Event)

    def run(self, pf: Bench, policy: str, kill_at: int | None) -> int:
        """Change the stand-in; kill the child when its call `kill_at` arrives; returns the child's wait status."""
        self.known.clear()
        first = len(pf.appliance.calls)

        def strike(number: int) -> None:
            if kill_at is not None and number == first + kill_at:
                self.known.wait(60)
                os.kill(self.pid, signal.SIGKILL)

        pf.appliance.on_call = strike
        job = {"url": pf.url, "key": KEY, "ca_file": str(pf.ca_file), "journal": str(pf.journal.directory)}
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({**job, "run": RUN, "policy": policy}) + "\n")
        self.process.stdin.flush()
        self.pid = int(self.process.stdout.readline())
        self.known.set()
        status = int(self.process.stdout.readline())
        _await_answered(pf)
        pf.appliance.on_call = lambda _number: None
        return status


def _await_answered(pf: Bench) -> None:
    """The stand-in goes on with a call whose caller is dead; wait for its end."""
    deadline = time.monotonic() + 60
    while any(call.status == 0 for call in pf.appliance.calls):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def changer() -> Iterator[Changer]:
    """The process, ended at the end."""
    argv = (sys.executable, "-m", "tests.firewall.changer")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Changer(process)
        assert process.stdin
        process.stdin.close()


@pytest.mark.parametrize("policy", [POLICY, "nat-symmetric"])
def test_killed_at_every_call_of_a_change(
    pf: Bench, policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each kill, `workflows.teardown --run` leaves the snapshot's configuration, and packets pass again."""
    monkeypatch.setenv("VPNMESH_STATE_DIR", str(tmp_path))
    pf.journal = Journal(tmp_path / "firewall")
    folder = inventory(pf, tmp_path)
    without_nodes(Path(folder))
    before = pf.appliance.config.content()
    with changer() as child:
        assert child.run(pf, policy, None) == 0
        calls = len(pf.appliance.calls)
        assert take_back(pf.driver(), pf.origin(), pf.journal)
        survived = [_after_kill(pf, child, policy, at, folder) for at in range(calls)]
    assert [before] * calls == survived


def test_killed_at_every_call_of_a_roll_back(pf: Bench) -> None:
    """A roll back that is killed can be started again, however far it came."""
    before = pf.appliance.config.content()
    with changer() as child:
        child.run(pf, POLICY, None)
        start = len(pf.appliance.calls)
        assert child.run(pf, "", None) == 0
        calls = len(pf.appliance.calls) - start
        for at in range(calls):
            child.run(pf, POLICY, None)
            assert child.run(pf, "", at) == signal.SIGKILL
            take_back(pf.driver(), pf.origin(), pf.journal)
            assert before == pf.appliance.config.content(), at
            assert set() == pf.appliance.config.dirty, at
            assert pf.udp(WORKER1, WORKER2), at


def _after_kill(pf: Bench, child: Changer, policy: str, at: int, folder: str) -> Item:
    assert child.run(pf, policy, at) == signal.SIGKILL, at
    done = CliRunner().invoke(teardown, ["--run", RUN, "--inventory", folder])
    # no node of this testbed answers, which the command says; the firewall does
    assert done.exit_code == 1, at
    assert not any(line.startswith("firewall: ") for line in done.stderr.splitlines()), done.stderr
    assert pf.journal.read(pf.origin()) is None
    assert set() == pf.appliance.config.dirty
    assert pf.udp(WORKER1, WORKER2)
    return pf.appliance.config.content()
