"""The order in which places are asked for programs that are neither on PATH nor in the cache."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from vpnmesh.errors import UnavailableError
from vpnmesh.host.binaries import Arch, ProgramPackage
from vpnmesh.lab.binaries.apt_repository import SignedRepository
from vpnmesh.lab.binaries.go_module import GoModule
from vpnmesh.lab.binaries.image import Image
from vpnmesh.lab.binaries.places import BuildRecord, LocatedPrograms, cache_directory, cached, keep
from vpnmesh.lab.binaries.release import Release
from vpnmesh.lab.binaries.source import Passing, Say, Source

SOURCES: tuple[Source, ...] = (Release(), GoModule(), Image(), SignedRepository())
_COMING = ".coming-"
_ASK_AGAIN_S = 0.5


def _quietly(_said: str) -> None:
    pass


def fetch(
    product: ProgramPackage, arch: Arch, say: Say = _quietly, sources: Sequence[Source] = SOURCES
) -> LocatedPrograms:
    """Get the programs from the first place that has them, into the cache, whole or not at all.

    One at a time on this cache: who comes second waits, and finds what the first one got. UnavailableError names
    every place that was tried, or how to get them by hand; ToolError what was wrong with what came.
    """
    cache_directory(arch).mkdir(parents=True, exist_ok=True)
    with _alone(cache_directory(arch) / ".lock", product, say):
        if found := cached(product, arch):
            return found
        _sweep(cache_directory(arch))
        return _from_first(product, arch, say, [one for one in sources if one.serves(product, arch)])


def _from_first(product: ProgramPackage, arch: Arch, say: Say, sources: Sequence[Source]) -> LocatedPrograms:
    reasons = []
    for source in sources:
        began, used = time.monotonic(), _processor_s()
        with tempfile.TemporaryDirectory(dir=cache_directory(arch), prefix=_COMING) as folder:
            try:
                source.get(product, arch, Path(folder), say)
            except UnavailableError as error:
                reasons.append(str(error))
                continue
            sizes = {name: (Path(folder) / name).stat().st_size for name in product.programs}
            took, worked = round(time.monotonic() - began, 1), round(_processor_s() - used, 1)
            return keep(product, arch, Path(folder), BuildRecord(f"from {source.name}", took, worked, sizes))
    by_hand = product.way() if product.debian else f"by hand: {product.page}"
    raise UnavailableError("; ".join((*reasons, by_hand)) if reasons else f"{product.name}: {product.way()}")


def _processor_s() -> float:
    """What this process and all that it has waited for have used."""
    return sum(os.times()[:4])


def _sweep(cache: Path) -> None:
    """Remove what a kill left half-way; only the holder of the lock may."""
    for left in cache.glob(f"{_COMING}*"):
        shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _alone(path: Path, product: ProgramPackage, say: Say) -> Iterator[None]:
    """Hold a lock that goes with its process, however that ends."""
    with path.open("a+") as file:
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                who = file.read().strip()
                gone = time.monotonic() - began
                say(
                    Passing(
                        f"{product.name}: process {who} is getting programs; waiting for it since {gone:.0f} s"
                    )
                )
                time.sleep(_ASK_AGAIN_S)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
