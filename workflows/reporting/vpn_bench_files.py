"""Finds vpn-bench's files: `BENCHMARK/VPN/PROFILE/N_MACHINE/tcp_iperf3.json`, and what each profile impaired."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vpnmesh.errors import InputError, ToolError
from vpnmesh.frames.imports import Imported
from vpnmesh.frames.names import PublishedFile
from vpnmesh.frames.other_tools import BenchFile, import_vpn_bench
from vpnmesh.model import Condition
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.tools import vpn_bench

_MACHINE = re.compile(r"\d+_(.+)")
_NO_VPN = "internal"
"""What vpn-bench calls the network without a VPN."""
_CLEAN = "baseline"


def read_vpn_bench(folder: Path) -> Imported:
    """One benchmark's throughput. InputError where there is none, or several: they are never pooled."""
    vpns = _vpns(_benchmark(folder))
    notes: dict[str, None] = {}
    files = [
        (file, Path(file.source.path).read_text(encoding="utf-8", errors="replace"))
        for vpn in vpns
        for file in _files(vpn, notes)
    ]
    imported = import_vpn_bench(files)
    return replace(imported, notes=(*notes, *imported.notes))


def _benchmark(folder: Path) -> Path:
    """The folder itself, or the only benchmark in it."""
    if not folder.is_dir():
        raise InputError(
            str(folder), "is a file, wanted a folder" if folder.exists() else "there is no such folder"
        )
    if _vpns(folder):
        return folder
    found = [inside for inside in sorted(folder.iterdir()) if inside.is_dir() and _vpns(inside)]
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise InputError(
            str(folder), f"holds {len(found)} benchmarks, which are never pooled: {names}", "name one"
        )
    if not found:
        tree = "VPN/PROFILE/N_MACHINE/tcp_iperf3.json"
        raise InputError(
            str(folder), f"holds no result of vpn-bench ({tree})", "name the folder of one benchmark"
        )
    return found[0]


def _vpns(folder: Path) -> list[Path]:
    return [one for one in sorted(folder.iterdir()) if one.is_dir() and any(_tests(one))]


def _tests(vpn: Path) -> Iterator[Path]:
    """The files of tests between two machines; summaries and other tests are no such files."""
    for path in sorted(vpn.glob("*/*/*.json")):
        if path.name in vpn_bench.TESTS and _MACHINE.fullmatch(path.parent.name):
            yield path


def _files(vpn: Path, notes: dict[str, None]) -> Iterator[BenchFile]:
    conditions = {
        profile: _condition(profile, notes) for profile in sorted(vpn.iterdir()) if profile.is_dir()
    }
    for path in _tests(vpn):
        machine = _MACHINE.fullmatch(path.parent.name)
        name = str(path.relative_to(vpn.parent))
        source = PublishedFile(name, _scenario(vpn.name), str(path))
        yield BenchFile(source, conditions[path.parents[1]], machine[1] if machine else path.parent.name)


def _scenario(vpn: str) -> str:
    name = vpn.lower()
    without = next(one.name for one in SOLUTIONS.values() if not one.is_vpn)
    return f"{without}-{name}" if name == _NO_VPN else name


def _condition(profile: Path, notes: dict[str, None]) -> str:
    """The condition of a profile: jitter and reordering have no name here, so such a profile keeps its own."""
    name = profile.name.replace("_", "-")
    try:
        settings = vpn_bench.parse_settings((profile / vpn_bench.SETTINGS).read_text(encoding="utf-8"))
    except (OSError, UnicodeError, ToolError):
        notes[f"{name}: no {vpn_bench.SETTINGS} that says what was impaired"] = None
        return Condition().name if profile.name == _CLEAN else name
    if not settings.told:
        return Condition().name
    notes[f"{name}: {settings.told} (vpn-bench's tc settings)"] = None
    return name
