"""A Kubernetes cluster over a VPN that stays: bring it up on the lab or on your machines, look at it, take it down.

The order is the one that works: firewall policy, the VPN's control plane, members join, every pair has its path, and
only then, on the addresses that there are now, the cluster. `up` proves all of it by packets, writes a kubeconfig, and
leaves it standing; `status` and `down` know by themselves what stands. No run starts beside it.

Exit codes: 0 done, 1 failed or something left, 2 bad input, 3 not ready or nothing stands (status, up on what stands),
130 Ctrl-C: then all that was made is taken off again.

\b
examples:
  python -m workflows.cluster up                                       over headscale-direct, in the lab
  python -m workflows.cluster up --scenario wireguard-direct --cluster k3s
  python -m workflows.cluster up --inventory my-testbed --kubeconfig ~/.kube/over-the-vpn
  python -m workflows.cluster up --dry-run                             what would change on every node
  python -m workflows.cluster status                                   nodes, pods, the path of every pair
  python -m workflows.cluster down                                     nodes are as they were
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from inventory.load import load
from vpnmesh.cluster import INSTALLERS, PODS, installer_named
from vpnmesh.cluster.protocol import Installer
from vpnmesh.errors import InputError, VpnmeshError
from vpnmesh.model import Path as Way
from vpnmesh.study.scenarios import BUILT_IN
from workflows.run.agreement import may_change, yes_option
from workflows.run.cluster_record import (
    ClusterFiles,
    ClusterPhase,
    ClusterRecord,
    begun,
    refuse_another,
    state_in_words,
)
from workflows.run.cluster_shown import StageLines, how_to_use, show
from workflows.run.cluster_view import look
from workflows.run.dry_run import show_scenario
from workflows.run.firewall import FirewallRun
from workflows.run.foreign import beside_option
from workflows.run.intents import of_lease, of_scenario
from workflows.run.interrupts import InterruptedRunError, interruptible
from workflows.run.lab import lab_for
from workflows.run.options import KnownScenarios, bad_input_exits_2, scenario_file
from workflows.run.progress import make_console
from workflows.run.provision import firewall_policy
from workflows.run.site import Site
from workflows.run.standing_cluster import Wanted, end, raise_standing
from workflows.run.teardown import Left, sweep

DONE, FAILED, NOT_READY = 0, 1, 3
FIRST = next(one.name for one in BUILT_IN.scenarios if one.tunnel_mtu is not None and one.path is Way.DIRECT)
"""The VPN that is taken unless another is named: the first of the paper's, on its direct path."""
RUN = "cluster"
"""Whose changes on the firewall they are."""


@click.group(help=__doc__)
def main() -> None:
    """See the module's docstring."""


@main.command("up", short_help="Bring it up and leave it standing.")
@click.option("--scenario", default=FIRST, show_default=True, help="what the cluster lies over")
@scenario_file
@click.option("--cluster", default="kubernetes", show_default=True, help="how Kubernetes is installed")
@click.option(
    "--inventory",
    default="lab",
    show_default=True,
    help="a built-in one, a folder, netbox, or netbox:FILTERS; a lab that is not up is brought up, and stays",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    help="where the kubeconfig goes (0600); default: beside the record of what stands",
)
@yes_option
@beside_option
@click.option("--dry-run", is_flag=True, help="show what would change on every node, and change nothing")
@bad_input_exits_2
def up_command(
    *,
    scenario: str,
    scenario_files: tuple[str, ...],
    cluster: str,
    inventory: str,
    kubeconfig: Path | None,
    dry_run: bool,
) -> None:
    """Bring the cluster up and leave it standing; a second time it only looks whether all is as it must be."""
    wanted = KnownScenarios.of_files(scenario_files).catalogue.named(scenario, "--scenario")
    installer, files = _installer(cluster), ClusterFiles.here()
    nr, testbed = load(inventory)
    site = Site(nr, testbed, firewall=FirewallRun(RUN), installer=installer)
    record = begun(wanted, installer.name, inventory, testbed)
    with _session(site, files), contextlib.ExitStack() as held:
        if dry_run:
            held.enter_context(lab_for(testbed, make_console(), kubernetes=True))
            show_scenario(make_console(), site, wanted)
            click.echo("nothing was changed")
            return
        held.enter_context(files.alone("up"))
        if there := refuse_another(files, record):
            # the firewall's rules end by themselves
            firewall_policy(site, wanted.policy)
            click.echo("stands already: nothing was started anew")
            sys.exit(_look(site, there, installer))
        intents = [of_lease(site), of_scenario(site, wanted)]
        may_change(site, inventory, intents)
        there = _raise(site, Wanted(record, files, _target(files, kubeconfig)))
        for line in how_to_use(there, testbed.master.name):
            click.echo(line)


