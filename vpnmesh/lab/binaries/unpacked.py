"""A program out of an unpacked image or package: found as a chroot would find it, and built for that processor."""

import re
import shutil
from pathlib import Path, PurePosixPath

from vpnmesh.errors import ToolError
from vpnmesh.host.binaries import Arch
from vpnmesh.lab.binaries.source import Say

LINKS = 40
"""As many as the kernel follows."""
_MACHINES = {62: Arch.AMD64, 183: Arch.ARM64}
"""`e_machine` of an ELF file (elf.h)."""
_HEADER_BYTES = 20
_START_BYTES = 4096
_MUSL = re.compile(rb"/lib/ld-musl-\w+\.so\.1")


def take(source: str, root: Path, path: str, arch: Arch, target: Path, say: Say) -> None:
    """Copy the program at `path` to `target`; ToolError where there is none, or one for another processor.

    `source` is what was unpacked to `root`, in words.
    """
    found = inside(root, path)
    if found is None:
        raise ToolError(target.name, f"{source} has no {path}")
    with found.open("rb") as file:
        start = file.read(_START_BYTES)
    if not start.startswith(b"\x7fELF") or len(start) < _HEADER_BYTES:
        raise ToolError(target.name, f"{source}: {path} is no program")
    number = int.from_bytes(start[18:20], "little")
    if _MACHINES.get(number) is not arch:
        made_for = _MACHINES.get(number, f"machine {number} of ELF")
        raise ToolError(target.name, f"{source}: {path} is made for {made_for}, not for {arch}")
    if linker := _MUSL.search(start):
        say(f"{target.name} needs {linker[0].decode()} where it runs (Debian: musl)")
    shutil.copyfile(found, target)


def inside(root: Path, path: str) -> Path | None:
    """The file that `path` names where `root` is the root directory; links lead nowhere else. None if there is none."""
    here: tuple[str, ...] = ()
    left = [*PurePosixPath(path).parts]
    links = 0
    while left and links <= LINKS:
        part = left.pop(0)
        if part in ("/", ".."):
            here = () if part == "/" else here[:-1]
        elif (at := root.joinpath(*here, part)).is_symlink():
            left = [*PurePosixPath(at.readlink()).parts, *left]
            links += 1
        else:
            here = (*here, part)
    found = root.joinpath(*here)
    return found if not left and found.is_file() else None
