"""Leave nodes as they were: lift every impairment, cluster, pod network, mesh, setting and firewall policy of ours.

A run does this by itself, also after Ctrl-C; this is for what a kill -9 or a power cut left on real machines.
RUN is a run's directory, or a name: what a node is said to be held by, or `workflows.firewall set --run` was given. The
folders of `criteria --verify` (of one VPN), `nat-grid` and `fallback` are taken, too. A run's directory is enough: how
its nodes are reached is kept in it, so that the inventory may have changed or be gone since; only passwords are
still taken from there. Works again and again; exit code 0 when nothing is left, 1 when something could not be taken
away or a node could not be reached.

\b
examples:
  python -m workflows.teardown --run runs/20260101-120000          what that run left
  python -m workflows.teardown --all                               what any run below runs/ may have left
  python -m workflows.teardown --all --runs /data/runs --dry-run   the same of other runs, only shown
  python -m workflows.teardown --inventory my-testbed              clean everything of ours
  python -m workflows.teardown --inventory my-testbed --dry-run    show what would go
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import click

from inventory.load import load
from inventory.marks import refuse_unmarked
from vpnmesh.errors import InputError
from workflows.run.cluster_record import forget_cluster, settings_before_cluster
from workflows.run.firewall import FirewallRun
from workflows.run.lease import forget_leases, refuse_held, runs_going_on
from workflows.run.left_runs import LeftRun, left_run, left_study, runs_below
from workflows.run.measured_hosts import FILE as MEASURED
from workflows.run.options import bad_input_exits_2
from workflows.run.site import Site
from workflows.run.teardown import Left, at_home, sweep
from workflows.run.terminal import say

CLEAN, NOT_CLEAN = 0, 1
_END_IT = "end that run, or wait until its lease is over; --force where you know that it has ended"
NOTHING_LEFT = "nothing of vpnmesh is left"


@click.command(help=__doc__)
@click.option("--run", "run", help="a run's directory, or its id")
@click.option("--all", "every", is_flag=True, help="every run below --runs that may have left something")
@click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="with --all"
)
@click.option(
    "--inventory", help="a built-in inventory, or a folder with hosts.yaml; default: the run's own, else lab"
)
@click.option(
    "--force", is_flag=True, help="also where the lease of a run says that it may still be going on"
)
@click.option("--dry-run", is_flag=True, help="show what would be removed, and remove nothing")
@bad_input_exits_2
def main(
    *, run: str | None, every: bool, runs: Path, inventory: str | None, force: bool, dry_run: bool
) -> None:
    """Clean all nodes."""
    if every and (run or inventory):
        raise InputError("--all", "goes without --run and --inventory", "each run has its own nodes")
    codes = [_clean(one, inventory, force=force, dry_run=dry_run) for one in _chosen(run, runs, every=every)]
    code = max(codes, default=CLEAN)
    if code == CLEAN:
        say("nothing was changed" if dry_run else NOTHING_LEFT)
    sys.exit(code)


def _chosen(run: str | None, runs: Path, *, every: bool) -> Sequence[LeftRun]:
    """The runs whose leavings are wanted; one without a directory is an id, or nothing but an inventory."""
    if every:
        return runs_below(runs)
    if run and (Path(run) / "manifest.json").exists():
        return (left_run(Path(run)),)
    if run and (study := left_study(Path(run))) is not None:
        return (study,)
    if run and "/" in run:
        raise InputError(
            "--run", f"{run} holds neither manifest.json nor {MEASURED}", "name a run's folder, or a run"
        )
    return (LeftRun(left=Left(FirewallRun(run) if run else None)),)


def _clean(run: LeftRun, inventory: str | None, *, force: bool, dry_run: bool) -> int:
    """Take away what that run left; the exit code."""
    if run.directory:
        say(f"{run.directory}:")
    if run.lab_is_gone and inventory is None:
        run.note_clean()
        return CLEAN
    site = Site(*(run.place() if inventory is None else load(inventory)))
    if not dry_run:
        refuse_unmarked(site.nr.inventory.hosts[node.name] for node in site.testbed.nodes)
    if not (force or dry_run):
        # what a run that may be going on made is not taken away beneath it
        refuse_held(runs_going_on(site), _END_IT)
    former = {**settings_before_cluster(site.testbed), **run.left.sysctls}
    left = replace(run.left, sysctls=former)
    code = CLEAN
    for removal in chain(at_home(site, dry_run=dry_run), sweep(site, left, dry_run=dry_run)):
        if told := removal.told(dry_run=dry_run):
            say(told, err=bool(removal.error))
        code = NOT_CLEAN if removal.error else code
    return code if dry_run or code != CLEAN else _forgotten(site, run)


def _forgotten(site: Site, run: LeftRun) -> int:
    """Once all is clean: have the nodes undo what nothing here looks for, and forget the run; the exit code.

    As long as something is left they keep their leases, and undo it by themselves.
    """
    failed = forget_leases(site, run.left.mark.run if run.left.mark else "")
    for host, error in failed.items():
        say(f"{host}: lease: {error}", err=True)
    if failed:
        return NOT_CLEAN
    forget_cluster(site.testbed)
    run.note_clean()
    return CLEAN


if __name__ == "__main__":
    main()
