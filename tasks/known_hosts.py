"""Known hosts and login keys, each file read once: a thousand logins are a thousand look-ups, not as many readings."""

import hashlib
import hmac
from base64 import b64decode
from binascii import Error
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import paramiko
from paramiko.hostkeys import HostKeyEntry, HostKeys, InvalidHostKey

from vpnmesh.lab.atomic import PRIVATE, make_private, write_atomic

HASHED = "|1|"
REVOKED = "@revoked"
_OTHERS_WRITE = 0o022


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """The lines of a known_hosts file by the names in them; those with a hashed name are tried one by one."""

    named: Mapping[str, tuple[str, ...]]
    hashed: tuple[str, ...]

    def keys(self, name: str) -> list[paramiko.PKey]:
        """The keys of a host, by the name that SSH has for it: `[address]:port` where the port is not 22."""
        lines = [*self.named.get(name, ()), *(line for line in self.hashed if _hides(line.split()[0], name))]
        entries = [_entry(line) for line in lines]
        return [entry.key for entry in entries if entry is not None and entry.key is not None]


def parse_known_hosts(text: str) -> KnownHosts:
    """The file's lines by name; comments, marked lines and such without a key are left out, as paramiko does."""
    named: dict[str, list[str]] = {}
    hashed = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 3 or words[0].startswith(("#", "@")):  # noqa: PLR2004 - names, type, key
            continue
        if words[0].startswith(HASHED):
            hashed.append(line)
            continue
        for name in words[0].split(","):
            named.setdefault(name, []).append(line)
    return KnownHosts({name: tuple(lines) for name, lines in named.items()}, tuple(hashed))


def known_hosts(path: str) -> KnownHosts:
    """The file as it is now, read again only when it has changed; empty where there is none."""
    file = Path(path).expanduser()
    try:
        seen = file.stat()
    except OSError:
        return parse_known_hosts("")
    return _read(file, seen.st_mtime_ns, seen.st_size)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key of a host, and the line of the file that has it."""

    file: str
    line: int
    key: paramiko.PKey


def known_keys(path: str, name: str) -> list[KnownKey]:
    """The keys of the host in that file, in its order."""
    return [
        KnownKey(path, number, key)
        for number, line in enumerate(_lines(path), 1)
        for key in parse_known_hosts(line).keys(name)
    ]


def revoked_at(path: str, key: paramiko.PKey) -> int | None:
    """The line that marks the key as revoked, for whatever host."""
    for number, line in enumerate(_lines(path), 1):
        if line.startswith(REVOKED) and key.get_base64() in line.split():
            return number
    return None


def add_known(path: str, keys: Sequence[tuple[str, str]]) -> None:
    """Write keys, each as a name with `TYPE BASE64`, at the end of the file; OSError where that cannot be.

    Names are hashed where the file has hashed ones. The file is replaced whole; nobody else may write to it then,
    and a new one is for its owner alone.
    """
    # a link stays a link
    file = Path(path).expanduser().resolve()
    there = file.read_bytes() if file.exists() else b""
    mode = file.stat().st_mode & 0o777 & ~_OTHERS_WRITE if there else PRIVATE
    hashed = any(line.startswith(HASHED.encode()) for line in there.splitlines())
    added = "".join(f"{HostKeys.hash_host(name) if hashed else name} {key}\n" for name, key in keys)
    end = b"\n" if there and not there.endswith(b"\n") else b""
    if not file.parent.exists():
        make_private(file.parent)
    write_atomic(file, there + end + added.encode(), mode)


def _lines(path: str) -> Iterator[str]:
    file = Path(path).expanduser()
    if file.exists():
        yield from file.read_text(encoding="utf-8", errors="replace").splitlines()


def private_key(path: str, passphrase: str | None) -> paramiko.PKey:
    """The login key in a file, with its certificate where there is one beside it; read once as long as it stays."""
    file = Path(path).expanduser()
    return _key(file, file.stat().st_mtime_ns, passphrase)


@lru_cache(maxsize=16)
def _read(file: Path, _changed_ns: int, _size: int) -> KnownHosts:
    return parse_known_hosts(file.read_text(encoding="utf-8", errors="replace"))


@lru_cache(maxsize=16)
def _key(file: Path, _changed_ns: int, passphrase: str | None) -> paramiko.PKey:
    # bytes, whatever its annotation says
    secret: Any = passphrase.encode() if passphrase else None
    return paramiko.PKey.from_path(file, secret)


def _hides(hashed: str, name: str) -> bool:
    """Whether the hashed name is this one: a salt and an HMAC with it, as `ssh-keygen -H` writes them."""
    try:
        _, _, salt, digest = hashed.split("|")
        return hmac.compare_digest(
            hmac.new(b64decode(salt), name.encode(), hashlib.sha1).digest(), b64decode(digest)
        )
    except (ValueError, Error):
        return False


def _entry(line: str) -> HostKeyEntry | None:
    try:
        return HostKeyEntry.from_line(line)
    except (InvalidHostKey, ValueError):
        return None
