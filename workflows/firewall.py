"""The firewall between the VLANs: set a policy, prove it by packets, take it back.

\b
examples:
  python -m workflows.firewall show block-udp-k8s             in words, nothing is touched
  python -m workflows.firewall set block-udp --dry-run        the difference, nothing is changed
  python -m workflows.firewall set block-udp --run try-1      set it and prove it
  python -m workflows.firewall prove allow-all                who gets to whom now
  python -m workflows.teardown --run try-1                    take back what try-1 made
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import sys

import click
from nornir.core import Nornir
from rich.console import Console
from rich.table import Table

import tasks
from inventory.load import load
from tasks.firewall.policy import RUN
from vpnmesh.firewall.explanation import sentences
from vpnmesh.firewall.policy import policy_named, resolve
from vpnmesh.firewall.proof import ProofLine
from vpnmesh.model import Testbed
from workflows.run.agreement import may_change, yes_option
from workflows.run.firewall import FirewallRun, prove, set_policy
from workflows.run.hosts import run_on
from workflows.run.intents import of_policy
from workflows.run.lease import refuse_beside_run
from workflows.run.options import bad_input_exits_2
from workflows.run.site import Site
from workflows.run.terminal import say

NOT_PROVEN = 1


def proof_table(name: str, lines: tuple[ProofLine, ...]) -> Table:
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
        say(line)


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
@yes_option
@click.option("--dry-run", is_flag=True, help="show the difference, change nothing")
@bad_input_exits_2
def set_(policy: str, inventory: str, run: str, *, dry_run: bool) -> None:
    """Set a policy on the firewall, and prove it; allow-all takes back what this run made."""
    nr, testbed = load(inventory)
    wanted = policy_named(policy)
    firewall = testbed.firewall.name

    def difference() -> list[tuple[str, str]]:
        done = run_on(
            nr, [firewall], tasks.set_firewall_policy, policy=wanted, testbed=testbed, dry_run=True, run=run
        )
        return [(firewall, str(done[firewall].diff))]

    if dry_run:
        say(difference()[0][1] or "nothing to do")
        return
    site = Site(nr, testbed)
    may_change(site, inventory, [of_policy(policy, difference)])
    refuse_beside_run(site)
    for text in set_policy(nr, testbed, policy, FirewallRun(run)):
        say(text, err=True)
    sys.exit(_show_proof(nr, testbed, policy))


def _show_proof(nr: Nornir, testbed: Testbed, policy: str) -> int:
    lines = prove(nr, testbed, policy)
    Console(markup=False).print(proof_table(policy, lines))
    return 0 if all(line.holds for line in lines) else NOT_PROVEN


if __name__ == "__main__":
    main()
