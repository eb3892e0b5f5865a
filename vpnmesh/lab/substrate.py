"""What this machine can do for a lab: features are tried out in a throw-away namespace, programs looked up.

On a kernel with modules a probe may load one (`wireguard`, `vxlan`, ...), as the first real use would.
Nothing else remains.
"""

import platform
import shutil
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from vpnmesh.errors import UnavailableError
from vpnmesh.host.probes import KERNEL_LOG, OVERLAY_IN_MEMORY, PROBES, PROGRAMS, Probe, Program
from vpnmesh.lab.kernel import make_read_only
from vpnmesh.lab.topology import Argv
from vpnmesh.solutions import SOLUTIONS, packaged

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Capability:
    """A feature, whether the kernel at hand has it, and how that showed."""

    name: str
    available: bool
    detail: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Substrate:
    """What the nodes of a lab run on; runs on different substrates are never pooled."""

    name: str
    kernel: str
    capabilities: tuple[Capability, ...]
    missing: tuple[Program, ...]

    def has(self, capability: str) -> bool:
        """Whether a feature is there; KeyError for a name that no probe has."""
        return {item.name: item.available for item in self.capabilities}[capability]


READ_ONLY_ROOT = "read-only-root"
NEEDED = frozenset(
    {*(p.name for p in PROBES if p.needed), "port-isolation", "nft-bridge", "tbf", READ_ONLY_ROOT}
)
FOR_CONTAINERS = frozenset({KERNEL_LOG, OVERLAY_IN_MEMORY})
"""What is needed beside it for nodes that can run containers, and cgroups (`vpnmesh.lab.cgroups.unusable`)."""


class Throwaway:
    """Network and mount namespaces that are held by one process and end with it."""

    def __init__(self, pid: int) -> None:
        self._enter = ("nsenter", "--target", str(pid), "--net", "--mount", "--")

    def run(self, argv: Argv) -> str:
        """Run a command inside; empty when it succeeded, else the first line of what it said."""
        try:
            done = subprocess.run(
                (*self._enter, *argv), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no answer in {_TIMEOUT_S:g} s"
        if done.returncode == 0:
            return ""
        return next(iter((done.stderr or done.stdout).strip().splitlines()), f"exit {done.returncode}")


@contextmanager
def throwaway() -> Iterator[Throwaway]:
    """Fresh namespaces for a probe; UnavailableError where the kernel or the user's rights give none."""
    with subprocess.Popen(
        ("unshare", "--net", "--mount", "--", "cat"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            _await_echo(holder)
            yield Throwaway(holder.pid)
        finally:
            holder.kill()


def _await_echo(holder: "subprocess.Popen[str]") -> None:
    """Wait until the holder has its namespaces: it echoes only after that."""
    stdin, stdout, stderr = _streams(holder)
    try:
        stdin.write("ready\n")
        stdin.flush()
    except BrokenPipeError:
        pass
    if stdout.readline() != "ready\n":
        raise UnavailableError(f"no namespaces here: {stderr.read().strip()}")


def _streams(holder: "subprocess.Popen[str]") -> tuple[IO[str], IO[str], IO[str]]:
    if holder.stdin is None or holder.stdout is None or holder.stderr is None:
        raise UnavailableError("no pipes to a namespace")
    return holder.stdin, holder.stdout, holder.stderr


def examine(names: Collection[str] | None = None) -> Substrate:
    """Probe the machine, for all features or those named; needs root. Leaves no link, rule or mount."""
    wanted = [probe for probe in PROBES if names is None or probe.name in names]
    return Substrate(
        name="namespaces",
        kernel=platform.release(),
        capabilities=(*(_try_out(probe) for probe in wanted), _read_only_root()),
        missing=missing_programs(),
    )


def missing_programs() -> tuple[Program, ...]:
    """The programs of a lab and of VPNs that are not installed, where Debian has a package of them."""
    own = {program.name for program in PROGRAMS}
    wanted = (*PROGRAMS, *(one for one in packaged(SOLUTIONS.values()) if one.name not in own))
    return tuple(program for program in wanted if shutil.which(program.name, path=_PATH) is None)


def _try_out(probe: Probe) -> Capability:
    if absent := next((c[0] for c in probe.commands if shutil.which(c[0], path=_PATH) is None), ""):
        return Capability(
            probe.name, available=False, detail=f"{absent} is not installed", needed=probe.needed
        )
    with throwaway() as inside:
        for command in probe.commands:
            if refusal := inside.run(command):
                detail = f"{probe.what_for}: {refusal}"
                return Capability(probe.name, available=False, detail=detail, needed=probe.needed)
    return Capability(probe.name, available=True, detail=probe.what_for, needed=probe.needed)


def _read_only_root() -> Capability:
    """Whether mount_setattr(2) is there: asked to change a path that is not, only then it misses the path."""
    try:
        make_read_only("/nonexistent/vpnmesh")
    except FileNotFoundError:
        return Capability(
            READ_ONLY_ROOT, available=True, detail="the machine's files stay as they are", needed=True
        )
    except OSError as error:
        detail = f"mount_setattr, Linux 5.12 or newer: {error.strerror}"
        return Capability(READ_ONLY_ROOT, available=False, detail=detail, needed=True)
    raise UnavailableError("the path /nonexistent exists")


def require(substrate: Substrate, *, shaped: bool) -> None:
    """UnavailableError, in one sentence, if this machine cannot carry a lab."""
    lacking = [program for program in substrate.missing if program.needed]
    if lacking:
        programs = ", ".join(program.name for program in lacking)
        packages = " ".join(dict.fromkeys(program.package for program in lacking))
        raise UnavailableError(f"not installed: {programs}; apt-get install {packages}")
    for capability in substrate.capabilities:
        if capability.needed and not capability.available:
            raise UnavailableError(f"this kernel has no {capability.name} ({capability.detail})")
    if not (substrate.has("port-isolation") or substrate.has("nft-bridge")):
        raise UnavailableError("this kernel can keep management ports apart neither by bridge nor by nft")
    for capability in substrate.capabilities:
        if capability.name in FOR_CONTAINERS and not capability.available:
            raise UnavailableError(
                f"the lab's nodes cannot run containers: no {capability.name} ({capability.detail})"
            )
    if shaped and not substrate.has("tbf"):
        raise UnavailableError("this kernel cannot shape ports (tbf); bring the lab up with --port-rate none")
