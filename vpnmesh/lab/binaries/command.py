"""What `python -m vpnmesh.lab binaries` does: look for programs, say what is missing, get it and put it in place."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vpnmesh.errors import InputError, ToolError, UnavailableError, UnknownNameError
from vpnmesh.host.binaries import Arch, ProgramPackage
from vpnmesh.lab.binaries.fetching import SOURCES, fetch
from vpnmesh.lab.binaries.go_module import clock, expected_s
from vpnmesh.lab.binaries.places import LocatedPrograms, built, cache_root, install, look
from vpnmesh.lab.binaries.source import Say

NODES_LOOK_IN = Path("/usr/local/bin")


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for: for which architecture, on a machine of which, and where to (None: where nodes look)."""

    arch: Arch
    own: Arch
    to: Path | None = None

    def target(self, product: ProgramPackage) -> Path:
        """Where a product's programs go."""
        return self.to or Path(product.folder or NODES_LOOK_IN)


def chosen(products: Sequence[ProgramPackage], names: Sequence[str], option: str) -> list[ProgramPackage]:
    """The products of these names, or of families of these names, in the order of binaries.toml.

    For no name all but those that are got only where they are named.
    """
    known = list(dict.fromkeys(name for one in products for name in (one.name, one.family)))
    for name in names:
        if name not in known:
            raise UnknownNameError(option, "product", name, known)
    return [
        one for one in products if (not names and not one.on_request) or {one.name, one.family} & set(names)
    ]


def plan(products: Iterable[ProgramPackage], wish: Wish) -> list[LocatedPrograms]:
    """Where each one is; for what is missing, the places that would be asked."""
    return [_as_planned(look(one, wish.arch, wish.own), wish.arch) for one in products]


def _as_planned(found: LocatedPrograms, arch: Arch) -> LocatedPrograms:
    product = found.product
    if found:
        record = built(product, arch) if found.note == "in the cache" else None
        return replace(found, note=f"{found.note} ({record.told()})") if record else found
    names = [one.name for one in SOURCES if one.serves(product, arch)]
    if not names:
        return found
    build = f" (built, about {clock(expected_s(product))})" if product.build else ""
    way = product.way() if product.debian else f"see {product.page}"
    return replace(found, note=f"missing; --install asks {', then '.join(names)}{build}; {way}")


def summary(found: Iterable[LocatedPrograms], arch: Arch) -> str:
    """What getting all that is missing would take, if all that can be built is; "" for nothing to get."""
    missing = [one.product for one in found if not one]
    builds = [one.build for one in missing if one.build]
    if not builds:
        return ""
    seconds = sum(expected_s(one) for one in missing)
    return (
        f"{len(builds)} products to get. Where no release can be had all are built for {arch}: about {clock(seconds)}"
        f" on {len(os.sched_getaffinity(0))} cores, {sum(one.fetches_mb for one in builds):.0f} MB to fetch,"
        f" {sum(one.takes_mb for one in builds):.0f} MB of disk below {cache_root()}"
    )


def get(products: Sequence[ProgramPackage], wish: Wish, say: Say) -> list[LocatedPrograms]:
    """Fetch or build what is missing and put it in place; what cannot be had is a row with the reason."""
    found = [look(one, wish.arch, wish.own) for one in products]
    for one in found:
        if not _in_place(one):
            _refuse_unwritable(wish.target(one.product))
    if said := summary(found, wish.arch):
        say(said)
    rest = sum(expected_s(one.product) for one in found if not one)
    got = []
    for one in found:
        rest -= 0.0 if one else expected_s(one.product)
        got.append(_got(one, wish, say, rest))
    return got


def _got(found: LocatedPrograms, wish: Wish, say: Say, rest_s: float) -> LocatedPrograms:
    product = found.product
    try:
        if found:
            return _put(found, wish)
        come = fetch(product, wish.arch, say)
        rest = f"; about {clock(rest_s)} for the rest" if rest_s else ""
        say(f"{product.name} {product.version}: {come.note}{rest}")
        return _put(come, wish)
    except (UnavailableError, ToolError) as error:
        return LocatedPrograms(product, (), str(error))
    except OSError as error:
        return LocatedPrograms(product, (), f"{error.filename}: {error.strerror}")


def _in_place(one: LocatedPrograms) -> bool:
    return one.note == "on PATH" or _in_own_folder(one)


def _in_own_folder(one: LocatedPrograms) -> bool:
    return bool(one.product.folder) and one.note == f"in {one.product.folder}"


def _put(found: LocatedPrograms, wish: Wish) -> LocatedPrograms:
    if _in_place(found):
        return found
    folder = wish.target(found.product)
    install(found, folder, wish.arch)
    return replace(found, places=tuple(str(folder / Path(place).name) for place in found.places))


def _refuse_unwritable(folder: Path) -> None:
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not os.access(there, os.W_OK):
        raise InputError(
            "--install", f"{folder} cannot be written to", "run it as root, or name a folder with --to"
        )


def show(console: Console, found: Iterable[LocatedPrograms]) -> None:
    """A row per product."""
    table = Table("product", "version", "programs", "where")
    for one in found:
        folders = dict.fromkeys(str(Path(place).parent) for place in one.places)
        where = f"{one.note}: {', '.join(folders)}" if folders and not _in_own_folder(one) else one.note
        table.add_row(one.product.name, one.product.version, " ".join(one.product.programs), where)
    console.print(table, markup=False, highlight=False)
