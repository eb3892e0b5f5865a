"""Before anything is changed on real hosts: they are marked as testbed, and its owner agreed to this set of changes.

One place for every command that changes nodes. The first time the changes are listed by kind, and need `--yes` or an
answer at a terminal; what was agreed to is kept in the state directory for these hosts, so that nobody is asked again
for the same. A lab is nobody's: it is never asked for.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from nornir.core.inventory import Host

from inventory.marks import refuse_unmarked
from tasks.firewall.journal import default_directory
from vpnmesh.errors import NO_JSON, CheckError, InputError
from vpnmesh.lab.atomic import make_private, write_atomic
from vpnmesh.study.changes import Change, listed
from workflows.run.addresses import refuse_controller, refuse_shared_addresses
from workflows.run.lab import emulated
from workflows.run.site import Site
from workflows.run.terminal import say

_YES = "vpnmesh.yes"


def _keep_yes(context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's call
    context.meta[_YES] = value


yes_option = click.option(
    "--yes",
    is_flag=True,
    expose_value=False,
    callback=_keep_yes,
    help="agree to the changes that are listed the first time on real hosts (docs/own-machines.md)",
)
"""The option of every command that changes nodes."""


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that a command is to do: a name that stands for all of it, and how to find what it would change."""

    name: str
    find: Callable[[], Iterable[Change]]


@dataclass(frozen=True, slots=True)
class Agreements:
    """What was agreed to for one set of hosts; a host more, or at another address, is another set."""

    path: Path
    hosts: tuple[str, ...]

    @classmethod
    def of(cls, listed: Iterable[Host]) -> "Agreements":
        """Below `$VPNMESH_STATE_DIR`, else below the user's state directory."""
        hosts = tuple(sorted(f"{host.name} {host.hostname}:{host.port or 22}" for host in listed))
        name = hashlib.sha256("\n".join(hosts).encode()).hexdigest()[:16]
        return cls(default_directory().parent / "agreed" / f"{name}.json", hosts)

    def read(self) -> dict[str, str]:
        """The names that were agreed to, with when that was; none where there is no such file."""
        try:
            found = json.loads(self.path.read_bytes())
            return {str(name): str(at) for name, at in found["agreed"].items()}
        except (OSError, *NO_JSON, LookupError, TypeError, AttributeError):
            # asked once more: nothing worse comes of a file that is lost
            return {}

    def add(self, names: Iterable[str]) -> None:
        """Keep these, too; CheckError where that cannot be written."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        agreed = dict.fromkeys(names, now) | self.read()
        text = json.dumps({"hosts": self.hosts, "agreed": agreed}, indent=1)
        try:
            make_private(self.path.parent)
            write_atomic(self.path, text.encode())
        except OSError as error:
            raise CheckError("agreement", f"{self.path} cannot be written: {error.strerror}") from error


def may_change(site: Site, inventory: str, intents: Sequence[Intent]) -> None:
    """Return where these hosts may be changed so; else InputError, and nothing was changed.

    NotMarkedError names all hosts that are not marked as testbed.
    """
    hosts = site.nr.inventory.hosts
    refuse_unmarked(hosts[node.name] for node in site.testbed.nodes)
    if not emulated(site.testbed):
        refuse_controller(site.testbed, hosts)
        refuse_shared_addresses(site.testbed)
        agree([hosts[node.name] for node in site.testbed.nodes], inventory, intents)


def agree(hosts: Sequence[Host], inventory: str, intents: Sequence[Intent]) -> None:
    """Return once its owner agreed to these changes of these hosts, now or before; else InputError."""
    agreements = Agreements.of(hosts)
    known = agreements.read()
    if not (new := [one for one in intents if one.name not in known]):
        return
    _show(agreements, inventory, new)
    if not (_said_yes() or _answered(inventory)):
        raise InputError("--yes", "nobody agreed to these changes, and nothing was changed", _WAY_OUT)
    agreements.add(one.name for one in new)


_WAY_OUT = "read the list above (--dry-run has every line), then give --yes"


def _show(agreements: Agreements, inventory: str, intents: Sequence[Intent]) -> None:
    names = ", ".join(host.partition(" ")[0] for host in agreements.hosts)
    say(
        f"This is the first time that this is done on the hosts of {inventory} ({names}). What would change there,"
    )
    say("and is taken back at the end:")
    for line in listed(change for one in intents for change in one.find()):
        say(line)
    say(f"That is for: {'; '.join(one.name for one in intents)}.")


def _said_yes() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(_YES))


def _answered(inventory: str) -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return click.confirm(f"Change the hosts of {inventory} so?", default=False)
