"""The run directory: manifest.json, journal.jsonl (append-only, on disk per repetition), raw/, and two tables."""

import io
import json
import os
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vpnmesh.documents.json_text import parse_json
from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.errors import NO_JSON, InputError, VpnmeshError
from vpnmesh.frames.events import figures_of
from vpnmesh.lab.atomic import PRIVATE_FOLDER, append_whole, make_private, open_private, write_atomic
from vpnmesh.masks import hide_values, mask_for, masked
from vpnmesh.plan import Secret
from vpnmesh.study.journal import (
    JournalEvent,
    RepetitionEnded,
    SessionStarted,
    of_kind,
    parse_event,
    parse_journal,
    whole_lines,
)
from vpnmesh.study.manifest import Manifest, Surroundings, read_manifest
from vpnmesh.study.record import Record, finished, frame_of, journal_line
from workflows.run import clock
from workflows.run.disk import first_of_all


class StoreError(VpnmeshError):
    """The disk did not take what was measured; the run stops, and what is in the journal stays."""


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The directory of a run as a reader sees it; nothing here writes, for a run may be writing at the same time."""

    directory: Path

    @property
    def journal_path(self) -> Path:
        """Where every attempt has its line."""
        return self.directory / "journal.jsonl"

    @property
    def manifest_path(self) -> Path:
        """What the run is read with."""
        return self.directory / "manifest.json"

    @property
    def results_path(self) -> Path:
        """The table of all attempts, made from the journal."""
        return self.directory / "results.parquet"

    @property
    def figures_path(self) -> Path:
        """The long table of all figures, made from the journal."""
        return self.directory / "figures.parquet"

    def manifest(self) -> Manifest:
        """The manifest; InputError if the directory is no run of this version."""
        path = self.manifest_path
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(str(self.directory), "not a run: no manifest.json in it") from None
        except OSError as error:
            raise unreadable(path, error) from error
        except NO_JSON as error:
            raise InputError(str(path), f"no JSON: {error}") from error
        return read_manifest(content, str(path))

    def events(self) -> list[JournalEvent]:
        """The whole lines of the journal; none where there is no journal yet. InputError names a line that is wrong."""
        if not self.journal_path.exists():
            return []
        return parse_journal(self.journal_path.read_bytes(), str(self.journal_path))


@dataclass(slots=True)
class Store:
    """A run on disk, as its session writes it: what is appended is on the disk before the next repetition starts.

    `secrets` are masked in everything that is written; the session that learns of one adds it to that very set.
    `adopts` = a session may go on in other surroundings than the first one's, and is marked so.
    """

    directory: Path
    events: list[JournalEvent] = field(default_factory=list)
    secrets: AbstractSet[Secret] = frozenset()
    adopts: bool = False

    @classmethod
    def create(
        cls, directory: Path, manifest: Manifest | None = None, secrets: AbstractSet[Secret] = frozenset()
    ) -> "Store":
        """A new run in a directory that does not exist yet or is empty; InputError otherwise.

        One whose making a kill cut off, before its manifest was there, counts as empty.
        """
        if directory.exists() and not _is_empty(directory):
            raise InputError(
                "--out", f"{directory} exists and is not empty", "name a new directory, or --resume it"
            )
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            make_private(directory / "raw")
            directory.chmod(PRIVATE_FOLDER)
        except OSError as error:
            raise InputError("--out", f"{directory} cannot be made: {error.strerror}") from error
        store = cls(directory, secrets=secrets)
        store.write_manifest(manifest or Manifest())
        return store

    @classmethod
    def open(
        cls, directory: Path, secrets: AbstractSet[Secret] = frozenset(), *, adopts: bool = False
    ) -> "Store":
        """A run to go on with; a last line of its journal that a kill cut off is removed for good.

        InputError when the directory is no run of this version.
        """
        files = RunFiles(directory)
        files.manifest()
        store = cls(directory, files.events(), secrets, adopts)
        path = files.journal_path
        if path.exists() and (whole := whole_lines(content := path.read_bytes())) != content:
            store._replace(path, whole)
        return store

    @property
    def files(self) -> RunFiles:
        """The same directory for reading."""
        return RunFiles(self.directory)

    def manifest(self) -> Manifest:
        """What the manifest holds now."""
        return self.files.manifest()

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest in one move."""
        entries = hide_values(manifest.entries(), mask_for(self.secrets))
        assert isinstance(entries, dict)
        self._replace(self.files.manifest_path, _a_line_each(entries).encode())

    def update_manifest(self, **entries: object) -> None:
        """Add entries to the manifest, or replace them."""
        self.write_manifest(self.manifest().with_entries(entries))

    def as_kept(self, met: Surroundings) -> Surroundings:
        """These as the manifest would give them back: masked, and in JSON's types."""
        kept = hide_values(met.entries(), mask_for(self.secrets))
        return Surroundings.model_validate(json.loads(json.dumps(kept)))

    def hide(self, text: str) -> str:
        """The text without the secrets that are known by now, and without what looks like one."""
        return masked(text, self.secrets)

    @property
    def repetitions(self) -> list[RepetitionEnded]:
        """The rows of the results table: every attempt, and every cell that could not be attempted."""
        return of_kind(self.events, RepetitionEnded)

    @property
    def finished(self) -> frozenset[tuple[str, int]]:
        """The attempts that need no repeating."""
        return finished(self.events)

    def append(self, record: Record) -> None:
        """Journal a repetition; when this returns, it survives a power cut."""
        self._append(journal_line(replace(record, adopted=self.adopted)))

    @property
    def adopted(self) -> bool:
        """Whether the session under way met other surroundings than the first one."""
        begun = (event for event in reversed(self.events) if isinstance(event, SessionStarted))
        return bool(next((session.adopted for session in begun), None))

    def note(self, event: JournalEvent) -> None:
        """Journal something that is no repetition (a visit, an interruption), with the time."""
        self._append(event.stamped(clock.now()).line())

    def keep_raw(self, name: str, text: str) -> str:
        """Write a tool's own output below raw/ before anybody parses it; returns its path in the run."""
        path = self.directory / "raw" / name
        if not path.resolve().is_relative_to(self.directory.resolve() / "raw"):
            raise StoreError(f"raw/{name}: leads out of the run's directory")
        try:
            make_private(path.parent)
            with open_private(path, os.O_TRUNC) as file:
                file.write(self.hide(text).encode())
        except OSError as error:
            raise self._not_taken(path, error) from error
        return str(path.relative_to(self.directory))

    def write_results(self) -> Path:
        """Make results.parquet and figures.parquet anew from the journal; returns the path of the first."""
        path = self.files.results_path
        for place, frame in (
            (self.files.figures_path, figures_of(self.events)),
            (path, frame_of(self.events)),
        ):
            table = io.BytesIO()
            frame.write_parquet(table)
            self._replace(place, table.getvalue())
        return path

    def _append(self, line: dict[str, object]) -> None:
        path = self.files.journal_path
        kept = hide_values(line, mask_for(self.secrets))
        event = parse_event(kept, str(path), len(self.events) + 1)
        try:
            append_whole(path, json.dumps(kept).encode() + b"\n")
        except OSError as error:
            raise self._not_taken(path, error) from error
        self.events.append(event)

    def _replace(self, path: Path, content: bytes) -> None:
        try:
            write_atomic(path, content)
        except OSError as error:
            raise self._not_taken(path, error) from error

    def _not_taken(self, path: Path, error: OSError) -> StoreError:
        way_out = first_of_all(error)
        return StoreError(f"{path}: {error.strerror}; {way_out}, then go on with --resume {self.directory}")


def _is_empty(directory: Path) -> bool:
    """Whether nothing is in it but what `Store.create` makes before the manifest is there."""
    if not directory.is_dir():
        return False
    begun = ("raw", "manifest.json.new")
    return all(one.name in begun and not (one.is_dir() and any(one.iterdir())) for one in directory.iterdir())


def _a_line_each(entries: dict[str, Any]) -> str:
    """The entries as JSON with a line for each: with `indent` json leaves its encoder in C, which takes a tenth."""
    lines = (f"{json.dumps(name)}: {json.dumps(entries[name], sort_keys=True)}" for name in sorted(entries))
    return "{\n" + ",\n".join(lines) + "\n}\n"
