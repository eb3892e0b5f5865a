"""The folder of a NAT grid: cells as they end, packets of those that are not direct, pictures and a page at the end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vpnmesh.documents.yaml_text import unreadable
from vpnmesh.errors import InputError
from vpnmesh.study.nat_grid import NatPair, NatRecord, line_of, read_lines

CELLS, PAGE = "cells.jsonl", "grid.md"
CAPTURES, LOGS = "packets", "logs"
Done = Mapping[tuple[str, NatPair], NatRecord]


@dataclass(frozen=True, slots=True)
class GridFiles:
    """What is written below one folder."""

    folder: Path

    def prepare(self) -> None:
        """Make the folder, before anything is measured; InputError where that cannot be."""
        try:
            (self.folder / CAPTURES).mkdir(parents=True, exist_ok=True)
            (self.folder / CELLS).open("a", encoding="utf-8").close()
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

    def add(self, record: NatRecord) -> None:
        """Append one cell; a line that a killed run left half goes first."""
        path = self.folder / CELLS
        text = path.read_text(encoding="utf-8")
        if text and not text.endswith("\n"):
            path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{line_of(record)}\n")

    def keeper(self, solution: str) -> Callable[[NatPair, str], str]:
        """What keeps the packets' headers of that solution's cells."""

        def keep(pair: NatPair, text: str) -> str:
            name = f"{CAPTURES}/{solution}-{pair.client}-{pair.server}.txt"
            (self.folder / name).write_text(text, encoding="utf-8")
            return name

        return keep

    def keep_log(self, solution: str, name: str, text: str) -> None:
        """The end of a daemon's log, from a solution that could not be deployed."""
        (self.folder / LOGS).mkdir(exist_ok=True)
        (self.folder / LOGS / f"{solution}-{name}").write_text(text, encoding="utf-8")

    def write_pictures(self, done: Done) -> None:
        """A picture per solution, and the page."""
        # drawing needs matplotlib, whose import costs more than the rest: only where there is something to draw
        from vpnmesh.report import nat_grid  # noqa: PLC0415

        for name, records in _by_solution(done).items():
            (self.folder / f"{name}.svg").write_text(nat_grid.figure(name, records), encoding="utf-8")
        (self.folder / PAGE).write_text(nat_grid.page(tuple(done.values())), encoding="utf-8")

    def summary(self, done: Done) -> str:
        """Where it is, in one line, and how many cells ended how."""
        from vpnmesh.report import nat_grid  # noqa: PLC0415

        lines = [nat_grid.counted(name, records) for name, records in _by_solution(done).items()]
        pictures = ", ".join(f"{name}.svg" for name in _by_solution(done))
        return "\n".join((*lines, f"written: {self.folder}/{CELLS}, {PAGE}, {pictures}".rstrip(", ")))


def _by_solution(done: Done) -> dict[str, tuple[NatRecord, ...]]:
    names = dict.fromkeys(solution for solution, _ in done)
    return {name: tuple(one for one in done.values() if one.solution == name) for name in names}
