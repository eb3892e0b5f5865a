"""What this machine can do for a lab: features are tried out in a throw-away namespace, programs looked up.

On a kernel with modules a probe may load one (`wireguard`, `vxlan`, ...), as the first real use would.
Nothing else remains.
"""

import platform
import shlex
import shutil
import subprocess
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from vpnmesh.errors import UnavailableError
from vpnmesh.host.probes import KERNEL_LOG, OVERLAY_IN_MEMORY, PROBES, PROGRAMS, Probe, Program
from vpnmesh.lab.kernel import make_read_only
from vpnmesh.lab.topology import Argv
from vpnmesh.solutions import SOLUTIONS, packaged

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT_S = 60.0
"""Per command of a probe: an emulated machine may need more than ten seconds for a set of namespaces."""
_AT_ONCE = 4
"""Probes that run beside each other; each is in namespaces of its own."""


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


# a probe's commands in order; the first that is refused is told in its own words, and the mark in front shows that the
# namespaces themselves were there
_MARK = "inside"
_SILENT = "no answer in"
_ONE = """said=$({command} 2>&1 < /dev/null) || { code=$?; printf '%s\\n' "$said"; exit $code; }"""


def try_inside(commands: Sequence[Argv]) -> str:
    """Run the commands in network and mount namespaces that end with them; empty when all succeeded.

    Else the first line of what the refused one said. UnavailableError where the kernel or the user's rights give no
    namespaces.
    """
    script = "\n".join((f"echo {_MARK}", *(_ONE.replace("{command}", shlex.join(one)) for one in commands)))
    argv = ("unshare", "--net", "--mount", "--", "sh", "-c", script)
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_TIMEOUT_S * len(commands), check=False
        )
    except subprocess.TimeoutExpired:
        return f"{_SILENT} {_TIMEOUT_S * len(commands):g} s"
    began, _, said = done.stdout.partition("\n")
    if began != _MARK:
        raise UnavailableError(f"no namespaces here: {done.stderr.strip()}")
    if done.returncode == 0:
        return ""
    return next(iter(said.strip().splitlines()), f"exit {done.returncode}")


def examine(names: Collection[str] | None = None) -> Substrate:
    """Probe the machine, for all features or those named; needs root. Leaves no link, rule or mount."""
    wanted = [probe for probe in PROBES if names is None or probe.name in names]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        tried = tuple(pool.map(_try_out, wanted))
    return Substrate(
        name="namespaces",
        kernel=platform.release(),
        capabilities=(*tried, _read_only_root()),
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
    if refusal := try_inside(probe.commands):
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


def _refusal(capability: Capability) -> str:
    """What is missing; a probe that did not end in its time has shown nothing of the kernel."""
    if _SILENT in capability.detail:
        return f"is this machine too busy? Nothing says whether its kernel has {capability.name} ({capability.detail})"
    return f"this kernel has no {capability.name} ({capability.detail})"


def require(substrate: Substrate, *, shaped: bool) -> None:
    """UnavailableError, in one sentence, if this machine cannot carry a lab."""
    lacking = [program for program in substrate.missing if program.needed]
    if lacking:
        programs = ", ".join(program.name for program in lacking)
        packages = " ".join(dict.fromkeys(program.package for program in lacking))
        raise UnavailableError(f"not installed: {programs}; apt-get install {packages}")
    for capability in substrate.capabilities:
        if capability.needed and not capability.available:
            raise UnavailableError(_refusal(capability))
    if not (substrate.has("port-isolation") or substrate.has("nft-bridge")):
        raise UnavailableError("this kernel can keep management ports apart neither by bridge nor by nft")
    for capability in substrate.capabilities:
        if capability.name in FOR_CONTAINERS and not capability.available:
            raise UnavailableError(
                f"the lab's nodes cannot run containers: no {capability.name} ({capability.detail})"
            )
    if shaped and not substrate.has("tbf"):
        raise UnavailableError("this kernel cannot shape ports (tbf); bring the lab up with --port-rate none")
