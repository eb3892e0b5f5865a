"""Leave nodes as they were: lift every impairment, cluster, pod network, mesh and firewall policy of ours.

A run does this by itself, also after Ctrl-C; this is for what a kill -9 or a power cut left on real machines.
RUN is a run's directory (its inventory is taken), or the id that `workflows.firewall set --run` was given. Works
again and again; exit code 0 when nothing is left, 1 when something could not be taken away.

\b
examples:
  python -m workflows.teardown --run runs/20260101-120000          what that run left
  python -m workflows.teardown --inventory my-testbed              clean everything of ours
  python -m workflows.teardown --inventory my-testbed --dry-run    show what would go
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import sys
from pathlib import Path

import click

from inventory.load import load
from workflows.run.cluster_record import forget_cluster
from workflows.run.firewall import FirewallRun
from workflows.run.options import bad_input_exits_2
from workflows.run.requested import read_request
from workflows.run.site import Site
from workflows.run.store import RunFiles
from workflows.run.teardown import sweep

CLEAN, NOT_CLEAN = 0, 1


@click.command(help=__doc__)
@click.option("--run", "run", help="a run's directory, or its id")
@click.option(
    "--inventory", help="a built-in inventory, or a folder with hosts.yaml; default: the run's own, else lab"
)
@click.option("--dry-run", is_flag=True, help="show what would be removed, and remove nothing")
@bad_input_exits_2
def main(*, run: str | None, inventory: str | None, dry_run: bool) -> None:
    """Clean all nodes."""
    mark, name = _found(run) if run else (None, "lab")
    site = Site(*load(inventory or name))
    code = CLEAN
    for removal in sweep(site, mark, dry_run=dry_run):
        if told := removal.told(dry_run=dry_run):
            click.echo(told, err=bool(removal.error))
        code = NOT_CLEAN if removal.error else code
    if code == CLEAN and not dry_run:
        forget_cluster(site.testbed)
    if code == CLEAN:
        click.echo("nothing was changed" if dry_run else "nothing of vpnmesh is left")
    sys.exit(code)


def _found(run: str) -> tuple[FirewallRun, str]:
    """Whose changes, and in which inventory."""
    directory = Path(run)
    if not (directory / "manifest.json").exists():
        return FirewallRun(run), "lab"
    asked = read_request(RunFiles(directory).manifest(), run)
    return FirewallRun.of(directory), asked.inventory


if __name__ == "__main__":
    main()
