"""An inventory written to a folder: never over one that is there, and never one that would be refused."""

import tempfile
from pathlib import Path

from inventory.documents import Documents
from inventory.load import load
from vpnmesh.errors import InputError

FILES = ("defaults.yaml", "groups.yaml", "hosts.yaml")


def refuse_taken(folder: Path, way_out: str = "choose another folder") -> None:
    """InputError where the folder has one of the files."""
    for name in FILES:
        if (folder / name).exists():
            raise InputError(str(folder / name), "is there already", way_out)


def write(folder: Path, documents: Documents) -> list[Path]:
    """Write the files and return them; InputError where the disk takes none."""
    written = [folder / name for name in documents.texts()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(written, documents.texts().values(), strict=True):
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            str(folder), f"cannot be written: {error.strerror}", "name another folder"
        ) from error
    return written


def write_new(folder: Path, documents: Documents) -> list[Path]:
    """Write the files once all rules of a testbed have been applied to them; InputError as those give it."""
    with tempfile.TemporaryDirectory() as trial:
        write(Path(trial), documents)
        try:
            load(trial)
        except InputError as error:
            place = error.place.replace(trial, str(folder))
            raise InputError(place, error.problem, error.way_out) from error
    return write(folder, documents)
