"""The folder of a fallback study: a line per attempt as it ends, what the programs said, and the page at the end."""

import json
import os
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from vpnmesh.criteria.data import load as load_criteria
from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.errors import InputError
from vpnmesh.lab.atomic import append_whole, make_private, write_atomic
from vpnmesh.masks import masked
from vpnmesh.plan import Secret
from vpnmesh.study.fallback_record import Attempt, line_of, read_attempts
from vpnmesh.study.scenarios import BUILT_IN
from workflows.run.disk import onto_disk

LINES = "fallback.jsonl"


@dataclass(slots=True)
class FallbackStore:
    """What is appended is on the disk before the next attempt; secrets are masked in all that is written.

    DiskError where the disk does not take it: what is there already stays.
    """

    directory: Path
    secrets: AbstractSet[Secret]
    attempts: list[Attempt] = field(default_factory=list)

    @classmethod
    def new(cls, directory: Path, secrets: AbstractSet[Secret]) -> "FallbackStore":
        """A folder that is not there yet, or is empty; InputError otherwise. Nothing is made before `begin`."""
        try:
            taken = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
        except OSError as error:
            raise unreadable(directory, error) from error
        if taken:
            raise InputError(
                "--out", f"{directory} exists and is not empty", "name a new folder, or --resume it"
            )
        return cls(directory, secrets)

    def begin(self) -> None:
        """Make the folder where it is not there; InputError where nothing can be written to it.

        It stays empty until something was measured, so that a command that was refused can be given again.
        """
        try:
            if not self.directory.exists():
                make_private(self.directory)
        except OSError as error:
            raise InputError("--out", f"{self.directory} cannot be made: {error.strerror}") from error
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise InputError("--out", f"{self.directory} cannot be written to", "name another folder")

    @classmethod
    def open(cls, directory: Path, secrets: AbstractSet[Secret]) -> "FallbackStore":
        """A study to go on with; a last line that a kill cut off is removed. InputError where it is none."""
        path = directory / LINES
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise InputError(
                "--resume", f"{directory} has no {LINES}", "name the folder of an earlier study"
            ) from None
        except OSError as error:
            raise unreadable(path, error) from error
        except UnicodeDecodeError as error:
            raise InputError(str(path), f"is no text: {error.reason}") from error
        found = read_attempts(text, str(path))
        if not text.endswith("\n") and text:
            write_atomic(path, f"{text.rpartition(chr(10))[0]}\n".lstrip("\n").encode())
        return cls(directory, secrets, found)

    def append(self, attempt: Attempt) -> Attempt:
        """Write the line; when this returns, it survives a power cut. Returns what was written."""
        kept = replace(attempt, reason=masked(attempt.reason, self.secrets))
        with self._taken(self.directory / LINES):
            append_whole(self.directory / LINES, json.dumps(line_of(kept)).encode() + b"\n")
        self.attempts.append(kept)
        return kept

    def keep_raw(self, name: str, text: str) -> None:
        """Keep what a program said, below raw/."""
        path = self.directory / "raw" / name
        with self._taken(path):
            make_private(path.parent)
            write_atomic(path, masked(text, self.secrets).encode())

    def write_page(self) -> Path:
        """Make report.html, the pictures and fallback.csv from the lines; returns the page's path."""
        # drawing needs matplotlib, whose import costs more than the rest: only where there is something to draw
        from vpnmesh.report.fallback import attempt_table, compose_fallback  # noqa: PLC0415
        from vpnmesh.report.fallback_figure import fallback_figures  # noqa: PLC0415
        from vpnmesh.report.render import render_html  # noqa: PLC0415

        drawn = fallback_figures(self.attempts, BUILT_IN)
        page = compose_fallback(self.attempts, drawn, load_criteria())
        with self._taken(self.directory):
            make_private(self.directory / "figures")
            for name, svg in drawn.items():
                write_atomic(self.directory / "figures" / f"{name}.svg", svg.encode())
            write_atomic(self.directory / "fallback.csv", attempt_table(self.attempts).write_csv().encode())
            write_atomic(self.directory / "report.html", render_html(page).encode())
        return self.directory / "report.html"

    def _taken(self, path: Path) -> AbstractContextManager[None]:
        """DiskError where the disk does not take what is written within."""
        return onto_disk(path, f"--resume {self.directory}")
