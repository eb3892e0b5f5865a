"""Where the programs of VPN solutions come from: versions, releases, checksums; as values, without fetching any."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from vpnmesh.documents.validation import first_problem
from vpnmesh.errors import InputError, ToolError, UnknownNameError

Pin = TypeVar("Pin", bound=BaseModel)


def _https(address: str) -> str:
    if address and not address.startswith("https://"):
        raise ValueError("is not https")
    return address


HttpsOrNone = Annotated[str, AfterValidator(_https)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Arch(StrEnum):
    """Processor architectures as Go, Debian and the vendors call them."""

    AMD64 = "amd64"
    ARM64 = "arm64"

    @classmethod
    def parse(cls, machine: str) -> "Arch":
        """From `uname -m` or the name itself; UnknownNameError for any other."""
        known = {"x86_64": cls.AMD64, "amd64": cls.AMD64, "aarch64": cls.ARM64, "arm64": cls.ARM64}
        try:
            return known[machine]
        except KeyError:
            raise UnknownNameError("--arch", "architecture", machine, list(cls)) from None


class _Strict(BaseModel):
    """A table of binaries.toml, or a part of one: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class ContainerImage(_Strict):
    """An image of the vendor's with programs in it."""

    reference: Annotated[str, Field(pattern=r"^[a-z0-9.:-]+(/[a-z0-9._-]+)+$")]
    """Registry and repository, without tag or digest: `docker.io/netbirdio/relay`."""
    tag: str = "{version}"
    """By which a user who pins it finds it; `{version}` is filled in."""
    digest: Digest | None = None
    """Of what the tag meant when it was published, for all architectures; None: only where a user pins it."""
    paths: Annotated[Mapping[str, str], Field(min_length=1)]
    """Where each program lies in the image's file system."""

    def tagged(self, version: str) -> str:
        """The image by its tag, as users' pins name it."""
        return f"{self.reference}:{self.tag.replace('{version}', version)}"


class AptRepository(_Strict):
    """A signed apt repository of the vendor's; its package has the product's version."""

    url: HttpsOrNone
    suite: str
    component: str
    key_url: HttpsOrNone
    fingerprint: Annotated[str, Field(pattern=r"^[0-9A-F]{40}$")]
    """Of the key that signs it."""
    package: str
    paths: Annotated[Mapping[str, str], Field(min_length=1)]
    """Where each program lies in the package."""


class GoBuild(_Strict):
    """A Go module of this project's own (a folder of `programs/`) whose go.mod and go.sum pin all that is built."""

    folder: str
    packages: Mapping[str, str]
    """The package of each program."""
    stamp: tuple[str, ...] = ()
    """Variables of the linker (`-X`), `{version}` filled in: what a program built from source says of its version."""
    cgo: tuple[str, ...] = ()
    """The programs that need a C compiler."""
    seconds: Annotated[float, Field(gt=0)]
    """How long it took on two idle cores with empty caches, after the products above it in the file."""
    fetches_mb: Annotated[float, Field(ge=0)] = 0
    """How much it fetches, beyond what the products above it have fetched."""
    takes_mb: Annotated[float, Field(ge=0)] = 0
    """How much disk the programs and Go's caches take, beyond what the products above it have taken."""


class ProgramPackage(_Strict):
    """Programs that come together, and the ways to them; an empty field is a way that there is not."""

    name: str
    programs: Annotated[tuple[str, ...], Field(min_length=1)]
    page: Annotated[str, Field(min_length=1)]
    version: str = ""
    url: HttpsOrNone = ""
    sums: HttpsOrNone = ""
    build: GoBuild | None = None
    images: tuple[ContainerImage, ...] = ()
    apt: AptRepository | None = None
    debian: str = ""
    on_request: bool = False
    """Got only where it is asked for by name: it takes long, and most runs do without."""
    folder: str = ""
    """Where nodes have it, if not on PATH: another version than the one there, for a scenario's `program_folder`."""
    reason: str = ""

    def release(self, arch: Arch) -> tuple[str, str] | None:
        """The release's address and that of its checksum; None where the vendor publishes no checksum."""
        if not self.url or not self.sums:
            return None
        return self._filled(self.url, arch), self._filled(self.sums, arch)

    @property
    def family(self) -> str:
        """What it is built together with: the folder of its Go module, else its own name."""
        return self.build.folder if self.build else self.name

    def way(self) -> str:
        """How a user gets it, in words, where nothing here fetches it."""
        if self.debian:
            return f"Debian: {self.debian}"
        return f"{self.reason}; see {self.page}" if self.reason else f"see {self.page}"

    def _filled(self, template: str, arch: Arch) -> str:
        return template.replace("{version}", self.version).replace("{arch}", arch)


