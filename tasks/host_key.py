"""The key that a host shows to whoever connects, beside what known_hosts says of it: before anybody logs in."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import paramiko
from nornir.core.inventory import Host
from nornir.core.task import Result, Task

from inventory.lines import Line
from inventory.repeating import on_controller
from inventory.runner import hold_line
from tasks.known_hosts import KnownKey, known_keys, revoked_at
from tasks.login import (
    ALL_SLOTS,
    KNOWN_HOSTS,
    SESSION_S,
    Login,
    PassingError,
    QuietTransport,
    Refuse,
    greeted,
    reason_of,
    take,
    way_to,
)
from vpnmesh.errors import NodeUnreachableError
from vpnmesh.switch.access import SYSTEMS


class State(StrEnum):
    """What known_hosts says of a key."""

    KNOWN = "already known"
    NEW = "new"
    CHANGED = "CHANGED"
    REVOKED = "REVOKED"


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host's key as a person compares it, and as a file keeps it.

    `name` is the host's in the file; `line` the one that has another key for it, or revokes this one.
    """

    host: str
    name: str
    kind: str
    fingerprint: str
    public: str
    state: State
    file: str
    line: int = 0


@on_controller("the known hosts are its own")
def read_host_key(task: Task) -> Result:
    """The key that the host shows, judged as a login would judge it; `result` is a `HostKey`.

    Only keys are exchanged: nobody logs in, no secret is asked for, nothing is written. Raises NodeUnreachableError.
    """

    def refuse() -> None:
        hold_line(task, task.host)

    address = ""
    try:
        login = way_to(task.host, task.nornir.config)
        address = login.address
        files = _files(task.host, login)
        known = next(filter(None, (known_keys(file, login.known_as) for file in files)), [])
        # as a login has it: a type that is known comes first
        first = _ECDSA if _is_switch(task.host) else [one.key.get_name() for one in reversed(known)]
        shown = _shown(login, first, refuse)
    except (OSError, EOFError, ValueError, RuntimeError, paramiko.SSHException) as error:
        raise NodeUnreachableError(task.host.name, reason_of(error), address) from error
    if _is_switch(task.host):
        known = [one for one in known if one.key.get_name() == shown.get_name()]
    return Result(host=task.host, result=_judged(task.host.name, login.known_as, shown, known, files))


def _is_switch(host: Host) -> bool:
    """Whether its login is another library's: that asks for ECDSA first, whatever is known, and for no other file."""
    return str(host.platform) in SYSTEMS and str(host.platform) != _BRIDGE


def _files(host: Host, login: Login) -> Sequence[str]:
    """The files that a login reads."""
    return [str(host.get("known_hosts") or KNOWN_HOSTS)] if _is_switch(host) else login.known_in


_BRIDGE = "linux_bridge"
_ECDSA = ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
_RSA = "ssh-rsa"
_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")


def _shown(login: Login, first: Sequence[str], refuse: Refuse) -> paramiko.PKey:
    """The key with which the host begins a session that ends there."""
    line = Line()
    with contextlib.ExitStack() as held:
        held.callback(line.close)
        take(login.slots, held, refuse)
        sock = login.options()["sock"] or greeted(line, login, refuse)
        take(ALL_SLOTS, held, refuse)
        transport = QuietTransport(sock)
        held.callback(transport.close)
        allowed = transport.get_security_options()
        wanted = [one for kind in first for one in (_RSA_SIGNATURES if kind == _RSA else (kind,))]
        allowed.key_types = list(
            dict.fromkeys(one for one in (*wanted, *allowed.key_types) if one in allowed.key_types)
        )
        transport.start_client(timeout=SESSION_S)
        # which returns without a word when its time is over
        if not transport.initial_kex_done:
            raise PassingError(f"greeted, but no key within {SESSION_S:g} s")
        return transport.get_remote_server_key()


def _judged(
    host: str, name: str, shown: paramiko.PKey, known: Sequence[KnownKey], files: Sequence[str]
) -> HostKey:
    """The key with its state; of two known keys of one type the file's first counts, as in a login."""
    state, file, line = State.NEW, files[-1], 0
    if known:
        same = [one for one in known if one.key.get_name() == shown.get_name()]
        ours = (same or known)[0]
        state, file, line = (State.KNOWN if ours.key == shown else State.CHANGED), ours.file, ours.line
    for one in files:
        if (at := revoked_at(one, shown)) is not None:
            state, file, line = State.REVOKED, one, at
    public = f"{shown.get_name()} {shown.get_base64()}"
    return HostKey(host, name, shown.algorithm_name, shown.fingerprint, public, state, file, line)
