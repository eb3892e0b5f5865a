"""The order in which places are asked for programs that are neither on PATH nor in the cache."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from vpnmesh.errors import UnavailableError
from vpnmesh.host.binaries import Arch, ProgramPackage
from vpnmesh.lab.binaries.apt_repository import SignedRepository
from vpnmesh.lab.binaries.go_module import GoModule
from vpnmesh.lab.binaries.image import Image
from vpnmesh.lab.binaries.places import LocatedPrograms, cache_directory, keep
from vpnmesh.lab.binaries.release import Release
from vpnmesh.lab.binaries.source import Say, Source

SOURCES: tuple[Source, ...] = (Release(), GoModule(), Image(), SignedRepository())


def _quietly(_said: str) -> None:
    pass


def fetch(
    product: ProgramPackage, arch: Arch, say: Say = _quietly, sources: Sequence[Source] = SOURCES
) -> LocatedPrograms:
    """Get the programs from the first place that has them, into the cache, whole or not at all.

    UnavailableError names every place that was tried, or how to get them by hand; ToolError what was wrong with what
    came.
    """
    cache_directory(arch).mkdir(parents=True, exist_ok=True)
    reasons = []
    for source in sources:
        if not source.serves(product, arch):
            continue
        with tempfile.TemporaryDirectory(dir=cache_directory(arch), prefix=".coming-") as folder:
            try:
                source.get(product, arch, Path(folder), say)
            except UnavailableError as error:
                reasons.append(str(error))
                continue
            return keep(product, arch, Path(folder), f"from {source.name}")
    raise UnavailableError("; ".join(reasons) or f"{product.name}: {product.way()}")
