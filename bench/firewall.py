"""What a firewall change proves and costs: packets before, during and after; calls and seconds; kill -9 at every step.

On the lab, with the nftables driver and with the pfSense REST driver over HTTPS to the stand-in in the firewall node.
`python -m bench.firewall INVENTORY RUN POLICY STEP` sets the policy and kills itself with -9 after that many calls
(pfSense) or SSH round trips (nftables); it is how this benchmark makes its crashes.
"""

import functools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figures import Figure, Size
from bench.sandbox import lab_site
from inventory.load import load
from tasks.connection import Shell
from tasks.firewall.pfsense_api import PfsenseApi
from tests.live.pfsense_node import Standing, stand_in
from vpnmesh.firewall.policy import POLICIES, Policy
from vpnmesh.firewall.proof import ProofLine
from vpnmesh.lab.lifecycle import find
from vpnmesh.study.scenarios import SCENARIOS
from workflows.run import firewall
from workflows.run.firewall import FirewallRun
from workflows.run.site import Site

KILLED = "block-udp-k8s"
"""The policy whose change is killed: it has passes, blocks, an alias and a schedule."""
_STEPS = {"pfsense-rest": ((PfsenseApi, "send"),), "nftables": ((Shell, "gather"), (Shell, "run_all"))}
_OPEN = "allow-all"


@dataclass(frozen=True)
class Behind:
    """The lab behind one driver, and how to read all that the firewall holds."""

    driver: str
    site: Site
    inventory: str
    held: Callable[[], object]


@dataclass(frozen=True)
class Cost:
    """Steps and seconds of one change."""

    steps: int
    seconds: float


def run(console: Console, size: Size) -> list[Figure]:
    """What kills left and what changes cost; prints the proof tables."""
    figures: list[Figure] = []
    with lab_site() as site, tempfile.TemporaryDirectory() as folder, _state_in(folder):
        lab = find()
        assert lab is not None
        inside = ("nsenter", "-t", str(lab.node_pid("firewall")), "-n")
        # the nftables lab first: behind the stand-in, two tables would decide
        behind = Behind("nftables", site, "lab", lambda: _ruleset(inside))
        seen = {"nftables": _proofs(console, size, behind, figures)}
        with stand_in(lab, Path(folder)) as stood:
            other = Site(*load(str(stood.inventory)))
            behind = Behind("pfsense-rest", other, str(stood.inventory), _held_by(stood, inside))
            seen["pfsense-rest"] = _proofs(console, size, behind, figures)
            other.nr.close_connections()
    for policy in _policies(size):
        console.print(_proof_table(policy.name, {name: found[policy.name] for name, found in seen.items()}))
    return figures


def _held_by(stood: Standing, inside: tuple[str, ...]) -> Callable[[], object]:
    return lambda: (stood.content(), _ruleset(inside))


def _ruleset(inside: tuple[str, ...]) -> str:
    done = subprocess.run(
        (*inside, "nft", "-s", "list", "ruleset"), capture_output=True, text=True, check=True
    )
    return done.stdout


@contextmanager
def _state_in(folder: str) -> Iterator[None]:
    former = os.environ.get("VPNMESH_STATE_DIR")
    os.environ["VPNMESH_STATE_DIR"] = f"{folder}/state"
    try:
        yield
    finally:
        os.environ.pop("VPNMESH_STATE_DIR")
        if former is not None:
            os.environ["VPNMESH_STATE_DIR"] = former


Proofs = dict[str, list[tuple[ProofLine, ...]]]
"""By policy: what packets did before, during and after."""


def _policies(size: Size) -> list[Policy]:
    return [policy for policy in POLICIES if size is Size.FULL or policy.name == KILLED]


def _proofs(console: Console, size: Size, behind: Behind, figures: list[Figure]) -> Proofs:
    """Every policy set, proven and taken back; what each change cost and what kills did goes to `figures`."""
    mark, bed, nr = FirewallRun("bench"), behind.site.testbed, behind.site.nr
    found: Proofs = {}
    unit = "calls" if behind.driver == "pfsense-rest" else "round trips"
    steps = 0
    for policy in _policies(size):
        seen = [firewall.prove(nr, bed, policy.name)]
        there = _timed(behind, functools.partial(firewall.set_policy, nr, bed, policy.name, mark))
        seen.append(firewall.prove(nr, bed, policy.name))
        back = _timed(behind, functools.partial(firewall.set_policy, nr, bed, _OPEN, mark))
        seen.append(firewall.prove(nr, bed, policy.name))
        found[policy.name] = seen
        steps = there.steps if policy.name == KILLED else steps
        told = [f"{one.steps} {unit}, {one.seconds:.2f} s" for one in (there, back)]
        figures.append(Figure(f"{behind.driver}: {policy.name}", f"set: {told[0]}", f"taken back: {told[1]}"))
    chosen = range(size.of(1, steps), steps + 1)
    figures.append(_kills(console, behind, chosen))
    return found


