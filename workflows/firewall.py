"""The firewall between the VLANs: set a policy, prove it by packets, take it back.

\b
examples:
  python -m workflows.firewall show block-udp-k8s             in words, nothing is touched
  python -m workflows.firewall set block-udp --dry-run        the difference, nothing is changed
  python -m workflows.firewall set block-udp --run try-1      set it and prove it
  python -m workflows.firewall prove allow-all                who gets to whom now
  python -m workflows.teardown --run try-1                    take back what try-1 made
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import click
from nornir.core import Nornir
from rich.console import Console
from rich.table import Table

import tasks
from inventory.testbed import load
from tasks.firewall import PATIENT_S, RUN, WAIT_S
from tasks.firewall_journal import Journal
from vpnmesh.errors import CheckError
from vpnmesh.firewall.policy import Protocol, policy_named, resolve
from vpnmesh.firewall.proof import Proven, Seen, proof, targets
from vpnmesh.firewall.words import sentences
from vpnmesh.model import Testbed
from workflows.hosts import run_on
from workflows.options import bad_input_exits_2

RENEW_EVERY_S = 600.0
"""How often a standing policy is looked at, and renewed where half of its time has gone."""
NOT_PROVEN = 1


@dataclass(slots=True)
class FirewallRun:
    """Whose changes they are and where they are journalled; remembers when the policy was last looked at."""

    run: str = RUN
    journal: Journal | None = None
    looked_at: float = field(default=0.0, repr=False)

    @classmethod
    def of(cls, directory: Path) -> "FirewallRun":
        """The run that keeps its results in that directory, and its firewall journal beside them."""
        return cls(run_id(directory), Journal(directory / "firewall"))


def run_id(directory: Path) -> str:
    """A run directory's name as it can stand in a rule's description."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", directory.resolve().name)[-40:]


def set_policy(nr: Nornir, testbed: Testbed, name: str, mark: FirewallRun) -> tuple[str, ...]:
    """Have the firewall hold the policy of that name; returns what a person must know."""
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


def prove(nr: Nornir, testbed: Testbed, name: str) -> tuple[Proven, ...]:
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


def proof_table(name: str, lines: tuple[Proven, ...]) -> Table:
    """Who gets to whom: expected and seen."""
    table = Table("from", "to", "protocol", "port", "expected", "seen", title=f"policy {name}")
    words = {True: "passes", False: "blocked"}
    for line in lines:
        one = line.expected
        style = "" if line.holds else "bold red"
        row = (one.source, one.destination, str(one.protocol), str(one.port))
        table.add_row(*row, words[one.passes], words[line.seen], style=style)
    return table


@click.group(help=__doc__)
def main() -> None:
    """See the module's docstring."""


_inventory = click.option("--inventory", default="lab", show_default=True, help="a folder, or a built-in one")
_run = click.option(
    "--run", "run", default=RUN, show_default=True, help="marks what is made, for the way back"
)


@main.command()
@click.argument("policy")
@_inventory
@bad_input_exits_2
def show(policy: str, inventory: str) -> None:
    """Say in words what a policy does on this testbed."""
    _, testbed = load(inventory)
    for line in sentences(resolve(policy_named(policy), testbed), testbed):
        click.echo(line)


@main.command("prove")
@click.argument("policy")
@_inventory
@bad_input_exits_2
def prove_(policy: str, inventory: str) -> None:
    """Show who gets to whom now beside what the policy says; exit code 1 where they differ."""
    nr, testbed = load(inventory)
    sys.exit(_show_proof(nr, testbed, policy))


@main.command("set")
@click.argument("policy")
@_inventory
@_run
@click.option("--dry-run", is_flag=True, help="show the difference, change nothing")
@bad_input_exits_2
def set_(policy: str, inventory: str, run: str, *, dry_run: bool) -> None:
    """Have the firewall hold a policy, and prove it; allow-all takes back what this run made."""
    nr, testbed = load(inventory)
    wanted = policy_named(policy)
    if dry_run:
        firewall = testbed.firewall.name
        done = run_on(
            nr, [firewall], tasks.set_firewall_policy, policy=wanted, testbed=testbed, dry_run=True, run=run
        )
        click.echo(done[firewall].diff or "nothing to do")
        return
    for text in set_policy(nr, testbed, policy, FirewallRun(run)):
        click.echo(text, err=True)
    sys.exit(_show_proof(nr, testbed, policy))


def _show_proof(nr: Nornir, testbed: Testbed, policy: str) -> int:
    lines = prove(nr, testbed, policy)
    Console().print(proof_table(policy, lines))
    return 0 if all(line.holds for line in lines) else NOT_PROVEN


if __name__ == "__main__":
    main()
