"""The run directory: manifest.json, journal.jsonl (append-only, on disk per repetition), raw/, and two tables."""

import contextlib
import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from vpnmesh.errors import InputError, VpnmeshError
from vpnmesh.frames.events import figures_of
from vpnmesh.frames.schemas import SCHEMA_VERSION
from vpnmesh.masks import hide_values, masked
from vpnmesh.study.record import Record, finished, frame_of, journal_line


class StoreError(VpnmeshError):
    """The disk did not take what was measured; the run stops, and what is in the journal stays."""


@dataclass(slots=True)
class Store:
    """One run on disk. What is appended is flushed to the disk before the next repetition starts."""

    directory: Path
    lines: list[dict[str, object]] = field(default_factory=list)
    hide: Callable[[str], str] = masked
    """Takes secrets out of all that is written; a run tells it those that it met."""

    @classmethod
    def create(cls, directory: Path, manifest: Mapping[str, object]) -> "Store":
        """A new run in a directory that does not exist yet or is empty; InputError otherwise."""
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise InputError(
                "--out", f"{directory} exists and is not empty", "name a new directory, or --resume it"
            )
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            (directory / "raw").mkdir()
        except OSError as error:
            raise InputError("--out", f"{directory} cannot be made: {error.strerror}") from error
        store = cls(directory)
        store.write_manifest({"schema_version": SCHEMA_VERSION, **manifest})
        return store

    @classmethod
    def open(cls, directory: Path) -> "Store":
        """A run to go on with: as `read`, and a last line that a kill cut off is taken away for good."""
        store = cls.read(directory)
        path = store.journal_path
        if path.exists() and (whole := _whole(content := path.read_bytes())) != content:
            store._replace(path, whole)
        return store

    @classmethod
    def read(cls, directory: Path) -> "Store":
        """A run to look at, left as it is, for it may still be writing; InputError when it is none of ours."""
        store = cls(directory)
        manifest = store.manifest()
        if manifest.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                str(directory),
                f"a run of schema version {manifest.get('schema_version')}, this is {SCHEMA_VERSION}",
                "start a new run, or use the vpnmesh that made it",
            )
        store.lines = store._read_journal()
        return store

    @property
    def journal_path(self) -> Path:
        """Where every attempt has its line."""
        return self.directory / "journal.jsonl"

    def manifest(self) -> dict[str, object]:
        """The provenance of the run; InputError if the directory is no run."""
        path = self.directory / "manifest.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(str(self.directory), "not a run: no manifest.json in it") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(str(path), f"no JSON: {error}") from error
        if not isinstance(content, dict):
            raise InputError(str(path), "not a manifest")
        return content

    def write_manifest(self, manifest: Mapping[str, object]) -> None:
        """Replace the manifest in one move."""
        text = json.dumps(hide_values(manifest, self.hide), indent=2, sort_keys=True)
        self._replace(self.directory / "manifest.json", text.encode())

    def as_kept(self, entries: Mapping[str, object]) -> dict[str, object]:
        """The entries as the manifest would give them back: masked, and in JSON's types."""
        kept: dict[str, object] = json.loads(json.dumps(hide_values(entries, self.hide)))
        return kept

    def update_manifest(self, **entries: object) -> None:
        """Add entries to the manifest."""
        self.write_manifest({**self.manifest(), **entries})

    @property
    def finished(self) -> frozenset[tuple[str, int]]:
        """The attempts that need no repeating."""
        return finished(self.lines)

    def append(self, record: Record) -> None:
        """Journal a repetition; when this returns, it survives a power cut."""
        self._append(journal_line(record))

    def note(self, event: str, **entries: object) -> None:
        """Journal something that is no repetition: a visit, an interruption, what a teardown left."""
        stamp = datetime.now(UTC).isoformat()
        self._append({"schema_version": SCHEMA_VERSION, "type": event, "at": stamp, **entries})

    def keep_raw(self, name: str, text: str) -> str:
        """Write a tool's own output below raw/ before anybody parses it; returns its path in the run."""
        path = self.directory / "raw" / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _private(path, os.O_TRUNC) as file:
                file.write(self.hide(text).encode())
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        return str(path.relative_to(self.directory))

    def write_results(self) -> Path:
        """Make results.parquet and figures.parquet anew from the journal; returns the path of the first."""
        path = self.directory / "results.parquet"
        for place, frame in (
            (self.directory / "figures.parquet", figures_of(self.lines)),
            (path, frame_of(self.lines)),
        ):
            table = io.BytesIO()
            frame.write_parquet(table)
            self._replace(place, table.getvalue())
        return path

    def _append(self, line: dict[str, object]) -> None:
        text = json.dumps(hide_values(line, self.hide))
        try:
            with _private(self.journal_path, os.O_APPEND) as journal:
                journal.write(text.encode() + b"\n")
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            place = self.journal_path
            raise StoreError(
                f"{place}: {error.strerror}; make room, then go on with --resume {self.directory}"
            ) from error
        self.lines.append(json.loads(text))

    def _read_journal(self) -> list[dict[str, object]]:
        """All whole lines; none where there is no journal yet."""
        if not self.journal_path.exists():
            return []
        try:
            lines = [json.loads(line) for line in _whole(self.journal_path.read_bytes()).splitlines()]
        except ValueError as error:
            raise InputError(str(self.journal_path), f"a line is no JSON: {error}") from error
        return [line for line in lines if isinstance(line, dict)]

    def _replace(self, path: Path, content: bytes) -> None:
        """Write beside it, flush, and move; what could not be written whole is taken away again."""
        temporary = path.with_name(path.name + ".new")
        try:
            with _private(temporary, os.O_TRUNC) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):  # a disk that is read-only by now holds nothing to take away
                temporary.unlink(missing_ok=True)
            raise StoreError(
                f"{path}: {error.strerror}; make room, then go on with --resume {self.directory}"
            ) from error


def _whole(content: bytes) -> bytes:
    """A journal without a last line that is not ended."""
    return content[: content.rfind(b"\n") + 1]


def _private(path: Path, how: int) -> BinaryIO:
    """Open for writing, made if need be; mode 0600 whatever the umask and whoever made it before."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
    file = os.fdopen(descriptor, "wb")
    os.fchmod(descriptor, 0o600)
    return file
