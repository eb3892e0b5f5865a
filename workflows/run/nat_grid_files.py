"""The folder of a NAT grid: cells as they end, packets of those that are not direct, pictures and a page at the end."""

import os
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.errors import InputError
from vpnmesh.lab.atomic import append_whole, make_private, open_private, write_atomic
from vpnmesh.masks import masked
from vpnmesh.plan import Secret
from vpnmesh.study.nat_grid import NatPair, NatRecord, line_of, read_lines
from workflows.run.disk import onto_disk

CELLS, PAGE = "cells.jsonl", "grid.md"
CAPTURES, LOGS = "packets", "logs"
Done = Mapping[tuple[str, NatPair], NatRecord]


@dataclass(frozen=True, slots=True)
class GridFiles:
    """What is written below one folder, for its owner alone; secrets are masked in it.

    DiskError where the disk does not take it: the cells that are there already stay.
    """

    folder: Path
    secrets: AbstractSet[Secret] = frozenset()

    def prepare(self) -> None:
        """Make the folder, before anything is measured; InputError where that cannot be."""
        try:
            make_private(self.folder / CAPTURES)
            open_private(self.folder / CELLS, os.O_APPEND).close()
        except OSError as error:
            raise InputError("--out", f"{self.folder} cannot be written: {error.strerror}") from error

    def read(self) -> dict[tuple[str, NatPair], NatRecord]:
        """What is known, by solution and pair; the last line of a cell is the one that counts."""
        path = self.folder / CELLS
        try:
            text = path.read_bytes().decode(errors="replace") if path.exists() else ""
        except OSError as error:
            raise unreadable(path, error) from error
        return {(one.solution, one.pair): one for one in read_lines(text, str(path))}

    def add(self, record: NatRecord) -> NatRecord:
        """Append one cell, and return what was written; a line that a killed run left half goes first."""
        path, kept = self.folder / CELLS, replace(record, reason=masked(record.reason, self.secrets))
        with self._taken(path):
            content = path.read_bytes()
            # in bytes, for a kill may have cut a character in two
            if not content.endswith(b"\n") and content:
                write_atomic(path, content[: content.rfind(b"\n") + 1])
            append_whole(path, f"{line_of(kept)}\n".encode())
        return kept

    def keeper(self, solution: str) -> Callable[[NatPair, str], str]:
        """What keeps the packets' headers of that solution's cells."""

        def keep(pair: NatPair, text: str) -> str:
            name = f"{CAPTURES}/{solution}-{pair.client}-{pair.server}.txt"
            self._write(name, text)
            return name

        return keep

    def keep_log(self, solution: str, name: str, text: str) -> None:
        """The end of a daemon's log, from a solution that could not be deployed."""
        with self._taken(self.folder / LOGS):
            make_private(self.folder / LOGS)
        self._write(f"{LOGS}/{solution}-{name}", text)

    def _write(self, name: str, text: str) -> None:
        with self._taken(self.folder / name):
            write_atomic(self.folder / name, masked(text, self.secrets).encode())

    def _taken(self, path: Path) -> AbstractContextManager[None]:
        """DiskError where the disk does not take what is written within."""
        return onto_disk(path, f"--out {self.folder}")

    def write_pictures(self, done: Done) -> None:
        """A picture per solution, and the page."""
        # drawing needs matplotlib, whose import costs more than the rest: only where there is something to draw
        from vpnmesh.report import nat_grid  # noqa: PLC0415

        with self._taken(self.folder):
            for name, records in _by_solution(done).items():
                write_atomic(self.folder / f"{name}.svg", nat_grid.figure(name, records).encode())
            write_atomic(self.folder / PAGE, nat_grid.page(tuple(done.values())).encode())

    def summary(self, done: Done) -> str:
        """Where it is, in one line, and how many cells ended how."""
        from vpnmesh.report import nat_grid  # noqa: PLC0415

        lines = [nat_grid.counted(name, records) for name, records in _by_solution(done).items()]
        pictures = ", ".join(f"{name}.svg" for name in _by_solution(done))
        return "\n".join((*lines, f"written: {self.folder}/{CELLS}, {PAGE}, {pictures}".rstrip(", ")))


def _by_solution(done: Done) -> dict[str, tuple[NatRecord, ...]]:
    names = dict.fromkeys(solution for solution, _ in done)
    return {name: tuple(one for one in done.values() if one.solution == name) for name in names}
