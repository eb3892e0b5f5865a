"""Run tasks from other sites: a scheduler, and at each site a worker that reaches its hosts (docs/dask.md).

`init` makes an authority of your own and a folder of certificates for each role. `scheduler` and `worker` are the two
processes; `status` shows who is there. Every other command then runs its tasks through them with VPNMESH_DASK and
VPNMESH_DASK_CREDENTIALS set. Workers need to reach the scheduler; nothing needs to reach a worker.

\b
examples:
  python -m workflows.workers init ~/vpnmesh-workers
  python -m workflows.workers scheduler --credentials ~/vpnmesh-workers --listen 192.0.2.1:8786
  python -m workflows.workers worker tls://192.0.2.1:8786 --credentials ~/worker --reaches edge --logins edge.yaml
  python -m workflows.workers status tls://192.0.2.1:8786 --credentials ~/vpnmesh-workers

\b
exit codes: 0 done, or ended by a signal; 1 a worker whose scheduler is gone, or nobody answers; 2 bad input
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import socket
from importlib import import_module
from pathlib import Path

import click
from rich.table import Table

from inventory.across.certificates import ROLES, Credentials, make_credentials
from inventory.across.link import CREDENTIALS, SCHEDULER, Links, require_dask
from inventory.across.logins import Logins
from inventory.across.placing import ANYWHERE
from vpnmesh.documents.names import slug_problem
from vpnmesh.errors import InputError
from workflows.run.options import bad_input_exits_2, split
from workflows.run.progress import make_console
from workflows.run.terminal import say

THREADS = 64
_credentials = click.option(
    "--credentials", metavar="FOLDER", envvar=CREDENTIALS, help="what `init` made, or one role's folder of it"
)
_plain = click.option(
    "--plain-on-loopback", "plain", is_flag=True, help="speak tcp:// without TLS, on 127.0.0.1 and ::1 only"
)


@click.group(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The group."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@bad_input_exits_2
def init(folder: Path) -> None:
    """Make an authority, certificates for scheduler, worker and client, and the key that parcels are sealed with.

    Prints how scheduler and workers are started. All files are readable by you alone.
    """
    make_credentials(folder)
    say(f"made {', '.join(str(folder / role) for role in ROLES)}")
    say(f"{folder / 'authority'} is needed by nobody from now on: keep it off the network\n")
    say("on the machine of the scheduler, which controller and all workers reach:")
    say(f"  python -m workflows.workers scheduler --credentials {folder / 'scheduler'} --listen ADDRESS:8786")
    say("at each site, on a machine that reaches its hosts, with the folder `worker` brought there:")
    say("  python -m workflows.workers worker tls://ADDRESS:8786 --credentials worker --reaches SITE")
    say("on the controller, for every command:")
    say(f"  export {SCHEDULER}=tls://ADDRESS:8786 {CREDENTIALS}={folder / 'client'}")


@main.command()
@_credentials
@_plain
@click.option(
    "--listen",
    default="127.0.0.1:8786",
    show_default=True,
    metavar="ADDRESS:PORT",
    help="where controller and workers reach it",
)
@bad_input_exits_2
def scheduler(credentials: str | None, listen: str, *, plain: bool) -> None:
    """Run a scheduler until it is ended by a signal."""
    require_dask()
    from inventory.across.serving import serve_scheduler  # noqa: PLC0415 - needs the optional extra

    own = None if plain else Credentials.read(_folder(credentials), "scheduler")
    serve_scheduler(listen, own, lambda address: say(f"scheduler at {address}"))


@main.command()
@click.argument("address", metavar="SCHEDULER")
@_credentials
@_plain
@click.option(
    "--reaches",
    default=ANYWHERE,
    show_default=True,
    metavar="SITE,...",
    help="the sites whose hosts it asks: those in the groups site__SITE of the inventory; * is every host",
)
@click.option(
    "--logins",
    type=click.Path(path_type=Path),
    help="YAML of how hosts are logged in to (docs/dask.md); without it your agent and known hosts are used",
)
@click.option("--name", help="its name at the scheduler; default: this machine's name and the sites")
@click.option(
    "--threads",
    default=THREADS,
    show_default=True,
    type=click.IntRange(1, 1024),
    help="hosts that are asked at once",
)
@bad_input_exits_2
def worker(
    address: str,
    credentials: str | None,
    reaches: str,
    logins: Path | None,
    name: str | None,
    threads: int,
    *,
    plain: bool,
) -> None:
    """Run a worker until it is ended by a signal; exit code 1 once its scheduler is gone, so that it is started anew.

    Passwords, keys and sudo's passwords are found here: they are never sent to a worker.
    """
    require_dask()
    from inventory.across.serving import WorkerOptions, serve_worker  # noqa: PLC0415 - needs the optional extra

    sites = _sites(reaches)
    own = Credentials.read(_folder(credentials), "worker")
    found = Logins.read(logins) if logins else Logins()
    options = WorkerOptions(name or f"{socket.gethostname()}-{'-'.join(sites)}", sites, threads)
    import_module("tasks")  # now, not while the first host waits
    serve_worker(address, own, found, options, lambda at: say(f"worker {options.name} at {at}"), plain=plain)


@main.command()
@click.argument("address", metavar="SCHEDULER", envvar=SCHEDULER)
@_credentials
@_plain
@bad_input_exits_2
def status(address: str, credentials: str | None, *, plain: bool) -> None:
    """Show the workers that are there, and which sites they reach."""
    links = Links(address, credentials or "", plain)
    try:
        found = links.get().workers()
    finally:
        links.close()
    table = Table("worker", "reaches", "hosts at once", "address")
    for one in sorted(found, key=lambda one: one.name):
        table.add_row(one.name, ", ".join(sorted(one.sites)), str(one.threads), one.address)
    make_console().print(table)
    say(f"{len(found)} workers")


def _folder(credentials: str | None) -> Path:
    if not credentials:
        way_out = f"name the folder that `workers init` made, or set {CREDENTIALS}"
        raise InputError("--credentials", "missing", way_out)
    return Path(credentials)


def _sites(reaches: str) -> tuple[str, ...]:
    sites = tuple(dict.fromkeys(split(reaches)))
    if not sites:
        raise InputError("--reaches", "names no site", f"write SITE,SITE or {ANYWHERE!r}")
    for site in sites:
        if site != ANYWHERE and (problem := slug_problem(site)):
            raise InputError("--reaches", f"{site[:80]!r} {problem}")
    return sites


if __name__ == "__main__":
    main()
