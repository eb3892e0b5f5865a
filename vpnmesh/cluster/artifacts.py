"""Release files of Kubernetes' parts: versions, addresses, places on nodes; as values, without fetching any."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vpnmesh.documents.validation import first_problem
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.host.binaries import Arch, HttpsOrNone

PINS = "versions.toml"
"""Beside this module."""
PROGRAM_MODE = 0o755
FILE_MODE = 0o644
Https = Annotated[HttpsOrNone, Field(min_length=1)]
AbsolutePath = Annotated[str, Field(pattern=r"^/[^ ]+$")]


class Choice(StrEnum):
    """Which of a part's pinned versions."""

    PAPER = "paper"
    CURRENT = "current"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a release for one architecture, and where a node gets it."""

    product: str
    version: str
    arch: Arch
    name: str
    url: str
    sums: str
    target: str
    program: str = ""
    """What a node may have on its PATH instead."""

    @property
    def mode(self) -> int:
        """Of the file on a node."""
        return PROGRAM_MODE if self.program else FILE_MODE

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.name} of {self.product} {self.version} ({self.arch})"


class _Strict(BaseModel):
    """A table of versions.toml: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class ReleaseFile(_Strict):
    """A file of a release; its name may differ by architecture."""

    names: Annotated[Mapping[Arch, str], Field(min_length=1)]
    url: Https
    sums: Https
    target: AbsolutePath
    program: str = ""


class Release(_Strict):
    """A part of a cluster, with the paper's version and the current one."""

    name: str
    page: Https
    paper: Annotated[str, Field(pattern=r"^v\d+\.\d+\.\d+")]
    current: Annotated[str, Field(pattern=r"^v\d+\.\d+\.\d+")]
    files: Annotated[Mapping[str, ReleaseFile], Field(min_length=1)]

    def version(self, choice: Choice) -> str:
        """The pinned version of that choice."""
        return self.paper if choice is Choice.PAPER else self.current

    def artifact(self, kind: str, arch: Arch, choice: Choice = Choice.CURRENT) -> Artifact:
        """That file of the release; UnknownNameError lists the kinds, InputError what lacks the architecture."""
        if kind not in self.files:
            raise UnknownNameError(f"{PINS} [{self.name}]", "file", kind, sorted(self.files))
        pin = self.files[kind]
        if arch not in pin.names:
            raise InputError(f"{PINS} [{self.name}.files.{kind}]", f"nothing is pinned for {arch}")
        version = self.version(choice)
        name = pin.names[arch].replace("{version}", version)
        filled = {"version": version, "arch": arch, "name": name}
        return Artifact(
            product=self.name,
            version=version,
            arch=arch,
            name=name,
            url=_fill(pin.url, filled, quoted=True),
            sums=_fill(pin.sums, filled, quoted=True),
            target=_fill(pin.target, filled),
            program=pin.program,
        )


def parse_releases(text: str) -> dict[str, Release]:
    """Read versions.toml; InputError names the table and the key that is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(PINS, str(error)) from None
    return {name: _release(name, table) for name, table in document.items()}


def _release(name: str, table: object) -> Release:
    place = f"{PINS} [{name}]"
    if not isinstance(table, dict):
        raise InputError(place, f"is {table!r}, no table")
    try:
        return Release.model_validate({"name": name, **table})
    except ValidationError as error:
        key, problem = first_problem(error)
        raise InputError(f"{place}: {key}", problem) from None


def _fill(template: str, values: Mapping[str, str], *, quoted: bool = False) -> str:
    for key, value in values.items():
        template = template.replace(f"{{{key}}}", quote(value, safe="") if quoted else value)
    return template
