"""Inventories: look at one, judge it, and keep YAML and NetBox the same.

An INVENTORY is a folder with hosts.yaml, the name of a built-in one, or `netbox`, which reads what $NETBOX_URL
holds with the token in $NETBOX_TOKEN; `netbox:site=lab,tag=study` reads a part of it.

\b
examples:
  python -m workflows.inventory init my-testbed          asks, and writes the files of six machines
  python -m workflows.inventory show lab
  python -m workflows.inventory validate netbox:site=lab
  python -m workflows.inventory seed lab --dry-run       what would change in NetBox
  python -m workflows.inventory seed lab
  python -m workflows.inventory diff lab netbox:site=lab   exit code 1 where they differ
  python -m workflows.inventory trust my-testbed          first host keys: shown, compared by you, written once
  python -m workflows.inventory export netbox:site=lab copy
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from inventory.answered import documents_of
from inventory.documents import Documents, diff, read_folder
from inventory.load import NETBOX, folder_of, load, load_hosts, netbox_filters
from inventory.netbox import read_documents
from inventory.netbox_client import NetBox
from inventory.new_folder import refuse_taken, write, write_new
from inventory.questions import YES, questions
from inventory.sync import SeedPlan, apply, plan
from vpnmesh.errors import InputError
from vpnmesh.model import Testbed
from vpnmesh.testbed import MARK
from workflows.run.addresses import refuse_controller
from workflows.run.asking import ask, drivers_offered, given_answers, question_table
from workflows.run.options import bad_input_exits_2
from workflows.run.progress import make_console
from workflows.run.terminal import say
from workflows.run.trusting import accepted_keys, trust_hosts

SAME, DIFFERENT = 0, 1


@click.group(help=__doc__)
def main() -> None:
    """See the module's docstring."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--set", "given", metavar="KEY=VALUE", multiple=True, help="an answer; nobody is asked that")
@click.option("--defaults", is_flag=True, help="ask nothing: the default where --set says nothing else")
@click.option("--questions", "listed", is_flag=True, help="list every question with its key and default")
@bad_input_exits_2
def init(folder: Path | None, given: Sequence[str], *, defaults: bool, listed: bool) -> None:
    """Ask what six machines behind a router are, and write them as an inventory into FOLDER.

    \b
    examples:
      python -m workflows.inventory init my-testbed
      python -m workflows.inventory init --questions
      python -m workflows.inventory init my-testbed --defaults --set domain=lab.example.org --set worker1.vlan=120
    """  # noqa: D301 - click's mark
    if listed:
        make_console().print(question_table())
        return
    if folder is None:
        raise InputError("FOLDER", "missing", "say where to write, for example my-testbed")
    refuse_taken(folder)
    asked = questions(drivers_offered())
    answers = ask(asked, given_answers(given, asked), defaults=defaults)
    for path in write_new(folder, documents_of(answers, drivers_offered())):
        say(str(path))
    if answers["mine"] != YES:
        say(f"no host is marked: write `{MARK}: true` into the data of each that may be changed", err=True)
    say(f"next: python -m workflows.inventory validate {shlex.quote(str(folder))}", err=True)


@main.command()
@click.argument("inventory", default="lab")
@click.option("--json", "as_json", is_flag=True, help="only the typed testbed as JSON on stdout")
@bad_input_exits_2
def show(inventory: str, *, as_json: bool) -> None:
    """List nodes and VLANs as the study sees them."""
    _, testbed = load(inventory)
    if as_json:
        click.echo(json.dumps(asdict(testbed), indent=1, default=_plain))
        return
    console = make_console()
    for table in tables(testbed):
        console.print(table)


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def tables(testbed: Testbed) -> tuple[Table, Table]:
    """The testbed's nodes and its VLANs, for a terminal."""
    nodes = Table(
        *("node", "kind", "site", "roles", "managed at", "VLAN", "interface", "address"), title=testbed.name
    )
    for node in testbed.nodes:
        roles = ", ".join(sorted(node.roles))
        for index, leg in enumerate(node.legs):
            first = ("",) * 5 if index else (node.name, node.kind, node.site, roles, node.management)
            nodes.add_row(*first, str(leg.vid), leg.interface, str(leg.address))
    vlans = Table("VLAN", "name", "prefix", "gateway")
    for vlan in testbed.vlans:
        vlans.add_row(str(vlan.vid), vlan.name, str(vlan.prefix), str(vlan.gateway))
    return nodes, vlans


@main.command()
@click.argument("inventory", default="lab")
@bad_input_exits_2
def validate(inventory: str) -> None:
    """Apply every rule; say what is wrong (exit code 2), or that nothing is."""
    nr, testbed = load(inventory)
    refuse_controller(testbed, nr.inventory.hosts)
    say(f"{inventory}: valid: {len(testbed.nodes)} nodes in {len(testbed.vlans)} VLANs")


@main.command()
@click.argument("inventory", default="lab")
@click.option(
    "--accept", multiple=True, metavar="HOST=SHA256:...", help="a key to accept; nobody is asked then"
)
@bad_input_exits_2
def trust(inventory: str, accept: tuple[str, ...]) -> None:
    """Show the keys of all hosts, ask once, and write those that are new to the known_hosts file of their logins.

    Nobody logs in. Exit code 1 where a host does not answer or stays unknown, 2 where a key is not the known one.
    """
    sys.exit(trust_hosts(load_hosts(inventory), accepted_keys(accept)))


@main.command()
@click.argument("folder", default="lab")
@click.option("--dry-run", is_flag=True, help="show what would change, and change nothing")
@bad_input_exits_2
def seed(folder: str, *, dry_run: bool) -> None:
    """Make NetBox hold what the YAML files of FOLDER say; a second time changes nothing."""
    path = folder_of(folder)
    documents = read_folder(path)
    netbox = NetBox.from_environment()
    done = (plan if dry_run else apply)(netbox, documents, str(path / "hosts.yaml"))
    if done:
        say(done.diff)
    say(f"{netbox.url}: {_summary(done)}{' (dry run: nothing was written)' if dry_run and done else ''}")


def _summary(done: SeedPlan) -> str:
    verbs = (("post", "made"), ("patch", "changed"), ("delete", "deleted"))
    counts = [f"{done.count(verb)} {word}" for verb, word in verbs if done.count(verb)]
    return ", ".join(counts) or "holds everything already"


@main.command(name="diff")
@click.argument("before", default="lab")
@click.argument("after", default=NETBOX)
@bad_input_exits_2
def show_diff(before: str, after: str) -> None:
    """Compare two inventories, YAML or NetBox; exit code 0 where they say the same, 1 where not."""
    lines = diff(read(before), read(after), before, after)
    say(lines or f"{before} and {after} say the same")
    sys.exit(DIFFERENT if lines else SAME)


@main.command()
@click.argument("inventory")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="replace the files that are there")
@bad_input_exits_2
def export(inventory: str, folder: Path, *, force: bool) -> None:
    """Write INVENTORY as hosts.yaml, groups.yaml and defaults.yaml into FOLDER."""
    documents = read(inventory)
    if not force:
        refuse_taken(folder, "choose another folder, or say --force")
    for path in write(folder, documents):
        say(str(path))


def read(inventory: str) -> Documents:
    """The documents behind an inventory's name, not judged as a testbed."""
    if inventory.partition(":")[0] == NETBOX:
        return read_documents(NetBox.from_environment(), netbox_filters(inventory))
    return read_folder(folder_of(inventory))


if __name__ == "__main__":
    main()