@main.command("status", short_help="Show nodes, pods and paths; 3 if not ready.")
@click.option("--json", "as_json", is_flag=True, help="only a JSON object on stdout")
@bad_input_exits_2
def status_command(*, as_json: bool) -> None:
    """Show nodes, pods, the path of every pair and the API's answer; exit code 3 where something is not ready."""
    files = ClusterFiles.here()
    record = files.read()
    said = state_in_words(files, record)
    if record is None or said:
        phase = record.phase if record else "none"
        click.echo(json.dumps({"phase": phase, "ready": False, "troubles": [said]}) if as_json else said)
        sys.exit(NOT_READY)
    site = _site(record)
    with _session(site, files):
        sys.exit(_look(site, record, _installer(record.installer), as_json=as_json))


@main.command("down", short_help="Take it away; nodes are as they were.")
@click.option("--dry-run", is_flag=True, help="show what would be removed, and remove nothing")
@bad_input_exits_2
def down_command(*, dry_run: bool) -> None:
    """Take the cluster, its VPN and a lab that was brought up for it away; nodes are as they were before `up`."""
    files = ClusterFiles.here()
    record = files.read()
    if record is None:
        click.echo("no cluster stands: nothing to take down")
        return
    site, gone = _site(record), record.lab_is_gone
    with _session(site, files):
        if dry_run:
            for removal in () if gone else sweep(site, Left(site.firewall), dry_run=True):
                if told := removal.told(dry_run=True):
                    click.echo(told)
            click.echo("nothing was changed")
            return
        with files.alone("down"):
            left = end(site, record, files)
    if left:
        _complain(left, files)
        sys.exit(FAILED)
    lab = "; the lab had been ended before" if gone else "; the lab is down" if record.lab_is_ours else ""
    click.echo(f"{record.named} is taken down, nothing is left{lab}")


def _installer(name: str) -> Installer:
    if name == PODS:
        raise InputError("--cluster", f"'{PODS}' is no cluster", f"known are: {', '.join(INSTALLERS)}")
    return installer_named(name)


def _site(record: ClusterRecord) -> Site:
    """The machines on which it stands."""
    return Site(*load(record.inventory), firewall=FirewallRun(RUN), installer=_installer(record.installer))


def _target(files: ClusterFiles, asked: Path | None) -> Path:
    """Where the kubeconfig goes; InputError where it cannot go there, before anything is touched."""
    if asked is None:
        return files.kubeconfig
    if asked.exists() or asked.is_symlink():
        raise InputError("--kubeconfig", f"{asked} is there already", "name another file, or move it away")
    if not os.access(asked.absolute().parent, os.W_OK | os.X_OK):
        raise InputError("--kubeconfig", f"no file can be made in {asked.absolute().parent}")
    return asked


@contextlib.contextmanager
def _session(site: Site, files: ClusterFiles) -> Iterator[None]:
    """Ctrl-C ends what is under way, with its exit code; connections are closed in any case."""
    try:
        with interruptible(site.nr):
            yield
    except InterruptedRunError as interrupt:
        record = files.read()
        if record is not None and record.phase is not ClusterPhase.STANDING:
            click.echo("interrupted; go on with: vpnmesh cluster down", err=True)
        sys.exit(128 + interrupt.signum)
    finally:
        site.nr.close_connections()


def _raise(site: Site, wanted: Wanted) -> ClusterRecord:
    """Bring it up, with a line for every stage; what went wrong is said, and that nothing of it is left."""
    lines = StageLines(make_console())
    site.tell = lines
    try:
        with lines.shown():
            return raise_standing(site, wanted)
    except (InterruptedRunError, VpnmeshError):
        for name, text in site.take_logs().items():
            wanted.files.keep_log(name, text)
        if left := site.take_complaints():
            _complain(left, wanted.files)
        else:
            click.echo("nothing of it is left", err=True)
        raise


def _complain(left: list[str], files: ClusterFiles) -> None:
    for one in left:
        click.echo(f"left: {one}", err=True)
    if record := files.read():
        lab = ", or, since it is a lab: vpnmesh lab down" if record.lab else ""
        click.echo(f"go on with: vpnmesh cluster down{lab}", err=True)


def _look(site: Site, record: ClusterRecord, installer: Installer, *, as_json: bool = False) -> int:
    """Show what is there now; the exit code."""
    view = look(site, record, installer)
    if as_json:
        click.echo(json.dumps(view.as_json(record), indent=1))
    else:
        show(make_console(), view, record)
    return NOT_READY if view.troubles else DONE


if __name__ == "__main__":
    main()
