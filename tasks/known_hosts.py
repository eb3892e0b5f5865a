"""Known hosts and login keys, each file read once: a thousand logins are a thousand look-ups, not as many readings."""

import hashlib
import hmac
from base64 import b64decode
from binascii import Error
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

HASHED = "|1|"


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