@dataclass(frozen=True, slots=True)
class PaperVersion:
    """What the paper ran, and how its interface differs; data, not a claim that it works."""

    version: str
    differs: str
    programs: tuple[str, ...] = ()
    """The programs that were of this version."""


class _PaperPin(BaseModel):
    """A table below `paper`."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    version: str
    differs: str
    programs: tuple[str, ...] = ()


def parse_products(text: str) -> tuple[ProgramPackage, ...]:
    """Read binaries.toml; InputError names the table and the key that is wrong."""
    tables = {name: table for name, table in _document(text).items() if name != "paper"}
    return tuple(_product(name, table) for name, table in tables.items())


def way_to(products: Sequence[ProgramPackage], program: str, machine: str, folder: str = "") -> str:
    """How a node of that architecture (`uname -m`) gets a program, in words: package, release, command or page.

    `folder` is where a scenario wants it, if not on PATH: another version has its own way.
    """
    holding = [one for one in products if program in one.programs]
    product = next(
        (one for one in holding if one.folder == folder.rstrip("/")), holding[0] if holding else None
    )
    if product is None:
        return "see docs/binaries.md"
    if product.debian:
        return product.way()
    try:
        arch = Arch.parse(machine)
    except UnknownNameError:
        return f"nothing is pinned for {machine}; see {product.page}"
    tool = "python -m vpnmesh.lab binaries"
    command = f"{tool} --install --only {product.name} --arch {arch}"
    if release := product.release(arch):
        return f"{release[0]}, or {command}"
    if product.build:
        return f"built from the Go module programs/{product.build.folder}: {command}"
    if product.apt:
        return f"out of the vendor's signed apt repository: {command}"
    if product.images:
        return f"out of the vendor's container image: {tool} --pin {product.name}, then {command}"
    return product.way()


def parse_paper(text: str) -> dict[str, PaperVersion]:
    """The paper's versions by solution; InputError names the table and the key that is wrong."""
    return {
        name: PaperVersion(**_checked(_PaperPin, f"paper.{name}", table).model_dump())
        for name, table in _tables(_document(text).get("paper", {})).items()
    }


def _tables(found: object) -> dict[str, object]:
    if not isinstance(found, dict):
        raise InputError("binaries.toml [paper]", f"is {found!r}, no table")
    return found


def _document(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError("binaries.toml", str(error)) from None


def _product(name: str, table: object) -> ProgramPackage:
    return _checked(ProgramPackage, name, {"name": name, **table} if isinstance(table, dict) else table)


def _checked(kind: type[Pin], name: str, table: object) -> Pin:
    place = f"binaries.toml [{name}]"
    if not isinstance(table, dict):
        raise InputError(place, f"is {table!r}, no table")
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        first, (key, problem) = error.errors()[0], first_problem(error)
        if first["type"] == "extra_forbidden":
            raise UnknownNameError(place, "key", key, sorted(set(kind.model_fields) - {"name"})) from None
        if first["loc"] and first["loc"][0] in ("programs", "page"):
            raise InputError(place, "needs `programs` and a `page`") from None
        if first["type"] == "value_error":
            raise InputError(place, f"{first['input']} is not https") from None
        raise InputError(f"{place}: {key}", problem) from None


def published_sum(text: str, file_name: str) -> str:
    """The SHA-256 of that file in a vendor's list, or the only one in a file that names none; ToolError if absent.

    Lists are `SUM  NAME` a line, the name perhaps with a `*` before it, as sha256sum writes them.
    """
    rows = [line.split() for line in text.splitlines() if line.strip()]
    sums = [row[0] for row in rows if len(row) > 1 and row[1].lstrip("*") == file_name]
    if not sums and [len(row) for row in rows] == [1]:
        sums = rows[0]
    if len(sums) != 1 or len(sums[0]) != 64 or not set(sums[0].lower()) <= set("0123456789abcdef"):  # noqa: PLR2004
        raise ToolError("checksum", f"the vendor's list has no one SHA-256 of {file_name}")
    return sums[0].lower()
