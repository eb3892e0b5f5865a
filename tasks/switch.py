"""Which VLAN the nodes' ports are in, on a switch: read, diff, apply, verify, undo; by scrapli, or SSH for a bridge."""

import contextlib
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from nornir.core.inventory import Host
from nornir.core.task import Result, Task
from scrapli import Cli
from scrapli.auth import LookupKeyValue
from scrapli.auth import Options as AuthOptions
from scrapli.exceptions import ScrapliException
from scrapli.session import Options as SessionOptions
from scrapli.transport import Ssh2Options

from inventory.marks import refuse_unmarked
from inventory.repeating import on_controller
from inventory.secrets import secret_of
from tasks.connection import Shell, shell
from vpnmesh.errors import CheckError, NodeUnreachableError, VerifyError, VpnmeshError
from vpnmesh.plan import Command
from vpnmesh.switch.access import AccessPort, System, bridge_ports, plan, system_named

CALL_S = 30
KNOWN_HOSTS = "~/.ssh/known_hosts"
BRIDGE = "linux_bridge"
CONFIGURATION = "configuration"
_REFUSED = re.compile(
    r"^\s*(?:% ?(?:Invalid|Incomplete|Ambiguous|Unknown)|error:|unknown command|syntax error)",
    re.MULTILINE | re.IGNORECASE,
)
"""How the systems begin a refusal; other lines with a per cent sign only inform (`% Access VLAN does not exist`)."""


class Console(Protocol):
    """Where lines are typed."""

    def check(self, ports: Sequence[str]) -> None:
        """CheckError for the first port whose VLAN would separate nothing."""

    def ask(self, line: str) -> str:
        """What a command shows."""

    def configure(self, lines: Sequence[str]) -> None:
        """Send the lines in configuration mode and leave it; CheckError at the first that is refused."""

    def forget(self) -> None:
        """Throw away what a lost login left half-edited."""

    def save(self, lines: Sequence[str]) -> None:
        """Make the running configuration survive a restart."""


@on_controller("it holds the switch's login")
def set_access_vlans(
    task: Task,
    ports: tuple[AccessPort, ...],
    dry_run: bool | None = None,
    save: bool = False,  # noqa: FBT002
) -> Result:
    """Put each port of the switch into its VLAN; `result` is what they were before, to be given to this task to undo.

    The host's platform names the system (cisco_iosxe, arista_eos, cisco_nxos, juniper_junos, linux_bridge).
    Raises CheckError for a trunk, for a bridge that does not filter VLANs and for a refused line, VerifyError where
    the switch then shows otherwise, NodeUnreachableError where the connection is lost; the ports are then as they
    were, set back over another login if need be, or the error says that they are not.
    """
    system = system_named(str(task.host.platform))
    with console(task, system) as here:
        here.check([port.name for port in ports])
        before = read(here, system, ports)
        wanted = plan(system, before, ports)
        if wanted and not task.is_dry_run(dry_run):
            refuse_unmarked([task.host])
            _apply(task, here, system, before, ports)
            if save:
                here.save(system.save)
    return Result(host=task.host, changed=bool(wanted), diff=wanted.diff, result=before)


@on_controller("it holds the switch's login")
def read_ports(task: Task, ports: tuple[str, ...]) -> Result:
    """The ports as they are; changes nothing."""
    system = system_named(str(task.host.platform))
    with console(task, system) as here:
        here.check(ports)
        found = read(here, system, [AccessPort(name, None) for name in ports])
    return Result(host=task.host, result=found)


def read(here: Console, system: System, ports: Sequence[AccessPort]) -> tuple[AccessPort, ...]:
    """What the switch shows of these ports."""
    return tuple(system.read(port.name, here.ask(system.show(port.name))) for port in ports)


def verify(host: str, found: Sequence[AccessPort], wanted: Sequence[AccessPort]) -> None:
    """VerifyError names the first port that is not as wanted."""
    for one, other in zip(found, wanted, strict=True):
        if one != other:
            raise VerifyError(host, str(other), str(one))


def _apply(
    task: Task, here: Console, system: System, before: Sequence[AccessPort], ports: Sequence[AccessPort]
) -> None:
    try:
        here.configure(plan(system, before, ports).lines)
        verify(task.host.name, read(here, system, ports), ports)
    except VpnmeshError as error:
        _set_back(task, here, system, before, error)
        raise


