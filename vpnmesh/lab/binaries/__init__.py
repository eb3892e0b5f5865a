"""Finding and fetching the programs of VPN solutions: PATH, cache, then one module per kind of place."""

from vpnmesh.lab.binaries.fetching import SOURCES, fetch
from vpnmesh.lab.binaries.image import pin
from vpnmesh.lab.binaries.places import LocatedPrograms, cache_directory, cached, install, look, pinned
from vpnmesh.lab.binaries.source import Say, Source

__all__ = [
    "SOURCES",
    "LocatedPrograms",
    "Say",
    "Source",
    "cache_directory",
    "cached",
    "fetch",
    "install",
    "look",
    "pin",
    "pinned",
]
