"""How a worker logs in to its hosts: a file of its own machine, which never leaves it.

    defaults:
      key_file: /etc/vpnmesh/site.key
      known_hosts: /etc/vpnmesh/known_hosts
    hosts:
      edge-7:
        username: admin
        password: {env: EDGE_7_PASSWORD}
        sudo_password: {command: [pass, show, edge-7]}

Without a file: the agent of the worker's user, and its known hosts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from inventory.across.own_files import refuse_readable_by_others
from inventory.secrets import is_source, secret_from, source_of
from vpnmesh.documents.yaml_text import parse_yaml, unreadable
from vpnmesh.errors import InputError, UnknownNameError

Entry = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Login:
    """What opens a host; nothing of it is sent anywhere."""

    username: str = ""
    password: str | None = None
    key_file: str = ""
    passphrase: str = ""
    known_hosts: str = ""
    sudo_password: str = ""

    def __repr__(self) -> str:
        return "<a login>"

    def extras(self) -> dict[str, object]:
        """As netmiko's options have it; host keys are always checked."""
        found: dict[str, object] = {"ssh_strict": True, "system_host_keys": not self.known_hosts}
        if self.key_file:
            found |= {"use_keys": True, "key_file": self.key_file}
        if self.passphrase:
            found["passphrase"] = self.passphrase
        if self.known_hosts:
            found |= {"alt_host_keys": True, "alt_key_file": self.known_hosts}
        return found


KEYS = tuple(one.name for one in fields(Login))


@dataclass(frozen=True, slots=True)
class Logins:
    """All logins of a worker, as its file says them; what `env` and `command` mean is looked up for each host."""

    place: str = "logins"
    defaults: Entry = field(default_factory=dict)
    hosts: Mapping[str, Entry] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Logins":
        """The file's content; InputError where it is wrong, or where others may read it."""
        try:
            refuse_readable_by_others(path)
            content = path.read_bytes()
        except OSError as error:
            raise unreadable(path, error) from error
        found = _mapping(parse_yaml(content, str(path)), str(path))
        for key in found:
            if key not in ("defaults", "hosts"):
                raise UnknownNameError(str(path), "key", str(key), ["defaults", "hosts"])
        hosts = _mapping(found.get("hosts"), f"{path}: hosts")
        return cls(
            str(path),
            _entry(found.get("defaults"), f"{path}: defaults"),
            {name: _entry(entry, f"{path}: hosts: {name}") for name, entry in hosts.items()},
        )

    def of(self, host: str) -> Login:
        """The login of that host; InputError where a variable or a command gives nothing."""
        entry = {**self.defaults, **self.hosts.get(host, {})}
        return Login(**{key: _value(value, f"{self.place}: {host}: {key}") for key, value in entry.items()})


def _mapping(value: object, place: str) -> dict[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(place, "is no mapping", "write NAME: VALUE, one to a line below it")
    return {str(key): one for key, one in value.items()}


def _entry(value: object, place: str) -> Entry:
    entry = _mapping(value, place)
    for key, one in entry.items():
        if key not in KEYS:
            raise UnknownNameError(place, "key", key[:40], list(KEYS))
        if not isinstance(one, str) and not is_source(one):
            way_out = "write text in quotes, {env: NAME}, or {command: [PROGRAM, ARGUMENT]}"
            raise InputError(f"{place}: {key}", "is no text", way_out)
    return entry


def _value(value: object, place: str) -> str:
    return value if isinstance(value, str) else secret_from(source_of(value, place), place).reveal()
