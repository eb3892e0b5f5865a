"""First host keys: shown as fingerprints beside what is known, and accepted once; from then on logins are strict."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import click
from nornir.core import Nornir
from nornir.core.inventory import Host
from rich.table import Column, Table

import tasks
from tasks.firewall.registry import driver_of
from tasks.host_key import HostKey, State
from tasks.known_hosts import add_known
from vpnmesh.errors import InputError, UnknownNameError
from workflows.run.hosts import HostsFailedError, run_on
from workflows.run.progress import make_console
from workflows.run.terminal import say

ALL_KNOWN, SOME_LEFT = 0, 1
ACCEPT = "--accept"
_FINGERPRINT = len("SHA256:") + 43
_COMPARE = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub (or the file of the key's type)"


def trust_hosts(nr: Nornir, accepted: Mapping[str, str]) -> int:
    """Show every host's key, and write those that are accepted to the known_hosts file that its login reads.

    `accepted` has fingerprints by host; where it is empty a person is asked. InputError where a key is not the known
    one, and nothing is written then. Returns SOME_LEFT where a host does not answer or is left unknown.
    """
    _refuse_unknown(nr, accepted)
    errors, shown = _shown_keys(nr)
    if shown:
        make_console().print(_table(shown))
    for error in errors.values():
        say(f"not reached: {error}", err=True)
    _refuse_changed(shown)
    _refuse_other(shown, accepted)
    new = [one for one in shown if one.state is State.NEW]
    wanted = _chosen(new, accepted)
    _write(wanted)
    left = [one.host for one in new if one not in wanted]
    if left:
        say(f"still unknown: {', '.join(left)}", err=True)
    elif not errors:
        say(f"the keys of all {len(shown)} hosts are known")
    return SOME_LEFT if errors or left else ALL_KNOWN


def accepted_keys(given: Iterable[str]) -> dict[str, str]:
    """Fingerprints by host, of `HOST=SHA256:...`."""
    found = {}
    for one in given:
        host, equals, fingerprint = one.partition("=")
        if not (host and equals and fingerprint.startswith("SHA256:")):
            raise InputError(
                ACCEPT, f"'{one[:80]}' is no key", "write HOST=SHA256:..., as the table shows it"
            )
        found[host] = fingerprint.rstrip("=")
    return found


def _by_ssh(host: Host) -> bool:
    return driver_of(host).by_ssh


def _refuse_unknown(nr: Nornir, accepted: Mapping[str, str]) -> None:
    for name in accepted:
        if name not in nr.inventory.hosts:
            raise UnknownNameError(ACCEPT, "host", name, list(nr.inventory.hosts))


def _shown_keys(nr: Nornir) -> tuple[Mapping[str, BaseException], list[HostKey]]:
    """Why hosts show none, and the keys of the others, in the inventory's order."""
    names = [host.name for host in nr.inventory.hosts.values() if _by_ssh(host)]
    try:
        errors: Mapping[str, BaseException] = {}
        done = run_on(nr, names, tasks.read_host_key)
    except HostsFailedError as error:
        errors, done = error.errors, error.done
    return errors, [done[name].result for name in names if name in done]


def _table(shown: Sequence[HostKey]) -> Table:
    # whole on every terminal: half of it cannot be compared
    fingerprint = Column("fingerprint", no_wrap=True, min_width=_FINGERPRINT)
    table = Table("host", "address", "type", fingerprint, "")
    for one in shown:
        table.add_row(one.host, one.name, one.kind, one.fingerprint, one.state)
    return table


def _refuse_changed(shown: Sequence[HostKey]) -> None:
    """Each but the last is told here, the last by whoever catches the error."""
    errors = [_wrong(one) for one in shown if one.state in (State.CHANGED, State.REVOKED)]
    for error in errors[:-1]:
        say(f"error: {error}", err=True)
    if errors:
        raise errors[-1]


def _wrong(one: HostKey) -> InputError:
    place = f"{one.file}: line {one.line}"
    if one.state is State.REVOKED:
        return InputError(place, f"revokes the key that {one.host} shows", "give the machine a new host key")
    return InputError(
        place,
        f"{one.host} ({one.name}) shows another key than this line has, and nothing was written",
        "find out who answers there; if the machine was made anew, take the line out"
        f" (ssh-keygen -R '{one.name}' -f {one.file}) and call this again",
    )


def _refuse_other(shown: Sequence[HostKey], accepted: Mapping[str, str]) -> None:
    """InputError for a host that shows another key than the one that was to be accepted."""
    for one in shown:
        if accepted.get(one.host, one.fingerprint) != one.fingerprint:
            raise InputError(
                ACCEPT,
                f"{one.host} shows {one.fingerprint}, and nothing was written",
                "compare it with the machine's own",
            )


def _chosen(new: Sequence[HostKey], accepted: Mapping[str, str]) -> Sequence[HostKey]:
    """Those that are to be known from now on."""
    if accepted or not new:
        return [one for one in new if one.host in accepted]
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError(
            ACCEPT, "there is no terminal to ask at", f"give {ACCEPT} HOST=SHA256:... for each new host"
        )
    say(f"On each machine's own console, {_COMPARE} prints its fingerprint.")
    names = ", ".join(one.host for one in new)
    return new if click.confirm(f"Are these the keys of {names}?", default=False) else []


def _write(wanted: Sequence[HostKey]) -> None:
    """Each file once; two hosts at one address are one line."""
    for file, keys in groupby(sorted(wanted, key=lambda one: one.file), key=lambda one: one.file):
        lines = list(dict.fromkeys((one.name, one.public) for one in keys))
        try:
            add_known(file, lines)
        except OSError as error:
            raise InputError(
                file, f"cannot be written: {error.strerror}", "see who may write there"
            ) from error
        say(f"{file}: {len(lines)} added")
