"""Where programs lie on this machine: on PATH, in the cache, in the folder that nodes look in."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from vpnmesh.host.binaries import Arch, ProgramPackage, parse_products
from vpnmesh.lab.atomic import write_atomic

PINS = Path(__file__).parents[2] / "host" / "binaries.toml"
PROGRAM_MODE = 0o755


@dataclass(frozen=True, slots=True)
class LocatedPrograms:
    """Where a product's programs are, or why they are not: `places` is a path per program, or empty."""

    product: ProgramPackage
    places: tuple[str, ...]
    note: str

    def __bool__(self) -> bool:
        """Whether all of them are there."""
        return bool(self.places)


def pinned() -> tuple[ProgramPackage, ...]:
    """The products and versions of binaries.toml."""
    return parse_products(PINS.read_text(encoding="utf-8"))


def cache_directory(arch: Arch) -> Path:
    """Where fetched programs of that architecture lie."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("VPNMESH_CACHE_DIR") or f"{home}/vpnmesh") / "binaries" / arch


def cache_folder(product: ProgramPackage, arch: Arch) -> Path:
    """Where that version of a product lies in the cache."""
    return cache_directory(arch) / f"{product.name}-{product.version or 'any'}"


def look(product: ProgramPackage, arch: Arch, own: Arch) -> LocatedPrograms:
    """On PATH (if that is the architecture), else in the cache, in the pinned version."""
    if arch is own:
        places = tuple(shutil.which(program) or "" for program in product.programs)
        if all(places):
            return LocatedPrograms(product, places, "on PATH")
    return cached(product, arch) or LocatedPrograms(product, (), product.way())


def cached(product: ProgramPackage, arch: Arch) -> LocatedPrograms | None:
    """In the cache, all of them; None where one is not."""
    folder = cache_folder(product, arch)
    places = tuple(str(folder / program) for program in product.programs)
    return (
        LocatedPrograms(product, places, "in the cache")
        if all(os.access(place, os.X_OK) for place in places)
        else None
    )


def keep(product: ProgramPackage, arch: Arch, source: Path, note: str) -> LocatedPrograms:
    """Move programs that came into `source` (a file of each name) to the cache, each in one move."""
    folder = cache_folder(product, arch)
    folder.mkdir(parents=True, exist_ok=True)
    for name in product.programs:
        write_atomic(folder / name, (source / name).read_bytes(), PROGRAM_MODE)
    return LocatedPrograms(product, tuple(str(folder / name) for name in product.programs), note)


def install(found: LocatedPrograms, folder: Path) -> None:
    """Put the programs into a folder that is on the nodes' PATH, each replaced in one move."""
    folder.mkdir(parents=True, exist_ok=True)
    for place in found.places:
        target = folder / Path(place).name
        if target.resolve() != Path(place).resolve():
            write_atomic(target, Path(place).read_bytes(), PROGRAM_MODE)