def _set_back(
    task: Task, here: Console, system: System, before: Sequence[AccessPort], error: VpnmeshError
) -> None:
    """Write the former lines where the ports are not as before; CheckError with both reasons where that fails."""
    lost = isinstance(error, NodeUnreachableError)
    try:
        with console(task, system) if lost else contextlib.nullcontext(here) as now:
            now.forget()
            if back := plan(system, read(now, system, before), before):
                now.configure(back.lines)
                verify(task.host.name, read(now, system, before), before)
    except VpnmeshError as second:
        was = "; ".join(map(str, before))
        raise CheckError(
            "switch", f"{error}; and setting the ports back failed: {second}; they were: {was}"
        ) from error


@contextlib.contextmanager
def console(task: Task, system: System) -> Iterator[Console]:
    """A console of the task's host; NodeUnreachableError when there is no login."""
    if system.name == BRIDGE:
        yield BridgeConsole(shell(task))
        return
    try:
        with _cli(task.host, system) as cli:
            yield CliConsole(task.host.name, cli, system)
    except ScrapliException as error:
        raise NodeUnreachableError(task.host.name, " ".join(str(error).split())[:300]) from error


def _cli(host: Host, system: System) -> Cli:
    known_hosts = Path(str(host.get("known_hosts") or KNOWN_HOSTS)).expanduser()
    key = host.get("key_file")
    password, passphrase = secret_of(host, "ssh_password"), secret_of(host, "ssh_passphrase")
    enable = secret_of(host, "enable_password")
    return Cli(
        str(host.hostname),
        port=host.port or 22,
        definition_file_or_name=system.name,
        auth_options=AuthOptions(
            username=host.username,
            password=password.reveal() if password else host.password,
            private_key_path=str(key) if key else None,
            private_key_passphrase=passphrase.reveal() if passphrase else None,
            lookups=[LookupKeyValue("enable", enable.reveal())] if enable else None,
        ),
        transport_options=Ssh2Options(known_hosts_path=str(known_hosts)),
        session_options=SessionOptions(operation_timeout_s=CALL_S),
    )


class CliConsole:
    """A network system's command line, by scrapli."""

    def __init__(self, host: str, cli: Cli, system: System) -> None:
        self.host = host
        self.cli = cli
        self.system = system

    def check(self, ports: Sequence[str]) -> None:
        """A switch separates its VLANs."""

    def ask(self, line: str) -> str:
        """What a command shows; CheckError where the switch refuses it."""
        return self._typed(line)

    def configure(self, lines: Sequence[str]) -> None:
        """Send the lines one by one, so that the refused one can be named; nothing half-edited is left behind."""
        self.forget()
        self._typed(self.system.enter)
        try:
            for line in lines:
                self._typed(line, CONFIGURATION)
        except CheckError:
            for line in self.system.abandon:
                self._typed(line, CONFIGURATION)
            raise
        finally:
            self._leave()

    def forget(self) -> None:
        """Throw away what a lost login left; that there is nothing is no error."""
        for line in self.system.forget:
            with contextlib.suppress(CheckError):
                self._typed(line)

    def save(self, lines: Sequence[str]) -> None:
        """Write the startup configuration."""
        for line in lines:
            self._typed(line)

    def _leave(self) -> None:
        with self._reached():
            self.cli.enter_mode("exec" if self.system.name == "juniper_junos" else "privileged_exec")

    def _typed(self, line: str, mode: str = "") -> str:
        with self._reached():
            answer = self.cli.send_input(line, requested_mode=mode)
        if answer.failed or _REFUSED.search(answer.result):
            raise CheckError("switch", f"{self.host}: refused '{line}': {answer.result.strip()[:160]}")
        return answer.result

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except ScrapliException as error:
            raise NodeUnreachableError(self.host, " ".join(str(error).split())[:300]) from error


class BridgeConsole:
    """A Linux bridge, whose lines are commands."""

    def __init__(self, here: Shell) -> None:
        self.here = here

    def check(self, ports: Sequence[str]) -> None:
        """CheckError for a port on no bridge, or on one that forwards between all VLANs."""
        self.here.gather(bridge_ports(ports))

    def ask(self, line: str) -> str:
        """What a command prints."""
        return self.here.look(*shlex.split(line)).stdout

    def configure(self, lines: Sequence[str]) -> None:
        """Run the lines in one round trip."""
        self.here.run_all([Command(tuple(shlex.split(line))) for line in lines])

    def forget(self) -> None:
        """A line of a bridge is carried out or not."""

    def save(self, lines: Sequence[str]) -> None:
        """A bridge keeps nothing over a restart: that is the network configuration's business."""
