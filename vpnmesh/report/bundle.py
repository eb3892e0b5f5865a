"""A shareable archive of a report: raw output, tables, provenance, licence, citation; and no secret.

Secrets are masked when they are made (`vpnmesh.plan.Secret`); this is the second net, for what a tool printed or a
user wrote. Only files that a run or a report consists of go in, and none that by its name holds a secret; in all of
them whatever looks like a secret is masked, and the management network and people's home folders are hidden. The
archive lists every file with its digest, and what was masked or left out.
"""

import hashlib
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import BinaryIO

from vpnmesh.documents.secret_shapes import JSON_WEB_TOKEN, PRIVATE_KEY
from vpnmesh.report.hiding import Hiding
from vpnmesh.report.secret_values import secret_spans

MASK = "<masked>"
NOTHING_KNOWN = Hiding()
"""Of a testbed; home folders are hidden always."""

_NAMES = re.compile(
    r"(^|/)(id_(rsa|ecdsa|ed25519)|authtoken\.secret|identity\.secret|\.netrc|\.pgpass|shadow|"
    r"[^/]*\.(key|pem|p12|pfx|secret))$"
)
_QUOTE = r"""\\*["']?"""
_HEADER = r"(?i:authorization|x-api-key|x-zt1-auth)"
_COOKIE = r"(?i:cookie)"
_PATTERNS = (
    re.compile(PRIVATE_KEY),
    # headers before keys, since a header's value has two words
    re.compile(
        rf"(?P<keep>{_HEADER}{_QUOTE}\s*[:=]\s*{_QUOTE}(?:(?:Bearer|Token|Basic) )?)(?!<masked>)[\w.+/=~-]{{6,}}"
    ),
    re.compile(rf"""(?P<keep>{_COOKIE}{_QUOTE}\s*[:=]\s*{_QUOTE})(?!<masked>)[^"'\\\r\n]{{6,}}"""),
    re.compile(r"(?P<keep>://[^\s:/@]+:)(?!<masked>)[^\s/@]+(?=@)"),
    re.compile(r"\b(?:nbp_\w{20,}|nbt_[\w.]{20,}|[ht]skey-[\w-]{10,}|gh[pousr]_\w{20,}|AKIA[A-Z0-9]{16})\b"),
    re.compile(JSON_WEB_TOKEN),
)


@dataclass(frozen=True, slots=True)
class Member:
    """A file for the archive: its path inside and its content, or why it is left out."""

    path: PurePosixPath
    content: bytes = b""
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class Packed:
    """What became of one file: its digest, how many places were masked, or why it was left out."""

    path: PurePosixPath
    sha256: str = ""
    masked: int = 0
    left_out: str = ""


def mask(text: str) -> tuple[str, int]:
    """The text with everything that looks like a secret masked, and how often that was."""
    count = 0
    for pattern in _PATTERNS:
        keeps = "keep" in pattern.groupindex
        text, found = pattern.subn(lambda hit, keeps=keeps: (hit["keep"] if keeps else "") + MASK, text)  # type: ignore[misc]
        count += found
    return _without_named(text, count)


def clean(text: str, hiding: Hiding) -> tuple[str, int]:
    """The text as it may leave, and how many places of it were masked or hidden."""
    text, masked = mask(text)
    text, hidden = hiding.text(text)
    return text, masked + hidden


def _without_named(text: str, count: int) -> tuple[str, int]:
    parts, at = [], 0
    for start, end in secret_spans(text):
        parts += [text[at:start], MASK]
        at, count = end, count + 1
    return "".join((*parts, text[at:])), count


RUN_FILES = ("manifest.json", "journal.jsonl", "results.parquet", "figures.parquet", "raw/*", "report/*")
"""What of a run's folder goes in; not its firewall journals, which hold all of a firewall's rules."""
REPORT_FILES = (
    *("report.html", "report.md", "advice.json", "provenance.json", "results.parquet"),
    *("figures/*.svg", "tables/*.csv"),
)
"""What of a report's folder goes in, which may be any folder of the user's."""


def belongs(path: PurePosixPath, files: Iterable[str]) -> bool:
    """Whether a file is one of these, by its path below their folder; of a report in a run those of a report count."""
    if path.parts[:1] == ("report",) and "report/*" in files:
        return belongs(PurePosixPath(*path.parts[1:]), REPORT_FILES)
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and any(fnmatchcase(str(path), pattern) for pattern in files)


def is_secret_by_name(path: PurePosixPath) -> bool:
    """Whether a file is left out for its name alone."""
    return bool(_NAMES.search(f"/{path}"))


def pack(members: Iterable[Member], stream: BinaryIO, hiding: Hiding = NOTHING_KNOWN) -> tuple[Packed, ...]:
    """Write the archive to a stream; the same members give the same bytes. Its last file lists the others."""
    packed: list[Packed] = []
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            clean, entry = _clean(member, hiding)
            packed.append(entry)
            if not entry.left_out:
                _write(archive, member.path, clean)
        _write(archive, PurePosixPath("BUNDLE.txt"), "".join(_listed(packed)).encode())
    return tuple(packed)


def _clean(member: Member, hiding: Hiding) -> tuple[bytes, Packed]:
    if member.left_out:
        return b"", Packed(member.path, left_out=member.left_out)
    if is_secret_by_name(member.path):
        return b"", Packed(member.path, left_out="its name says that it holds a secret")
    if member.path.suffix == ".parquet" and not member.content:
        return b"", Packed(member.path, left_out="it is no whole parquet file")
    if member.path.suffix == ".parquet":
        # its text columns were masked before, by whoever read the file
        return member.content, Packed(member.path, _digest(member.content))
    try:
        text, masked = clean(member.content.decode("utf-8"), hiding)
    except UnicodeDecodeError:
        return b"", Packed(member.path, left_out="it is no text, so nobody can tell what it holds")
    content = text.encode()
    return content, Packed(member.path, _digest(content), masked)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(archive: zipfile.ZipFile, path: PurePosixPath, content: bytes) -> None:
    # a fixed date: the archive says what it holds, not when it was packed
    info = zipfile.ZipInfo(str(path), date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


def _listed(packed: Iterable[Packed]) -> Iterator[str]:
    yield "sha256, path, and how many places were masked; or why a file was left out\n\n"
    for entry in packed:
        if entry.left_out:
            yield f"left out: {entry.path}: {entry.left_out}\n"
        else:
            yield (
                f"{entry.sha256}  {entry.path}" + (f"  masked: {entry.masked}" if entry.masked else "") + "\n"
            )
