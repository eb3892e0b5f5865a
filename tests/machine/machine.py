"""A machine beside the lab: Debian with systemd on an emulated processor, its two cards plugged into the lab's bridges.

`make test-machine` makes its disk and names the folder in VPNMESH_MACHINE. The disk is written to a scratch file that
lives as long as QEMU, so a reboot finds what was written, and the next test does not.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.needs import missing
from vpnmesh.errors import VpnmeshError

QEMU = "qemu-system-x86_64"
FOLDER = "VPNMESH_MACHINE"
USER = "ops"
MANAGEMENT, UNDERLAY = "198.18.213.13", "192.88.99.18"
# where q35 puts the third and the fourth card of its bus, as udev names them
MANAGEMENT_INTERFACE, UNDERLAY_INTERFACE = "enp0s3", "enp0s4"
UP_S = 900.0
"""How long a boot may take on a busy machine; an idle one takes less than a minute."""
ASKED_S = 240.0


class MachineError(VpnmeshError):
    """The machine did not come up, or did not answer; with the last lines of its console."""


@dataclass(frozen=True, slots=True)
class Image:
    """What tools/machine-image made."""

    folder: Path

    @property
    def key(self) -> Path:
        """The private key that logs in as `ops`."""
        return self.folder / "id_ed25519"

    def known_host(self) -> str:
        """The machine's line of known_hosts."""
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        return f"{MANAGEMENT} {kind} {key}\n"


def made_image() -> Image:
    """The disk that `make test-machine` names; a skip where nobody asked for it."""
    if not (named := os.environ.get(FOLDER)) or not shutil.which(QEMU):
        missing("machine", "no disk of a machine: run make test-machine")
    return Image(Path(named))


@dataclass(frozen=True, slots=True)
class Card:
    """A network card: the tap that is its other end, the bridge of the lab that has it, and its place on the bus."""

    tap: str
    bridge: str
    mac: str
    slot: int

    def qemu(self) -> tuple[str, ...]:
        """QEMU's options for it."""
        device = f"virtio-net-pci,netdev={self.tap},mac={self.mac},addr={self.slot:#x}"
        return ("-netdev", f"tap,id={self.tap},ifname={self.tap},script=no,downscript=no", "-device", device)


# a node's port on the management bridge reaches the controller alone, as in the lab
CARDS = (
    Card("tap-mgmt", "br-mgmt", "52:54:00:76:6d:01", 3),
    Card("tap-vlan30", "br-vlan30", "52:54:00:76:6d:02", 4),
)
ISOLATED = ("br-mgmt",)


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that runs, reached over SSH as `ops`, whose sudo asks for no password."""

    image: Image
    known_hosts: Path
    console: Path
    process: subprocess.Popen[bytes]

    def ssh(self, script: str, *, limit_s: float = ASKED_S) -> subprocess.CompletedProcess[str]:
        """Run a script there as root, whatever its exit code."""
        options = (f"UserKnownHostsFile={self.known_hosts}", "BatchMode=yes", "ConnectTimeout=20")
        argv = (
            *("ssh", "-F", "none", "-i", str(self.image.key)),
            *(word for option in options for word in ("-o", option)),
            *(f"{USER}@{MANAGEMENT}", "sudo", "-n", "sh", "-s"),
        )
        try:
            return subprocess.run(
                argv, input=script, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 255, "", f"no answer within {limit_s:g} s")

    def ask(self, script: str, *, limit_s: float = ASKED_S) -> str:
        """What a script prints; MachineError where it fails."""
        done = self.ssh(script, limit_s=limit_s)
        if done.returncode:
            raise MachineError(f"exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def boot_id(self) -> str:
        """Which boot this is."""
        return self.ask("cat /proc/sys/kernel/random/boot_id").strip()

    def await_up(self, *, not_boot: str = "") -> str:
        """Wait until systemd has started all that it starts; returns the boot's id, which is not `not_boot`."""
        deadline = time.monotonic() + UP_S
        while time.monotonic() < deadline and self.process.poll() is None:
            said = self.ssh(
                "cat /proc/sys/kernel/random/boot_id; systemctl is-system-running --wait || true"
            ).stdout
            boot, _, state = said.strip().partition("\n")
            if boot and boot != not_boot and state in ("running", "degraded"):
                return boot
            time.sleep(2)
        last = self.console.read_text(errors="replace").splitlines()[-8:]
        raise MachineError(f"not up within {UP_S:g} s; its console ends with: {'; '.join(last)}")


@contextmanager
def booted(image: Image, lab_pid: int, scratch: Path) -> Iterator[Machine]:
    """The machine in the network of that lab, up and settled; it ends with the thread that started it."""
    inside = ("nsenter", f"--net=/proc/{lab_pid}/ns/net", "--")
    for card in CARDS:
        _plug(inside, card)
    known_hosts, console = scratch / "machine-known-hosts", scratch / "console.log"
    known_hosts.write_text(image.known_host())
    # whatever ends this process ends QEMU too
    argv = (*inside, "setpriv", "--pdeathsig", "KILL", "--", *qemu(image, console))
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(scratch)}, stderr=subprocess.DEVNULL
    )
    try:
        machine = Machine(image, known_hosts, console, process)
        machine.await_up()
        yield machine
    finally:
        process.kill()
        process.wait()


def _plug(inside: tuple[str, ...], card: Card) -> None:
    commands = [
        ("ip", "tuntap", "add", card.tap, "mode", "tap"),
        ("ip", "link", "set", card.tap, "master", card.bridge, "up"),
    ]
    if card.bridge in ISOLATED:
        commands.append(("ip", "link", "set", card.tap, "type", "bridge_slave", "isolated", "on"))
    for command in commands:
        subprocess.run((*inside, *command), check=True)


def qemu(image: Image, console: Path) -> tuple[str, ...]:
    """What emulates the machine: no KVM, in which a stock kernel may hang.

    One processor: of two that are emulated one spins while the other waits for a core of a busy machine, and after a
    reboot a kernel was seen to spin for minutes. What guards a real processor against its own guesses only costs here.
    No login prompt on the console: a slow boot gives up waiting for it, and the next one would list other units.
    """
    folder = image.folder
    return (
        *(QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-serial", f"file:{console}"),
        *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "1", "-m", "1G"),
        *("-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd")),
        *("-append", "root=LABEL=machine ro console=ttyS0 quiet mitigations=off systemd.getty_auto=no"),
        *("-drive", f"file={folder / 'disk.img'},format=raw,if=virtio,snapshot=on"),
        *("-device", "virtio-rng-pci"),
        *(word for card in CARDS for word in card.qemu()),
    )
