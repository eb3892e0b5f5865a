"""A guest with Debian's stock kernel: booted by virtme-ng in QEMU under software emulation, run, and surely gone.

The guest sees this machine's files, and what it writes there stays in its memory; only its share is written through.
`make kernel-parts` brings what it needs. Whatever ends this process, kill -9 included, ends QEMU too: QEMU runs in a
PID namespace whose first process the kernel kills when its parent dies. As that is asked for by the thread that starts
the guest, a thread that ends takes its guest along.
"""

import os
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.needs import missing
from vpnmesh.errors import VpnmeshError

ROOT = Path(__file__).resolve().parents[2]
PARTS = ROOT / "build" / "kernel"
QEMU = "qemu-system-x86_64"
WRITABLE = ("/etc", "/lib", "/tmp", "/usr", "/var")
"""Folders that virtme-ng's own init writes to; in memory, as all that the script writes."""

CHEAP = ("no5lvl", "mitigations=off", "init_on_alloc=0", "tsc=reliable")
"""Kernel options: what an emulator pays for with every page, system call and look at the clock, and no test looks at.

Without the last the kernel takes the emulator's two counters for unsynchronized, and asks a timer device for the time.
"""

# virtme-ng gives each of its five ports a controller with room for 31: QEMU would poll 390 descriptors at every timer
FEW_DESCRIPTORS = ("-global", "virtio-serial-pci.max_ports=2", "-global", "virtio-serial-pci.ioeventfd=off")

BOOT_S = 420.0
"""How long a boot may take on a busy machine; an idle one takes 10 to 20 s, one with three guests at load 17 120 s."""
BEAT_S = 20
"""How often a guest that is up writes to a file of its share, whatever its script does."""
SILENT_S = 600.0
"""After so long without a word a guest's kernel runs nothing any more: beside a test that hangs it beats."""
LOOK_S = 1.0
LONGEST_COMMAND_LINE = 2047
"""What an x86 kernel reads of its command line (COMMAND_LINE_SIZE without the end mark); with more it stops at once."""
UP = "vpnmesh-guest-is-up"
SEEN = "/mnt"
DISK = "/dev/vda"
# a file in the share, for the kernel's command line has 2,048 bytes, and with more it stops at once and without a word;
# without udev nobody loads modules by device, or names ports;
# the root that virtme-ng mounts keeps nothing in memory, so that Python would take a minute to begin. The other one is
# the mount namespace's own root and no chroot: who enters a mount namespace is at its root, which would be the slow one
# again, beside the /proc of other process ids
_INSIDE = """
modprobe -a virtio_console virtio_blk ext4 tun overlay
for port in /sys/class/virtio-ports/*; do
  [ "$(cat $port/name)" = virtme.stdout ] && exec > /dev/${{port##*/}} 2>&1
done
umount {seen}
root=/run/machine/root
mkdir -p /run/machine/up /run/machine/work /run/machine/disk $root
lower={seen}
[ ! -e {disk} ] || {{ mount -o ro,noatime {disk} /run/machine/disk && lower=/run/machine/disk:$lower; }} || exit 1
mount -t 9p -o ro,version=9p2000.L,trans=virtio,msize=524288,cache=loose virtme.initmount1 {seen} &&
mount -t overlay -o xino=off,lowerdir=$lower,upperdir=/run/machine/up,workdir=/run/machine/work machine $root &&
for folder in proc sys dev lib/modules {share}; do
  mkdir -p $root/$folder; mount --rbind /$folder $root/$folder
done && mount -t tmpfs run $root/run && mount -t tmpfs tmp $root/var/tmp
echo {up}
(while sleep {beat_s}; do echo > {share}/beat; done) &
unshare --mount --propagation private sh -c '
  cd "$1" && pivot_root . mnt && cd / && umount -l /mnt && exec sh "$2"
' sh $root {share}/script
echo $? > {share}/exit-code; kill $!; sync
"""


