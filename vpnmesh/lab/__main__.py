"""`python -m vpnmesh.lab`: the embedded testbed by hand."""

import contextlib
import os
import platform
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table

from vpnmesh.errors import InputError, UnavailableError, UnknownNameError, VpnmeshError, printable
from vpnmesh.host.binaries import Arch
from vpnmesh.lab import binaries, twin_command
from vpnmesh.lab.binaries import command
from vpnmesh.lab.cgroup_tree import join_node
from vpnmesh.lab.cgroups import plan_cgroups
from vpnmesh.lab.directory import lab_directory
from vpnmesh.lab.inventory_files import default_folder, read_testbed
from vpnmesh.lab.lifecycle import DEFAULT_PORT_RATE_MBIT_S, Lab, down, find, up
from vpnmesh.lab.replaying import replayed_in
from vpnmesh.lab.sizes import size_named, sized, sized_testbed, write_inventory
from vpnmesh.lab.substrate import Substrate, examine

_EXAMPLES = """
\b
Examples:
  python -m vpnmesh.lab up                      six nodes, ports at 1 Gbit/s
  python -m vpnmesh.lab up --port-rate none     unshaped
  python -m vpnmesh.lab up --nodes 12           six workers more; other commands: --inventory lab-12
  python -m vpnmesh.lab up --like my-testbed    its twin: the same names, VLANs, addresses; --inventory twin
  python -m vpnmesh.lab up --like my-testbed --paths paths.json   with its paths' round trips and loss
  python -m vpnmesh.lab up --like netbox:site=edge --dry-run   what would be built, and what differs
  python -m vpnmesh.lab up --kubernetes         nodes that can run containers and kubelet
  python -m vpnmesh.lab shell worker1           a root shell in a node
  python -m vpnmesh.lab shell worker1 -- ping -c1 relay
  python -m vpnmesh.lab status                  nodes, and what this machine can carry
  python -m vpnmesh.lab down                    nothing stays
  python -m vpnmesh.lab binaries --install      the VPNs' programs, checksums verified

\b
The lab's directory is /run/vpnmesh/lab, or what VPNMESH_LAB_DIR names.
Exit codes: 0 done, 1 failed, 2 bad input, 3 (status, shell) no lab is up.
"""
_NOT_UP = 3


