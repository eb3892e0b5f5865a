"""A guest says what its script says, ends as it ends, and is gone with whoever started it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kernel.disk import make_disk
from tests.kernel.guest import (
    BOOT_S,
    ROOT,
    Ended,
    GuestError,
    Kernel,
    Size,
    boot_argv,
    booted,
    dying_along,
    run,
    stock_kernel,
)
from tests.needs import needs
from vpnmesh.lab.processes import ProcessIdentity, descendants

OWNER = """
import sys
from tests.kernel.guest import booted
with booted("echo it runs; sleep 600", limit_s=900) as guest:
    for line in guest.lines():
        print(line, flush=True)
"""
SLEEPER = """
import subprocess, sys
from tests.kernel.guest import dying_along
subprocess.run(dying_along(("sh", "-c", "echo up; sleep 600 & wait")))
"""


@pytest.fixture(scope="module", autouse=True)
def _root() -> None:
    needs(os.geteuid() == 0, "a PID namespace needs root")


def killed_with_all(program: str, *, wait_for: str, seconds: float) -> list[ProcessIdentity]:
    """Start a Python program, kill -9 it once it says the words, and return which of its descendants stay."""
    argv = (sys.executable, "-c", program)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as owner:
        assert owner.stdout is not None
        assert any(line.strip() == wait_for for line in owner.stdout), "it ended before it said so"
        family = descendants(owner.pid)[1:]
        assert family
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        deadline = time.monotonic() + seconds
        while any(one.alive for one in family) and time.monotonic() < deadline:
            time.sleep(0.1)
    return [one for one in family if one.alive]


def test_what_is_started_dies_along() -> None:
    """kill -9 of the starter: neither its child nor what that started in the background lives on."""
    assert killed_with_all(SLEEPER, wait_for="up", seconds=60) == []


def test_without_the_tie_it_would_live_on() -> None:
    """The same without `dying_along` leaves processes, which shows that the test above can see them."""
    untied = SLEEPER.replace("dying_along(", "tuple(").replace("sleep 600", "sleep 5")
    left = killed_with_all(untied, wait_for="up", seconds=0.5)
    assert left
    for one in left:
        os.kill(one.pid, signal.SIGKILL)


@pytest.mark.live
def test_the_owners_death_ends_qemu() -> None:
    """kill -9 of who booted a guest in the midst of its script: no QEMU is left."""
    stock_kernel()
    assert killed_with_all(OWNER, wait_for="it runs", seconds=60) == []


@pytest.mark.live
def test_a_guest_is_told_as_it_ended() -> None:
    """Lines, exit code, the kernel that ran, a file in the share; and a guest that is powered off is an error."""
    kernel = stock_kernel()
    ended = run("uname -r; echo err >&2; exit 7", limit_s=BOOT_S)
    assert ended == Ended(7, f"{kernel.release}\nerr")
    with booted("echo soon; sleep 600", limit_s=600) as guest:
        next(guest.lines())
        guest.process.kill()
        with pytest.raises(GuestError, match="went down before its script ended: soon"):
            guest.exit_code()


def test_a_disk_has_the_folders_at_their_places(tmp_path: Path) -> None:
    """Files and modes as they are here; what is left out is an empty folder; nothing stays mounted."""
    needs(shutil.which("mke2fs") is not None, "no mke2fs (Debian's e2fsprogs)")
    having, without = tmp_path / "a b", tmp_path / "a b" / "big"
    without.mkdir(parents=True)
    (having / "x.py").write_text("pass\n")
    (without / "y").write_text("much")
    having.chmod(0o751)
    mounts = Path("/proc/mounts").read_text()
    make_disk(tmp_path / "image", (having,), (without,))
    assert Path("/proc/mounts").read_text() == mounts
    said = subprocess.run(
        ("debugfs", "-f", "-", str(tmp_path / "image")), input=f'stat "{having}"\ncat "{having}/x.py"\nls "{without}"',
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "Mode:  0751" in said
    assert "\npass\n" in said
    assert " y" not in said.rpartition("ls ")[2]
    with pytest.raises(GuestError, match="a b for the guest: mke2fs"):
        make_disk(tmp_path / "none" / "image", (having,))


def test_the_argv_asks_for_no_kvm_and_shares_one_folder(tmp_path: Path) -> None:
    """Emulation only; of the machine's folders all but the share are written to in memory."""
    argv = boot_argv(Kernel(tmp_path, "6.1"), Path("/share"), "true", Size())
    assert "--disable-kvm" in argv
    assert [word for word in argv if word.startswith("--rwdir")] == ["--rwdir=/share"]
    assert dying_along(argv)[-len(argv) :] == argv