class GuestError(VpnmeshError):
    """The guest did not boot, did not end in time, or went down by itself; with the last that it said."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel as Debian packages it, unpacked below `root`, never installed."""

    root: Path
    release: str

    @property
    def image(self) -> Path:
        """What QEMU boots."""
        return self.root / "boot" / f"vmlinuz-{self.release}"


def stock_kernel(parts: Path = PARTS) -> Kernel:
    """The kernel that `make kernel-parts` unpacked; a skip (in CI a failure) where it or QEMU is missing."""
    found = sorted((parts / "root" / "lib" / "modules").glob("*/modules.dep"))
    if not found or not (parts / "venv" / "bin" / "virtme-run").exists():
        missing("stock-kernel", "no stock kernel for a guest: run make kernel-parts")
    return Kernel(parts / "root", found[-1].parent.name)


def dying_along(argv: Sequence[str]) -> tuple[str, ...]:
    """The command in a PID namespace of its own, which the kernel ends when the calling thread is no more."""
    tied = ("setpriv", "--pdeathsig", "KILL", "--", "unshare", "--pid", "--fork", "--kill-child")
    return (*tied, "--mount-proc", "--", *argv)


@dataclass(frozen=True, slots=True)
class Size:
    """How much of the machine a guest gets.

    One processor: on a busy machine two mostly wait for each other, as one that asks the other to forget a page spins
    until that one runs again.
    """

    cpus: int = 1
    memory: str = "3G"


def boot_argv(
    kernel: Kernel, share: Path, script: str, size: Size, disk: Path | None = None
) -> tuple[str, ...]:
    """What boots the kernel without KVM, runs the script as root, and powers off."""
    drive = ("-drive", f"if=virtio,format=raw,readonly=on,file={disk}") if disk else ()
    folders = (word for folder in WRITABLE for word in ("--overlay-rwdir", folder))
    # by its Python, for the program names that by a full path: another one in a folder that was moved or linked
    programs = PARTS / "venv" / "bin"
    return (
        *(str(programs / "python"), str(programs / "virtme-run")),
        *("--kimg", str(kernel.image), "--mods", "auto"),
        *("--disable-kvm", "--force-9p", "--cpus", str(size.cpus), "--memory", size.memory),
        *("--name", "guest", "--user", "root", "--pwd", f"--rodir={SEEN}=/", f"--rwdir={share}", *folders),
        *(f"--qemu-opt={word}" for word in (*FEW_DESCRIPTORS, *drive)),
        *(word for option in CHEAP for word in ("--kopt", option)),
        *("--script-sh", script),
    )


