"""Where programs lie on this machine: on PATH, in a folder of their own, in the cache."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from vpnmesh.host.binaries import Arch, ProgramPackage, parse_products
from vpnmesh.lab.atomic import write_atomic
from vpnmesh.lab.binaries.recipe import recipe_key

PINS = Path(__file__).parents[2] / "host" / "binaries.toml"
PROGRAM_MODE = 0o755
READABLE = 0o644
BUILD_RECORD = "build.json"
_PLACED = "placed.json"
_Placed = dict[str, tuple[str, str]]
"""For each path that was written here: which cache folder it came from, and its SHA-256."""


@dataclass(frozen=True, slots=True)
class LocatedPrograms:
    """Where a product's programs are, or why they are not: `places` is a path per program, or empty."""

    product: ProgramPackage
    places: tuple[str, ...]
    note: str

    def __bool__(self) -> bool:
        """Whether all of them are there."""
        return bool(self.places)


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """What lies beside programs in the cache: where they came from, what that took, and their sizes in bytes."""

    came: str
    seconds: float
    processor_s: float
    """Of all cores together; a build on a busy machine takes more seconds and no more of these."""
    sizes: dict[str, int]

    def told(self) -> str:
        """In words: `from the Go module in 335 s, 52 MB`."""
        return f"{self.came} in {self.seconds:.0f} s, {sum(self.sizes.values()) / 1e6:.0f} MB"


def pinned() -> tuple[ProgramPackage, ...]:
    """The products and versions of binaries.toml."""
    return parse_products(PINS.read_text(encoding="utf-8"))


def cache_root() -> Path:
    """Where everything of this module lies, for all architectures."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("VPNMESH_CACHE_DIR") or f"{home}/vpnmesh") / "binaries"


def cache_directory(arch: Arch) -> Path:
    """Where fetched programs of that architecture lie."""
    return cache_root() / arch


def cache_folder(product: ProgramPackage, arch: Arch) -> Path:
    """Where that version of a product lies in the cache; another one once its pins or its build have changed."""
    parts = (product.name, product.version or "any", recipe_key(product))
    return cache_directory(arch) / "-".join(part for part in parts if part)


def look(product: ProgramPackage, arch: Arch, own: Arch) -> LocatedPrograms:
    """Where nodes have it (if that is the architecture), else in the cache, in the pinned version.

    What was put there by `install` from another cache folder, and has not changed since, does not count: it is of
    older pins.
    """
    if arch is own:
        places = tuple(_standing(product, program) for program in product.programs)
        if all(places) and not any(_of_older_pins(product, arch, place) for place in places):
            return LocatedPrograms(product, places, f"in {product.folder}" if product.folder else "on PATH")
    return cached(product, arch) or LocatedPrograms(product, (), product.way())


def _standing(product: ProgramPackage, program: str) -> str:
    return shutil.which(program, path=product.folder or None) or ""


def cached(product: ProgramPackage, arch: Arch) -> LocatedPrograms | None:
    """In the cache, all of them; None where one is not."""
    folder = cache_folder(product, arch)
    places = tuple(str(folder / program) for program in product.programs)
    return (
        LocatedPrograms(product, places, "in the cache")
        if all(os.access(place, os.X_OK) for place in places)
        else None
    )


def keep(product: ProgramPackage, arch: Arch, source: Path, record: BuildRecord) -> LocatedPrograms:
    """Move programs that came into `source` (a file of each name) to the cache, each in one move."""
    folder = cache_folder(product, arch)
    folder.mkdir(parents=True, exist_ok=True)
    for name in product.programs:
        write_atomic(folder / name, (source / name).read_bytes(), PROGRAM_MODE)
    write_atomic(
        folder / BUILD_RECORD, TypeAdapter(BuildRecord).dump_json(record, indent=2) + b"\n", READABLE
    )
    return LocatedPrograms(product, tuple(str(folder / name) for name in product.programs), record.told())


def built(product: ProgramPackage, arch: Arch) -> BuildRecord | None:
    """What is known of how the cached programs came."""
    try:
        text = (cache_folder(product, arch) / BUILD_RECORD).read_bytes()
        return TypeAdapter(BuildRecord).validate_json(text)
    except (OSError, ValidationError):
        return None


def install(found: LocatedPrograms, folder: Path, arch: Arch) -> None:
    """Put the programs into a folder that nodes look in, each replaced in one move; noted as placed from here."""
    folder.mkdir(parents=True, exist_ok=True)
    placed = _placed(arch)
    for place in found.places:
        target = folder / Path(place).name
        if target.resolve() == Path(place).resolve():
            continue
        content = Path(place).read_bytes()
        write_atomic(target, content, PROGRAM_MODE)
        placed[str(target.resolve())] = (
            cache_folder(found.product, arch).name,
            hashlib.sha256(content).hexdigest(),
        )
    cache_directory(arch).mkdir(parents=True, exist_ok=True)
    write_atomic(cache_directory(arch) / _PLACED, json.dumps(placed, indent=2).encode(), READABLE)


def _placed(arch: Arch) -> _Placed:
    try:
        return TypeAdapter(_Placed).validate_json((cache_directory(arch) / _PLACED).read_bytes())
    except (OSError, ValidationError):
        return {}


def _of_older_pins(product: ProgramPackage, arch: Arch, place: str) -> bool:
    path = Path(place).resolve()
    came, digest = _placed(arch).get(str(path), ("", ""))
    if came in ("", cache_folder(product, arch).name):
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest
