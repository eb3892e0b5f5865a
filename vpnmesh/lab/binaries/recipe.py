"""What a program built from a Go module depends on, as one key: when it changes, the cache no longer holds it."""

import hashlib
from pathlib import Path

from vpnmesh.host.binaries import GoBuild, ProgramPackage

FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly")
"""Of `go build`; with -mod=readonly it never changes go.mod or go.sum."""
LINKED = "-s -w"
_CHECKOUT = Path(__file__).parents[3] / "programs"
_INSTALLED = Path(__file__).parents[3] / "vpnmesh-programs"
"""Beside the packages of a wheel."""
_LENGTH = 12
_PINS = ("go.mod", "go.sum")


def recipe_files(build: GoBuild) -> tuple[Path, ...]:
    """All that a build reads of its folder: the pins, and the module's own code where it has some."""
    folder = module_folder(build)
    pins = (folder / name for name in _PINS)
    return (*(one for one in pins if one.is_file()), *sorted(folder.glob("*.go")))


def module_folder(build: GoBuild) -> Path:
    """The folder of go.mod, go.sum and perhaps code: in the checkout, or in an installed package."""
    return (_INSTALLED if _INSTALLED.is_dir() else _CHECKOUT) / build.folder


def linker_flags(product: ProgramPackage, build: GoBuild) -> str:
    """What `go build -ldflags` takes: no debugger's tables, and the version stamped in."""
    stamps = (f"-X {stamp.replace('{version}', product.version)}" for stamp in build.stamp)
    return " ".join((LINKED, *stamps))


def recipe_key(product: ProgramPackage) -> str:
    """A short hash of the pins and of how it is built; "" for what is not built here."""
    if not (build := product.build):
        return ""
    parts = [
        *FLAGS,
        linker_flags(product, build),
        *sorted(f"{a} {b}" for a, b in build.packages.items()),
        *build.cgo,
    ]
    hashed = hashlib.sha256("\0".join(parts).encode())
    for file in recipe_files(build):
        hashed.update(b"\0" + file.read_bytes())
    return hashed.hexdigest()[:_LENGTH]