def check_command_line(boot: Sequence[str], environment: Mapping[str, str]) -> None:
    """GuestError where the kernel would stop without a word as its command line, made of paths, is too long."""
    done = subprocess.run(
        (*boot, "--dry-run", "--show-command"), env=environment, capture_output=True, text=True, check=False
    )
    words = shlex.split(done.stdout)
    if done.returncode or "-append" not in words:
        raise GuestError(f"virtme-run would boot no guest: {(done.stderr or done.stdout).strip()[-300:]}")
    length = len(words[words.index("-append") + 1].encode())
    if length > LONGEST_COMMAND_LINE:
        raise GuestError(
            f"the guest's kernel reads {LONGEST_COMMAND_LINE} bytes of its command line and would get {length}:"
            f" put the project ({len(str(ROOT))} bytes of path) or the temporary folder (TMPDIR) at a shorter path"
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command in the guest ended: its exit code and all that it said."""

    exit_code: int
    text: str


@dataclass(slots=True)
class Guest:
    """A guest that runs one script; `lines` are what it says as it says it."""

    share: Path
    process: subprocess.Popen[str]
    limit_s: float
    began: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    beat: int = 0
    up: bool = False
    said: list[str] = field(default_factory=list)
    ended_for: str = ""

    def lines(self) -> Iterator[str]:
        """Each line that the script prints, until the guest is off."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard = time.monotonic()
            text = line.rstrip("\r\n")
            if text == UP:
                self.up = True
            else:
                self.said.append(text)
                yield text

    def listen(self, now: float) -> None:
        """Take note of a beat at that time of the monotonic clock, if there was another one."""
        try:
            beat = (self.share / "beat").stat().st_mtime_ns
        except OSError:
            return
        if beat != self.beat:
            self.beat, self.heard = beat, now

    def overdue(self, now: float) -> str:
        """Why it must be ended by force at that time (of the monotonic clock); empty where it need not."""
        if now - self.began > self.limit_s:
            return f"it took longer than its {self.limit_s:.0f} s"
        if not self.up:
            return f"it was not up after {BOOT_S:.0f} s" if now - self.began > BOOT_S else ""
        if now - self.heard > SILENT_S:
            return (
                f"its console was silent for {SILENT_S:.0f} s, and no beat came, of which one that runs gives one every"
                f" {BEAT_S} s: its kernel hangs"
            )
        return ""

    def exit_code(self) -> int:
        """What the script ended with; GuestError, with the reason if it is known, where it did not come to its end."""
        self.process.wait()
        try:
            return int((self.share / "exit-code").read_text())
        except (OSError, ValueError) as error:
            when = "before its script ended" if self.up else "before it was up"
            why = f", ended by force as {self.ended_for}" if self.ended_for else ""
            last = "; ".join(self.said[-5:]) or "it said nothing"
            raise GuestError(f"the guest went down {when}{why}: {last}") from error


@contextmanager
def booted(
    script: str,
    *,
    kernel: Kernel | None = None,
    share: Path | None = None,
    size: Size | None = None,
    disk: Path | None = None,
    limit_s: float,
) -> Iterator[Guest]:
    """A guest that runs the script, with the folder `share` of both; whatever is left of it at the end is ended.

    What is on `disk`, an image made by `make_disk`, it reads from there. After `limit_s`, when it is not up after
    BOOT_S, and when it was silent for SILENT_S it is ended by force, which `exit_code` then tells; so its lines must be
    read. GuestError, before a boot, where the kernel's command line would be too long.
    """
    with tempfile.TemporaryDirectory(prefix="vpnmesh-guest-") as scratch:
        folder = share or Path(scratch)
        (folder / "script").write_text(script)
        (folder / "exit-code").unlink(missing_ok=True)
        (folder / "inside").write_text(
            _INSIDE.format(up=UP, beat_s=BEAT_S, seen=SEEN, disk=DISK, share=shlex.quote(str(folder)))
        )
        begin = shlex.join(("sh", str(folder / "inside")))
        boot = boot_argv(kernel or stock_kernel(), folder, begin, size or Size(), disk)
        environment = {**os.environ, "TMPDIR": scratch}
        check_command_line(boot, environment)
        argv = dying_along(boot)
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", env=environment,
        ) as process:  # fmt: skip
            guest, over = Guest(folder, process, limit_s), threading.Event()
            threading.Thread(target=_watch, args=(guest, over), daemon=True).start()
            try:
                yield guest
            finally:
                over.set()
                process.kill()


def _watch(guest: Guest, over: threading.Event) -> None:
    """End the guest by force as soon as it is overdue."""
    while not over.wait(LOOK_S):
        guest.listen(now := time.monotonic())
        if why := guest.overdue(now):
            guest.ended_for = why
            guest.process.kill()
            return


def run(
    script: str, *, limit_s: float, say: Callable[[str], object] = str, size: Size | None = None
) -> Ended:
    """Boot, run the script as root, and tell how it ended; each line goes to `say` as it comes."""
    with booted(script, limit_s=limit_s, size=size) as guest:
        for line in guest.lines():
            say(line)
        return Ended(guest.exit_code(), "\n".join(guest.said))
