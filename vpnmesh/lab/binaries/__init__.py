"""Finding and fetching the programs of VPN solutions: PATH, cache, then one module per kind of place."""

from vpnmesh.lab.binaries.fetching import SOURCES, fetch
from vpnmesh.lab.binaries.go_module import clock, expected_s
from vpnmesh.lab.binaries.image import pin
from vpnmesh.lab.binaries.places import LocatedPrograms, built, cache_directory, cached, install, look, pinned
from vpnmesh.lab.binaries.screen import shown
from vpnmesh.lab.binaries.source import Passing, Say, Source

__all__ = [
    "SOURCES",
    "LocatedPrograms",
    "Passing",
    "Say",
    "Source",
    "built",
    "cache_directory",
    "cached",
    "clock",
    "expected_s",
    "fetch",
    "install",
    "look",
    "pin",
    "pinned",
    "shown",
]