def _rate(_context: click.Context, _parameter: click.Parameter, value: str) -> float | None:
    if value == "none":
        return None
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"'{value}' is neither a number of Mbit/s nor 'none'") from None


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
    """Turn errors that vpnmesh raises on purpose into one sentence and an exit code."""
    try:
        yield
    except (InputError, UnavailableError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except VpnmeshError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


@click.group(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Bring up, look at and take down the embedded testbed: six nodes with SSH, on this machine's kernel."""


@main.command("up")
@click.option(
    "--inventory",
    "folder",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder with hosts.yaml, groups.yaml and defaults.yaml.  [default: inventory/lab]",
)
@click.option(
    "--nodes",
    type=int,
    default=None,
    help="How many nodes: those of the inventory and more workers, each in a VLAN of its own.  [default: 6]",
)
@click.option(
    "--like",
    metavar="INVENTORY",
    default=None,
    help="A twin of that testbed: a folder, netbox, or netbox:FILTERS; what differs is shown.",
)
@click.option(
    "--paths",
    type=click.Path(path_type=Path),
    metavar="FILE",
    default=None,
    help="With --like: replay round trips and loss that `workflows.doctor --record-paths FILE` measured.",
)
@click.option("--dry-run", is_flag=True, help="With --like: show what would be built, and build nothing.")
@click.option(
    "--port-rate",
    default=f"{DEFAULT_PORT_RATE_MBIT_S:g}",
    show_default=True,
    callback=_rate,
    help="Rate of every VLAN port in Mbit/s, or 'none'.",
)
@click.option(
    "--kubernetes",
    is_flag=True,
    help="Nodes with cgroups of their own, which can run containers and kubelet.",
)
@click.pass_context
def up_command(
    context: click.Context,
    folder: Path | None,
    nodes: int | None,
    like: str | None,
    paths: Path | None,
    port_rate: float | None,
    *,
    dry_run: bool,
    kubernetes: bool,
) -> None:
    """Bring the lab up; it stays up until `down`. A second `up` changes nothing.

    With --like it is the twin of another testbed: the same names, roles, VLANs, prefixes and addresses.
    """
    with _sentences():
        _check_options(folder, nodes, like, paths, dry_run=dry_run)
        if like is not None:
            asked = context.get_parameter_source("port_rate") is not ParameterSource.DEFAULT
            request = _request(like, port_rate, paths, rate_is_asked=asked, kubernetes=kubernetes)
            _up_like(request, dry_run=dry_run)
            return
        base = folder or default_folder()
        testbed = read_testbed(base) if nodes is None else sized_testbed(base, nodes)
        before = find()
        lab = up(testbed, port_rate_mbit_s=port_rate, kubernetes=kubernetes, progress=_show_step)
        if not _tell_up(lab, before):
            return
        if size_named(testbed.name) is not None:
            click.echo(f"other commands take it by --inventory {testbed.name}")
        _tell_login(lab)


def _check_options(
    folder: Path | None, nodes: int | None, like: str | None, paths: Path | None, *, dry_run: bool
) -> None:
    if like is not None and (folder is not None or nodes is not None):
        raise InputError("--like", "goes with neither --inventory nor --nodes", "name one testbed")
    for option, given in (("--dry-run", dry_run), ("--paths", paths is not None)):
        if given and like is None:
            raise InputError(option, "goes with --like", "name a testbed, e.g. --like inventory/baremetal")


def _request(
    like: str, port_rate: float | None, paths: Path | None, *, rate_is_asked: bool, kubernetes: bool
) -> twin_command.TwinRequest:
    from inventory.sources import inventory_text  # noqa: PLC0415 - NetBox and Nornir, which no other lab needs

    text, place = inventory_text(like, "--like")
    return twin_command.TwinRequest(text, place, port_rate, rate_is_asked, kubernetes, paths)


def _up_like(request: twin_command.TwinRequest, *, dry_run: bool) -> None:
    twin, rate = twin_command.plan(request)
    twin_command.show(twin, rate)
    if dry_run:
        if found := twin_command.read_paths(request, twin):
            twin_command.show_recorded(found)
        click.echo("nothing was built")
        return
    before = find()
    lab = twin_command.build(twin, rate, request, _show_step)
    _tell_up(lab, before)
    twin_command.tell_how_to_use()
    _tell_login(lab)


def _tell_up(lab: Lab, before: Lab | None) -> bool:
    """Say that it is up; whether it came up just now."""
    if before and before.init_pid == lab.init_pid:
        click.echo(f"the lab is up already, in {lab.directory}")
        return False
    total = sum(timing.seconds for timing in lab.timings)
    click.echo(f"{total:8.3f} s  lab '{lab.record.testbed}' is up, {len(lab.record.nodes)} nodes")
    return True


def _tell_login(lab: Lab) -> None:
    click.echo(f"ssh -i {lab.key_file} -o UserKnownHostsFile={lab.known_hosts} {_first_login(lab)}")


def _first_login(lab: Lab) -> str:
    return f"{lab.user}@{lab.record.nodes[0].management}"


def _show_step(name: str, seconds: float) -> None:
    click.echo(f"{seconds:8.3f} s  {name}")


@main.command("inventory")
@click.option("--nodes", type=int, required=True, help="How many nodes.")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where."
)
def inventory_command(nodes: int, folder: Path) -> None:
    """Write the inventory of a larger lab into a folder, to change it: `up` and all commands take --inventory."""
    with _sentences():
        write_inventory(sized(default_folder(), nodes), folder)
    click.echo(printable(f"written: {folder}/hosts.yaml, groups.yaml, defaults.yaml"))


@main.command("status")
def status_command() -> None:
    """Show the nodes and what this machine can carry; exit code 3 if no lab is up."""
    with _sentences():
        lab = find()
        console = Console(width=None if sys.stdout.isatty() else 160)
        if lab:
            console.print(_headline(lab), highlight=False)
            console.print(_nodes_table(lab))
            total = sum(timing.seconds for timing in lab.timings)
            steps = ", ".join(f"{timing.step} {timing.seconds:.3f}" for timing in lab.timings)
            console.print(f"came up in {total:.3f} s: {steps}", highlight=False)
        else:
            console.print(f"no lab is up in {lab_directory(None).path}")
        if os.geteuid() == 0:
            _show_substrate(console, examine())
        else:
            console.print("what this kernel can carry is probed as root only")
    sys.exit(0 if lab else _NOT_UP)


def _headline(lab: Lab) -> str:
    rate = lab.record.port_rate_mbit_s
    shaped = "unshaped" if rate is None else f"ports at {rate:g} Mbit/s"
    ends = f"ends with process {lab.record.owner_pid}" if lab.record.owned else "stays up until `down`"
    containers = ", nodes can run containers" if lab.record.kubernetes else ""
    replayed = replayed_in(lab.directory)
    paths = f", {len(replayed)} paths replayed" if replayed else ""
    return f"lab '{lab.record.testbed}' is up in {lab.directory}, {shaped}{containers}{paths}, {ends}"


def _nodes_table(lab: Lab) -> Table:
    table = Table("node", "management", "underlay", "pid", "alive")
    for node in lab.record.nodes:
        alive = "yes" if node.first.alive else "NO"
        table.add_row(node.name, node.management, node.underlay, str(node.first.pid), alive)
    return table


def _show_substrate(console: Console, substrate: Substrate) -> None:
    console.print(f"substrate '{substrate.name}', kernel {substrate.kernel}", highlight=False)
    table = Table("capability", "here", "detail")
    for capability in substrate.capabilities:
        table.add_row(capability.name, "yes" if capability.available else "no", capability.detail)
    console.print(table)
    for program in substrate.missing:
        need = "the lab needs it" if program.needed else "some tasks need it"
        console.print(f"missing: {program.name} ({need}; apt-get install {program.package})", highlight=False)


@main.command("shell", context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell_command(node: str, command: tuple[str, ...]) -> None:
    """Open a root shell in NODE, or run COMMAND there."""
    with _sentences():
        lab = find()
        if lab is None:
            click.echo(f"no lab is up in {lab_directory(None).path}", err=True)
            sys.exit(_NOT_UP)
        known = [record.name for record in lab.record.nodes]
        if node not in known:
            raise UnknownNameError("shell", "node", node, known)
        if os.geteuid() != 0:
            raise InputError("shell", "needs root", "or log in with ssh")
        namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid"]
        if join_node(plan_cgroups(lab.directory), node):
            namespaces.append("--cgroup")
        enter = ("nsenter", "--target", str(lab.node_pid(node)), *namespaces)
        environment = {**os.environ, "HOME": "/root", "USER": "root", "PS1": rf"root@{node}:\w# "}
        os.chdir("/")
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it; what runs in the node shall not
        os.execvpe(  # noqa: S606 - an argv, no shell
            enter[0], (*enter, "--", "env", "--chdir=/root", *(command or ("bash", "--norc"))), environment
        )


@main.command("down")
def down_command() -> None:
    """Take the lab down, wait until it is gone, and say what is left (nothing, normally)."""
    with _sentences():
        was_up = find() is not None
        left = down()
    if left:
        click.echo(f"left behind: {', '.join(left)}", err=True)
        sys.exit(1)
    click.echo("the lab is down, nothing is left" if was_up else "no lab was up")


@main.command("binaries")
@click.option(
    "--install", "wanted", is_flag=True, help="Get what is missing and put everything where nodes look."
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Another folder for it.  [default: /usr/local/bin; for another version beside it, /opt/vpnmesh/NAME]",
)
@click.option("--arch", "name", default=None, help="amd64 or arm64.  [default: this machine's]")
@click.option("--only", multiple=True, help="A product or a family; may be given again.  [default: all]")
@click.option(
    "--need", multiple=True, help="Exit code 1 only without these.  [default: all that was asked for]"
)
@click.option(
    "--pin",
    "to_pin",
    multiple=True,
    help="Read once which digest a product's container images have, keep it, and do nothing else.",
)
def binaries_command(
    folder: Path | None,
    name: str | None,
    only: tuple[str, ...],
    need: tuple[str, ...],
    to_pin: tuple[str, ...],
    *,
    wanted: bool,
) -> None:
    """Show where the VPN solutions' programs are, and with --install get those that can be had.

    Sources, in this order: where nodes look (PATH), the cache, the vendor's release over https with its published
    SHA-256, the Go module of programs/, the vendor's container image (by a pinned digest), the vendor's signed apt
    repository. Without --install it says what would be done, and how long that takes.
    Exit code 1 when something that was asked for is missing, 130 after Ctrl-C (what is finished stays).
    """
    with _sentences(), _interrupted():
        own = Arch.parse(platform.machine())
        if to_pin:
            binaries.pin(command.chosen(binaries.pinned(), to_pin, "--pin"), click.echo)
            return
        wish = command.Wish(Arch.parse(name) if name else own, own, folder)
        if wanted and wish.arch is not own and folder is None:
            raise InputError(
                "--arch", f"{wish.arch} is not this machine's", "say with --to which folder it goes to"
            )
        products = command.chosen(binaries.pinned(), only, "--only")
        needed = command.chosen(products, need, "--need")
        if wanted:
            with binaries.shown(Console(stderr=True)) as say:
                found = command.get(products, wish, say)
        else:
            found = command.plan(products, wish)
    console = Console(width=None if sys.stdout.isatty() else 160)
    command.show(console, found)
    if not wanted and (said := command.summary(found, wish.arch)):
        console.print(said, highlight=False, markup=False)
    without = [one.product.name for one in found if not one and one.product in needed]
    if without and (wanted or only):
        click.echo(f"missing: {', '.join(without)}", err=True)
        sys.exit(1)


@contextlib.contextmanager
def _interrupted() -> Iterator[None]:
    """Ctrl-C and a termination end what was started, with one sentence, also where whoever started us ignores them."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {signum: signal.signal(signum, signal.default_int_handler) for signum in signals}
    try:
        yield
    except KeyboardInterrupt:
        click.echo("interrupted: what is finished stays, the same command goes on from there", err=True)
        sys.exit(130)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


if __name__ == "__main__":
    main(prog_name="python -m vpnmesh.lab")
