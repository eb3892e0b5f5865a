"""What a place that programs come from must offer; one module per kind of place, tried in the order of `fetching`."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from vpnmesh.host.binaries import Arch, ProgramPackage

Say = Callable[[str], None]
"""Told what is being done, a sentence without a full stop at a time."""


class Passing(str):
    """A sentence for `Say` that the next one replaces: how far something is that goes on."""

    __slots__ = ()


class Source(Protocol):
    """A kind of place: a vendor's release, a Go module, a container image, an apt repository."""

    name: str
    """In messages, with its article: `the vendor's release`."""

    def serves(self, product: ProgramPackage, arch: Arch, /) -> bool:
        """Whether binaries.toml names such a place for that product and architecture."""

    def get(self, product: ProgramPackage, arch: Arch, into: Path, say: Say, /) -> None:
        """Put every program of the product, verified, into an empty folder.

        UnavailableError where the place cannot be had (no network, no client, not served): the next one is tried.
        ToolError where what came is not what is pinned (checksum, signature, cut): nothing else is tried.
        """
