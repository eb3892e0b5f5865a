"""A policy put on the firewall between the VLANs for a run: set, kept alive, proven by packets, taken back."""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from nornir.core import Nornir

import tasks
from tasks.firewall.journal import Journal
from tasks.firewall.policy import PATIENT_S, RUN, WAIT_S
from vpnmesh.errors import CheckError
from vpnmesh.firewall.policy import Protocol, policy_named
from vpnmesh.firewall.proof import ProofLine, Seen, proof, targets
from vpnmesh.model import Testbed
from workflows.run.hosts import run_on

JOURNALS = "firewall"
"""The folder of firewall journals in a run's own."""
MOST_CHARS = 40
"""Of a run's name in a rule's description."""
RENEW_EVERY_S = 600.0
"""How often a policy that is set is looked at, and renewed where half of its time has gone."""


@dataclass(slots=True)
class FirewallRun:
    """Whose changes they are and where they are journalled; remembers when the policy was last looked at."""

    run: str = RUN
    journal: Journal | None = None
    looked_at: float = field(default=0.0, repr=False)

    @classmethod
    def of(cls, directory: Path, run: str = "") -> "FirewallRun":
        """The run that keeps its results in that directory, and its firewall journal beside them."""
        return cls(run or run_id(directory), Journal(directory / JOURNALS))


def run_id(directory: Path) -> str:
    """A run directory's name as it can be written into a rule's description."""
    return _written(directory.resolve().name)[-MOST_CHARS:]


def run_of(command: str, directory: Path, *parts: str) -> str:
    """As what another command than a matrix run marks its rules and holds its lease: one name, told by its folder."""
    told = _written("-".join((directory.resolve().name, *parts)))
    return f"{command}-{told[-(MOST_CHARS - len(command) - 1) :]}"


def _written(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)


def set_policy(nr: Nornir, testbed: Testbed, name: str, mark: FirewallRun) -> tuple[str, ...]:
    """Set the policy of that name on the firewall; returns what a person must know."""
    firewall = testbed.firewall.name
    done = run_on(
        nr,
        [firewall],
        tasks.set_firewall_policy,
        policy=policy_named(name),
        testbed=testbed,
        run=mark.run,
        journal=mark.journal,
    )
    mark.looked_at = time.monotonic()
    said: tuple[str, ...] = done[firewall].result
    return said


def keep_policy(nr: Nornir, testbed: Testbed, name: str, mark: FirewallRun) -> None:
    """Renew the policy before it ends by itself; costs nothing while it was looked at a short time ago."""
    if time.monotonic() - mark.looked_at >= RENEW_EVERY_S:
        set_policy(nr, testbed, name, mark)


def roll_back(nr: Nornir, testbed: Testbed, mark: FirewallRun) -> bool:
    """Take away all that the run made on the firewall; returns whether there was anything."""
    firewall = testbed.firewall.name
    done = run_on(
        nr, [firewall], tasks.roll_back_firewall, testbed=testbed, run=mark.run, journal=mark.journal
    )
    return bool(done[firewall].result)


Targets = dict[str, tuple[tuple[str, Protocol, int], ...]]


def prove(nr: Nornir, testbed: Testbed, name: str) -> tuple[ProofLine, ...]:
    """Send packets from every node to every other and set what came through beside what the policy says.

    Where that contradicts the policy, all that was silent is tried again for ten times as long: silence may have
    been the machine's slowness, and then a block proves as little as a failure. What passed once has passed.
    """
    policy = policy_named(name)
    nodes = [node for node in testbed.nodes if node != testbed.firewall]
    tried = {node.name: targets(policy, testbed, node.name) for node in nodes}
    seen = _seen(nr, testbed, tried, WAIT_S)
    lines = proof(policy, testbed, seen)
    if all(line.holds for line in lines):
        return lines
    names = {str(node.underlay): node.name for node in nodes}
    silent = {
        node: tuple(one for one in mine if not seen[node, names[one[0]], one[1], one[2]])
        for node, mine in tried.items()
    }
    again = {node: mine for node, mine in silent.items() if mine}
    return proof(policy, testbed, {**seen, **_seen(nr, testbed, again, PATIENT_S)})


def _seen(nr: Nornir, testbed: Testbed, tried: Targets, wait_s: float) -> Seen:
    names = {str(node.underlay): node.name for node in testbed.nodes if node != testbed.firewall}
    answers = run_on(nr, tried, tasks.probe_reach, targets=tried, wait_s=wait_s) if tried else {}
    return {
        (host, names[address], protocol, port): passed
        for host, result in answers.items()
        for (address, protocol, port), passed in result.result.items()
    }


def prove_policy(nr: Nornir, testbed: Testbed, name: str) -> None:
    """CheckError names the first packet that did not do what the policy says."""
    if broken := [line for line in prove(nr, testbed, name) if not line.holds]:
        raise CheckError("firewall", f"{broken[0]} under policy {name}")
