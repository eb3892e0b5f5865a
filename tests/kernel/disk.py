"""A disk for a guest: what it reads most, as an ext4 image, for over 9p every read and look is a wait for the emulator.

Over it lies nothing: the guest's root has the image's folders first and this machine's files below, so that what was
left out of the image is there all the same, only slower.
"""

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.kernel.guest import ROOT, GuestError

SIZE = "4G"
"""Room for the folders; the file is sparse, and takes what is in it."""
MAKE_S = 600.0


def folders() -> tuple[Path, ...]:
    """What the tests read: the tree, Python's packages and its own library."""
    return tuple(dict.fromkeys((ROOT, (ROOT / ".venv").resolve(), _library())))


def left_out() -> tuple[Path, ...]:
    """What no chosen test reads, or little of: hundreds of MB."""
    own = (_library() / name for name in ("site-packages", "dist-packages", "test"))
    return tuple(path for path in (ROOT / "build", ROOT / ".git", *own) if path.is_dir())


def _library() -> Path:
    return Path(sysconfig.get_path("stdlib")).resolve()


def make_disk(image: Path, having: Sequence[Path], without: Sequence[Path] = ()) -> None:
    """Write the folders, at their own paths, into an ext4 image; GuestError where they do not fit or mke2fs is missing.

    Nothing is copied for it: the folders are bound below an empty one, in a mount namespace that ends with mke2fs.
    """
    with tempfile.TemporaryDirectory(prefix="vpnmesh-disk-") as scratch:
        stage, empty = Path(scratch) / "stage", Path(scratch) / "empty"
        empty.mkdir()
        stage.mkdir()
        for folder in having:
            _same_folders(stage, folder)
        binds = [
            *((folder, below(stage, folder)) for folder in having),
            *((empty, below(stage, folder)) for folder in without),
        ]
        script = "\n".join(
            (
                "set -e",
                *(shlex.join(("mount", "--bind", str(one), str(at))) for one, at in binds),
                'exec "$@"',
            )
        )
        argv = ("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1")
        done = subprocess.run(
            ("unshare", "--mount", "sh", "-c", script, "sh", *argv, "-d", str(stage), str(image), SIZE),
            capture_output=True, text=True, check=False, timeout=MAKE_S,
        )  # fmt: skip
    if done.returncode:
        raise GuestError(f"no disk of {', '.join(map(str, having))} for the guest: {done.stderr.strip()}")


def below(stage: Path, folder: Path) -> Path:
    """The place of an absolute path below another folder."""
    return stage / folder.relative_to("/")


def _same_folders(stage: Path, folder: Path) -> None:
    """Make a folder's path below the stage, each part with the mode and owner that the guest is to see there."""
    for part in (*reversed(folder.parents), folder):
        made = below(stage, part)
        made.mkdir(exist_ok=True)
        shutil.copymode(part, made)
        status = part.stat()
        os.chown(made, status.st_uid, status.st_gid)
