"""The paper's published measurements, which ship with the product: repetitions and API requests as Parquet.

`metadata.json` beside them says where they come from and what the import noticed; `workflows.reporting.reference`
makes all three from the published files. Reads package data only.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import polars as pl

from vpnmesh.errors import InputError
from vpnmesh.frames.schemas import API, RESULTS, check_results, empty

REPETITIONS = "repetitions.parquet"
REQUESTS = "requests.parquet"
METADATA = "metadata.json"
SCHEMA_VERSION = 1
REPOSITORY = "https://github.com/korvoj/vpn-performance"
LICENCE = "Apache-2.0"


@dataclass(frozen=True, slots=True)
class Published:
    """Results that somebody published, as they were read: what a study is made of.

    `samples` in the schema of `RESULTS`, `api` in that of `API`; `notes` say what the reading dropped or repaired,
    `provenance` what the figures were measured on.
    """

    samples: pl.DataFrame
    api: pl.LazyFrame
    notes: tuple[str, ...]
    provenance: Mapping[str, object]


def paper_data() -> Published:
    """The paper's 2,560 throughput repetitions, 1,280 idle readings and 398,849 requests, failed ones included.

    InputError where the installed files are not the ones that were shipped.
    """
    known = paper_metadata()
    # columns that the paper's tools had no figure for are not in the file
    stored = pl.read_parquet(io.BytesIO(_whole(REPETITIONS, known)))
    samples = pl.concat([empty(RESULTS), stored], how="diagonal")
    about = {name: known[name] for name in ("repository", "licence", "inputs", "archives")}
    return Published(
        check_results(samples, REPETITIONS),
        paper_requests(),
        tuple(known["notes"]),
        {**known["provenance"], "reference": about},
    )


def paper_requests() -> pl.LazyFrame:
    """The paper's API requests alone, in the schema of `API`; InputError as with all of its data."""
    return pl.read_parquet(io.BytesIO(_whole(REQUESTS, paper_metadata()))).select(list(API)).lazy()


def paper_metadata() -> dict[str, Any]:
    """Source, licence, checksums and row counts of the data, and the notes of the import that made them."""
    found = json.loads(_bytes(METADATA))
    if found.get("schema_version") != SCHEMA_VERSION:
        raise InputError(METADATA, f"schema_version is not {SCHEMA_VERSION}", "install vpnmesh anew")
    return dict(found)


def _bytes(name: str) -> bytes:
    return resources.files(__package__ or "vpnmesh.reference").joinpath(name).read_bytes()


def _whole(name: str, known: Mapping[str, Any]) -> bytes:
    """The file's content; InputError where its checksum is another than the metadata's."""
    content = _bytes(name)
    if hashlib.sha256(content).hexdigest() != known["files"][name]["sha256"]:
        raise InputError(name, "is not the file that was shipped (sha256)", "install vpnmesh anew")
    return content
