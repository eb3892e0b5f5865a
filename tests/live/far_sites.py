"""Two sites with real SSH hosts, and Dask processes at them: the controller's own, and one that it cannot reach.

`here` is the network that the caller is in: hosts on 127.1.0.N. `edge` is a network namespace of its own, whose hosts
10.88.0.N are in no route of anybody else, and which lets nobody in: its worker reaches the scheduler, no more.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from nornir.core import Nornir
from nornir.core.configuration import Config
from nornir.core.inventory import (
    ConnectionOptions,
    Defaults,
    Group,
    Groups,
    Host,
    Hosts,
    Inventory,
    ParentGroups,
)
from nornir.core.plugins.runners import RunnerPlugin
from nornir.core.state import GlobalState

from inventory.across.certificates import make_credentials
from inventory.dask_runner import DaskRunner
from tests.conftest import ROOT
from vpnmesh.lab.controller import await_ssh
from vpnmesh.lab.waiting import wait_until

HERE, EDGE = "here", "edge"
SCHEDULER = "10.77.0.1"
PORT = 8786
START_S = 300.0
"""How long a process of Dask may take to import what it needs, on a machine that is busy."""
_GUARD = """
table inet guard {
  chain input {
    type filter hook input priority 0; policy accept;
    iifname "far1" ct state established accept
    iifname "far1" drop
  }
}
"""
_SSHD = """
ListenAddress {listen}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/id_ed25519.pub
UsePAM no
UseDNS no
StrictModes no
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
PrintMotd no
PrintLastLog no
MaxStartups 500
MaxSessions 500
"""
# the machine's own start-up files of a shell stay out
_START = (
    "mount -t tmpfs none /root && mount -t tmpfs none /run && mkdir /run/sshd"
    " && exec /usr/sbin/sshd -D -f {config}"
)


def address_of(site: str, number: int) -> str:
    """The address of a site's host."""
    high, low = divmod(number, 256)
    return f"127.1.{high}.{low}" if site == HERE else f"10.88.{high}.{low}"


@dataclass
class FarSites:
    """Both sites with so many hosts each, credentials, and what was started."""

    folder: Path
    hosts: int
    edge_pid: int
    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    host: str = SCHEDULER

    @property
    def address(self) -> str:
        """The scheduler's."""
        return f"tls://{self.host}:{PORT}"

    @property
    def credentials(self) -> Path:
        """All roles' folders."""
        return self.folder / "credentials"

    def launch(self, name: str, *argv: str, at: str = HERE) -> None:
        """Begin `python -m workflows.workers ...` at that site."""
        enter = ("nsenter", f"--net=/proc/{self.edge_pid}/ns/net") if at == EDGE else ()
        # the signal is sent when this thread ends, not only the process
        command = ("setpriv", "--pdeathsig", "KILL", *enter, sys.executable, "-m", "workflows.workers", *argv)
        with (self.folder / f"{name}.log").open("w") as file:
            self.running[name] = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, text=True, cwd=ROOT
            )

    def await_ready(self, name: str) -> None:
        """Wait until it says where it is."""
        said = wait_until(
            lambda: self.log(name), START_S, good=lambda text: " at t" in text or self.ended(name)
        )
        assert not self.ended(name), said
        assert " at t" in said

    def log(self, name: str) -> str:
        """What a process said so far."""
        return (self.folder / f"{name}.log").read_text()

    def ended(self, name: str) -> bool:
        """Whether it has ended."""
        return self.running[name].poll() is not None

    def start_scheduler(self) -> None:
        """At the controller's site."""
        listen = f"{self.host}:{PORT}"
        self.launch("scheduler", "scheduler", "--credentials", str(self.credentials), "--listen", listen)
        self.await_ready("scheduler")

    def start_workers(self, sites: Mapping[str, str], *, threads: int = 8) -> None:
        """Workers by name at these sites, each reaching its site's hosts."""
        for name, site in sites.items():
            worker = (
                "worker",
                self.address,
                "--credentials",
                str(self.credentials / "worker"),
                "--name",
                name,
            )
            more = (
                "--reaches",
                site,
                "--logins",
                str(self.folder / "logins.yaml"),
                "--threads",
                str(threads),
            )
            self.launch(name, *worker, *more, at=site)
        for name in sites:
            self.await_ready(name)

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """Send a process a signal, and wait for its end."""
        process = self.running.pop(name)
        process.send_signal(number)
        process.wait(30)

    def end_all(self) -> None:
        """Kill what still runs."""
        for process in self.running.values():
            process.kill()
            process.wait()

    def runner(self, **options: object) -> DaskRunner:
        """The controller's, connected when it first runs something."""
        return DaskRunner(self.address, str(self.credentials), **options)  # type: ignore[arg-type]

    def nornir(
        self, runner: RunnerPlugin, sites: tuple[str, ...] = (HERE, EDGE), count: int | None = None
    ) -> Nornir:
        """The hosts `here-1`, `edge-1` and so on; the controller itself has no login for any of them."""
        groups = Groups({site: Group(f"site__{site}") for site in sites})
        hosts = Hosts(
            {
                f"{site}-{number}": Host(
                    f"{site}-{number}",
                    hostname=address_of(site, number),
                    username="root",
                    port=22,
                    platform="linux",
                    data={"testbed": True},
                    groups=ParentGroups([groups[site]]),
                    defaults=Defaults(),
                    connection_options={"netmiko": ConnectionOptions(extras={"allow_agent": False})},
                )
                for site in sites
                for number in range(1, (count or self.hosts) + 1)
            }
        )
        return Nornir(Inventory(hosts, groups, Defaults()), Config(), GlobalState(), runner=runner)