def _timed(behind: Behind, change: Callable[[], object]) -> Cost:
    with _counted(behind.driver, lambda _steps: None) as steps:
        begun = time.monotonic()
        change()
        return Cost(len(steps), time.monotonic() - begun)


@contextmanager
def _counted(driver: str, after: Callable[[int], None]) -> Iterator[list[str]]:
    """Note every step that the driver makes, and call `after` with their number."""
    made: list[str] = []
    former = [(owner, name, getattr(owner, name)) for owner, name in _STEPS[driver]]

    def noting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            answer = real(*arguments)
            made.append(name)
            after(len(made))
            return answer

        return step

    for owner, name, real in former:
        setattr(owner, name, noting(name, real))
    try:
        yield made
    finally:
        for owner, name, real in former:
            setattr(owner, name, real)


def _kills(console: Console, behind: Behind, steps: Sequence[int]) -> Figure:
    """Kill a change after each of these steps; `workflows.teardown --run` must bring the snapshot back every time."""
    before, equal, dirty = behind.held(), 0, 0
    begun = time.monotonic()
    for step in steps:
        name = f"killed-{step}"
        victim = ("bench.firewall", behind.inventory, name, KILLED, str(step))
        died = subprocess.run((sys.executable, "-m", *victim), check=False).returncode
        if died != -signal.SIGKILL:
            raise OSError(f"the change was not killed after step {step}: exit code {died}")
        dirty += behind.held() != before
        teardown = ("workflows.teardown", "--run", name, "--inventory", behind.inventory)
        done = subprocess.run((sys.executable, "-m", *teardown), check=False, capture_output=True, text=True)
        same = done.returncode == 0 and behind.held() == before
        equal += same
        if not same:
            console.print(f"after step {step}: {done.stdout}{done.stderr}", style="red", highlight=False)
    seconds = (time.monotonic() - begun) / len(steps)
    return Figure(
        f"{behind.driver}: {KILLED} killed with -9 after {len(steps)} different steps, then torn down",
        f"{equal} of {len(steps)} times as before ({seconds:.1f} s each)",
        f"{dirty} times something was left by the kill",
    )


def _proof_table(policy: str, seen: dict[str, list[tuple[ProofLine, ...]]]) -> Table:
    """One line for all destinations of a node that fared alike."""
    users = ", ".join(one.name for one in SCENARIOS if one.policy == policy) or "no scenario"
    heads = [f"{driver}: before, during, after" for driver in seen]
    table = Table("from", "to", "protocol", "expected", *heads, title=f"policy {policy} ({users})")
    rows: dict[tuple[str, ...], list[str]] = {}
    # two inventories may name the nodes in another order
    three = [[{line.expected: line.seen for line in found} for found in moments] for moments in seen.values()]
    for line in next(iter(seen.values()))[0]:
        one = line.expected
        words = [", ".join(_word(found[one]) for found in moments) for moments in three]
        key = (one.source, f"{one.protocol.upper()} {one.port}", _word(one.passes), *words)
        rows.setdefault(key, []).append(one.destination)
    for (source, protocol, expected, *words), destinations in rows.items():
        right = all(word == f"passes, {expected}, passes" for word in words)
        table.add_row(
            source, " ".join(destinations), protocol, expected, *words, style="" if right else "bold red"
        )
    return table


def _word(passes: bool) -> str:  # noqa: FBT001 - one value, one word
    return "passes" if passes else "blocked"


def _die(inventory: str, name: str, policy: str, step: int) -> None:
    """Set the policy and be killed after that many steps."""

    def strike(made: int) -> None:
        if made == step:
            os.kill(os.getpid(), signal.SIGKILL)

    nr, testbed = load(inventory)
    driver = str(nr.inventory.hosts[testbed.firewall.name].get("firewall_driver") or "nftables")
    with _counted(driver, strike):
        firewall.set_policy(nr, testbed, policy, FirewallRun(name))


if __name__ == "__main__":
    _inventory, _name, _policy, _step = sys.argv[1:]
    _die(_inventory, _name, _policy, int(_step))
