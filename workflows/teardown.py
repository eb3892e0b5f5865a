"""Take away what a run left when it could not do so itself: `python -m workflows.teardown --run RUN`.

RUN is a run's directory, or the id that `workflows.firewall set --run` was given. Works again and again; exit
code 0 when nothing of the run is left, 1 when something could not be taken away.
"""

import sys
from pathlib import Path

import click

from inventory.testbed import load
from vpnmesh.errors import VpnmeshError
from workflows import firewall, provenance
from workflows.firewall import FirewallRun
from workflows.options import bad_input_exits_2
from workflows.store import Store

CLEAN, NOT_CLEAN = 0, 1


@click.command(help=__doc__)
@click.option("--run", "run", required=True, help="a run's directory, or its id")
@click.option("--inventory", help="default: the run's own, else lab")
@bad_input_exits_2
def main(run: str, inventory: str | None) -> None:
    """Parse and take away."""
    mark, name = _found(run)
    nr, testbed = load(inventory or name)
    try:
        anything = firewall.roll_back(nr, testbed, mark)
    except VpnmeshError as error:
        click.echo(str(error), err=True)
        sys.exit(NOT_CLEAN)
    click.echo(f"firewall: {'rolled back' if anything else 'nothing left'} of run {mark.run}")
    sys.exit(CLEAN)


def _found(run: str) -> tuple[FirewallRun, str]:
    """Whose changes, and in which inventory."""
    directory = Path(run)
    if not (directory / "manifest.json").exists():
        return FirewallRun(run), "lab"
    _, _, inventory = provenance.read_request(Store.open(directory).manifest(), run)
    return FirewallRun.of(directory), inventory


if __name__ == "__main__":
    main()
