"""A guest says what its script says, ends as it ends, and is gone with whoever started it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel import guest as guests
from tests.kernel import inside
from tests.kernel.disk import make_disk
from tests.kernel.guest import (
    BOOT_S,
    LONGEST_COMMAND_LINE,
    ROOT,
    SILENT_S,
    UP,
    Ended,
    Guest,
    GuestError,
    Kernel,
    Size,
    boot_argv,
    booted,
    check_command_line,
    dying_along,
    run,
    stock_kernel,
)
from tests.kernel.inside import TEST_S
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


@pytest.mark.live
def test_a_guest_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU is stopped, as a kernel is that runs nothing more: after its time of silence it is ended, and told so."""
    stock_kernel()
    monkeypatch.setattr(guests, "SILENT_S", 60.0)
    with booted("echo soon; sleep 3600", limit_s=3600) as guest:
        # it beats while its script says nothing: that is no silence
        beats = iter(guest.lines())
        assert next(beats) == "soon"
        (qemu,) = [
            one
            for one in descendants(guest.process.pid)
            if b"qemu" in Path(f"/proc/{one.pid}/cmdline").read_bytes().partition(b"\0")[0]
        ]
        os.kill(qemu.pid, signal.SIGSTOP)
        assert list(beats) == []
        with pytest.raises(GuestError, match=r"ended by force as its console was silent for 60 s.*: soon"):
            guest.exit_code()


@contextmanager
def said_by(folder: Path, script: str) -> Iterator[Guest]:
    """A process that stands for a guest."""
    with subprocess.Popen(("sh", "-c", script), stdout=subprocess.PIPE, text=True) as process:
        yield Guest(folder, process, limit_s=3600)


def test_a_line_and_a_beat_are_heard(tmp_path: Path) -> None:
    """Each ends the silence; a beat that was there before does not."""
    with said_by(tmp_path, f"echo {UP}; echo one; echo two") as guest:
        lines = guest.lines()
        assert next(lines) == "one"
        guest.heard = 0
        assert list(lines) == ["two"]
        assert guest.heard > 0
        guest.listen(50_000_000)
        assert guest.heard < 50_000_000
        (tmp_path / "beat").write_text("\n")
        for now in (50_000_000, 60_000_000):
            guest.listen(now)
            assert guest.heard == 50_000_000
        os.utime(tmp_path / "beat", (1, 2))
        guest.listen(70_000_000)
        assert guest.heard == 70_000_000


def test_a_silent_guest_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is up, and neither ends nor says anything: it is ended by force, and that is told with its last words."""
    monkeypatch.setattr(guests, "SILENT_S", 1.0)
    with said_by(tmp_path, f"echo {UP}; echo soon; exec sleep 600") as guest:
        lines = guest.lines()
        assert next(lines) == "soon"
        guests._watch(guest, threading.Event())
        assert list(lines) == []
        with pytest.raises(GuestError, match=r"ended by force as its console was silent for 1 s.*: soon"):
            guest.exit_code()


def test_when_a_guest_is_overdue(tmp_path: Path) -> None:
    """Its limit, a boot that takes too long, and silence after it: each with a sentence of its own."""
    with said_by(tmp_path, "true") as guest:
        guest.limit_s, guest.began, guest.heard = 3000, 0, 0
    assert guest.overdue(BOOT_S - 1) == ""
    assert guest.overdue(BOOT_S + 1) == f"it was not up after {BOOT_S:.0f} s"
    guest.up, guest.heard = True, 1000
    assert guest.overdue(1000 + SILENT_S - 1) == ""
    assert "was silent for 600 s" in guest.overdue(1000 + SILENT_S + 1)
    assert guest.overdue(3001) == "it took longer than its 3000 s"
    assert SILENT_S > 10 * guests.BEAT_S
    assert SILENT_S < TEST_S


def test_a_command_line_that_the_kernel_would_not_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the longest length it passes; of one byte more a sentence says what to do, before anything boots."""
    for length in (LONGEST_COMMAND_LINE, LONGEST_COMMAND_LINE + 1):
        program = tmp_path / "virtme-run"
        program.write_text(f"#!/bin/sh\necho \"qemu -append '$(printf %{length}s x)' -m 3G\"\n")
        program.chmod(0o700)
        if length == LONGEST_COMMAND_LINE:
            check_command_line((str(program),), os.environ)
        else:
            with pytest.raises(
                GuestError, match="2047 bytes of its command line and would get 2048: put the project"
            ):
                check_command_line((str(program),), os.environ)
    program.write_text("#!/bin/sh\necho no such kernel >&2; exit 1\n")
    with pytest.raises(GuestError, match="virtme-run would boot no guest: no such kernel"):
        check_command_line((str(program),), os.environ)


def test_names_of_tests_are_no_part_of_the_command_line(tmp_path: Path) -> None:
    """However many: they are in the script, which is a file of the share."""
    kernel = stock_kernel()
    argv = boot_argv(kernel, tmp_path, f"sh {tmp_path}/inside", Size())
    check_command_line(argv, os.environ)
    script = inside.script([f"tests/live/test_x.py::test_{number}" for number in range(1000)], tmp_path)
    assert len(script) > 10 * LONGEST_COMMAND_LINE
    assert "test_999" in script


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