@contextmanager
def far_sites(folder: Path, hosts: int, *, guarded: bool = True) -> Iterator[FarSites]:
    """Both sites with their hosts, in the caller's network namespace and one beside it; no Dask process yet.

    Unless `guarded`, the controller has a route to the edge and is let in.
    """
    _keys(folder, hosts)
    make_credentials(folder / "credentials")
    with ExitStack() as stack:
        edge = _process(stack, "unshare", "--net", "sleep", "infinity")
        wait_until(lambda: _network(edge), 10.0, good=lambda found: found != _network("self"))
        _link(edge, hosts)
        if guarded:
            in_edge(edge, "nft", "-f", "-", text=_GUARD)
        else:
            subprocess.run(("ip", "route", "add", "10.88.0.0/16", "via", "10.77.0.2"), check=True)
        start_sshd(stack, folder, "here", "0.0.0.0", ())
        start_sshd(stack, folder, "edge", "0.0.0.0", ("nsenter", f"--net=/proc/{edge}/ns/net"))
        await_ssh([address_of(HERE, 1)], 60.0)
        sites = FarSites(folder, hosts, edge)
        try:
            yield sites
        finally:
            sites.end_all()


def _network(pid: int | str) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def in_edge(edge: int, *argv: str, text: str = "") -> None:
    """Run a command in the network of the edge."""
    subprocess.run(("nsenter", f"--net=/proc/{edge}/ns/net", *argv), input=text, text=True, check=True)


def _link(edge: int, hosts: int) -> None:
    here = (
        f"link add far0 type veth peer name far1 netns {edge}",
        f"address add {SCHEDULER}/24 dev far0",
        "link set far0 up",
    )
    there = (
        "link set lo up",
        "address add 10.77.0.2/24 dev far1",
        "link set far1 up",
        *(f"address add {address_of(EDGE, number)}/32 dev lo" for number in range(1, hosts + 1)),
    )
    subprocess.run(("ip", "-batch", "-"), input="\n".join(here), text=True, check=True)
    in_edge(edge, "ip", "-batch", "-", text="\n".join(there))


def _process(stack: ExitStack, *argv: str) -> int:
    """A process that ends with the stack, and with this one."""
    process = subprocess.Popen(("setpriv", "--pdeathsig", "KILL", *argv), stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process.pid


def _keys(folder: Path, hosts: int) -> None:
    for name in ("host_key", "id_ed25519"):
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)), check=True)
    public = " ".join((folder / "host_key.pub").read_text().split()[:2])
    addresses = [address_of(site, number) for site in (HERE, EDGE) for number in range(1, hosts + 1)]
    (folder / "known_hosts").write_text("".join(f"{address} {public}\n" for address in addresses))
    login = {"key_file": str(folder / "id_ed25519"), "known_hosts": str(folder / "known_hosts")}
    (folder / "logins.yaml").write_text(yaml.safe_dump({"defaults": login}))
    (folder / "logins.yaml").chmod(0o600)


def start_sshd(
    stack: ExitStack, folder: Path, name: str, listen: str, enter: tuple[str, ...], more: str = ""
) -> None:
    """An SSH server with the folder's keys, and with these lines more in its configuration; it ends with the stack."""
    config = folder / f"{name}.sshd_config"
    config.write_text(_SSHD.format(listen=listen, folder=folder) + more)
    _process(stack, *enter, "unshare", "--mount", "sh", "-c", _START.format(config=config))
