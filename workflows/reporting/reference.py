"""Makes the reference data that ship with the product from the paper's published files.

`python -m workflows.reporting.reference --import-knb DIR --import-hey DIR --out OUT`; what is written is described in
`vpnmesh/reference/README.md`. Exit code 2 where a folder holds nothing usable.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import click
import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.frames.requests import scan_hey
from vpnmesh.reference import SOURCE
from vpnmesh.reference.data import (
    LICENCE,
    METADATA,
    REPETITIONS,
    REPOSITORY,
    REQUESTS,
    SCHEMA_VERSION,
    Published,
)
from workflows.reporting.published_files import find_hey, read_imports
from workflows.reporting.studies import refuse_empty, study_of
from workflows.run.options import bad_input_exits_2

_FOLDER = click.Path(path_type=Path)
_EXAMPLES = """
\b
examples:
  python -m workflows.reporting.reference --import-knb knb --import-hey hey --out vpnmesh/reference
  python -m workflows.reporting.reference --import-knb knb --import-hey hey --archive knb-all.tar.xz --out reference
"""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--import-knb",
    "knb",
    type=_FOLDER,
    required=True,
    help="Folder of k8s-bench-suite JSON, one per scenario.",
)
@click.option(
    "--import-hey", "hey", type=_FOLDER, required=True, help="Folder of `hey -o csv` files, one per scenario."
)
@click.option(
    "--archive",
    "archives",
    type=_FOLDER,
    multiple=True,
    help="What the folders came out of: named with its sha256.",
)
@click.option("--out", type=_FOLDER, required=True, help="Where the three files go; made if missing.")
@bad_input_exits_2
def main(knb: Path, hey: Path, archives: tuple[Path, ...], out: Path) -> None:
    """Write published results as the reference data of the product: Parquet, and where they come from."""
    for name, rows in export(knb, hey, archives, out).items():
        click.echo(f"{out / name}: {rows} rows, {(out / name).stat().st_size / 1e6:.2f} MB")


def export(knb: Path, hey: Path, archives: Iterable[Path], out: Path) -> dict[str, int]:
    """Write the reference data of two folders below `out`: file name -> rows. The same files give the same bytes.

    InputError where a folder is missing, nothing in it is usable, or `out` cannot be written.
    """
    published = read_imports(knb, hey)
    refuse_empty(study_of(published), knb, hey)
    frames = {REPETITIONS: _without_empty(published.samples), REQUESTS: _requests(hey)}
    about = {
        "inputs": {"knb": _folder(knb), "hey": _folder(hey)},
        "archives": {path.name: _sha256(path) for path in sorted(archives, key=lambda path: path.name)},
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, frame in frames.items():
            frame.write_parquet(out / name, compression="zstd", compression_level=19)
        files = {
            name: {"rows": frame.height, "sha256": _sha256(out / name)} for name, frame in frames.items()
        }
        text = json.dumps(_metadata(published, about | {"files": files}), indent=1, ensure_ascii=False)
        (out / METADATA).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError("--out", f"{out} cannot be written: {error.strerror}") from error
    return {name: frame.height for name, frame in frames.items()}


def _metadata(published: Published, about: dict[str, object]) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "repository": REPOSITORY,
        "licence": LICENCE,
        "paper": SOURCE,
        "command": "python -m workflows.reporting.reference --import-knb DIR --import-hey DIR --archive FILE --out OUT",
        **about,
        "notes": published.notes,
        "provenance": published.provenance,
    }


def _without_empty(samples: pl.DataFrame) -> pl.DataFrame:
    """The columns that hold anything: a column that the results table gains later does not change the file."""
    return samples.select(one.name for one in samples if one.null_count() < one.len())


def _requests(folder: Path) -> pl.DataFrame:
    """All requests, run by run in the order they were sent: a scan promises no order of its own."""
    order = ["scenario", "condition", "mode", "run", "offset_s", "response_s", "status"]
    return scan_hey(find_hey(folder)[0]).collect().sort(order, nulls_last=True).rechunk()


def _folder(folder: Path) -> dict[str, object]:
    """How many files a folder holds, and the checksum of the list of their checksums, as sha256sum prints it."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    listing = "".join(f"{_sha256(folder / name)}  {name}\n" for name in names)
    return {"files": len(names), "sha256": hashlib.sha256(listing.encode()).hexdigest()}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}") from error


if __name__ == "__main__":
    main()
