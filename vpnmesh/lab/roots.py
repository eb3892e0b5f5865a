"""Start the nodes: each a process that gives itself namespaces, a root of its own, and tini with sshd.

Runs inside the lab's init only. No command is started on the way: system calls cost a hundredth of it.
"""

import json
import os
import shutil
import signal
import socket
import traceback
from importlib import import_module
from pathlib import Path

from vpnmesh.lab import kernel
from vpnmesh.lab.build_spec import BuildSpec, NodeSpec
from vpnmesh.lab.cgroup_tree import enter_node, show_to_node
from vpnmesh.lab.cgroups import CgroupPlan
from vpnmesh.lab.errors import LabError
from vpnmesh.lab.nodes import EMPTY, KEPT, OVERLAID, SSHD_CONFIG, Account, NodeFile

_STAGE = "/mnt"
_STAND_INS = "vpnmesh.lab.stand_in_settings"
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NEW_NAMESPACES = kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWPID


def start_nodes(spec: BuildSpec, logs: Path) -> dict[str, int]:
    """Start all nodes at once; returns their first processes' ids, as the lab's init sees them."""
    if spec.cgroups:
        # here, for a node may not see the folder that it would be loaded from; every other lab starts without it
        import_module(_STAND_INS)
    argv = (program("tini"), "--", program("sshd"), "-D", "-e", "-f", SSHD_CONFIG)
    lines = {node.name: _spawn(spec, node, argv, logs) for node in spec.nodes}
    return {name: _collect(name, *line) for name, line in lines.items()}


def program(name: str) -> str:
    """The full path of a program, which sshd needs to start itself anew."""
    path = shutil.which(name, path=SEARCH)
    if path is None:
        raise LabError("nodes", f"{name} is not installed")
    return path


def _spawn(spec: BuildSpec, node: NodeSpec, argv: tuple[str, ...], logs: Path) -> tuple[int, int]:
    """Fork the process that makes the node; returns its id, and the pipe on which it reports how it went."""
    report, told = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child:
        os.close(told)
        return child, report
    try:
        _become_node(spec, node, argv, logs, told)
    except (OSError, LabError) as error:
        reason = error.reason if isinstance(error, LabError) else str(error)
        os.write(told, (json.dumps({"error": reason}) + "\n").encode())
    finally:
        traceback.print_exc()  # to the init's log: whatever brought us here, it was no success
        os._exit(1)  # never back into the init's code


def _collect(name: str, child: int, report: int) -> int:
    """Wait until a node has started: the pipe ends when its first process becomes tini."""
    with os.fdopen(report) as lines:
        told: dict[str, object] = {}
        for line in lines:
            told.update(json.loads(line))
    os.waitpid(child, 0)
    pid = told.get("pid")
    if "error" in told or not isinstance(pid, int):
        raise LabError(f"node {name}", str(told.get("error", "ended before it was up")))
    return pid


def _become_node(spec: BuildSpec, node: NodeSpec, argv: tuple[str, ...], logs: Path, told: int) -> None:
    log = os.open(logs / f"{node.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    kernel.enter_network(f"/run/netns/{node.name}")
    for name, value in node.sysctls:
        path = Path("/proc/sys", name)
        if path.exists():
            path.write_text(value)
    if spec.cgroups:
        enter_node(spec.cgroups, node.name)
    kernel.unshare(_NEW_NAMESPACES)
    socket.sethostname(node.name)
    _make_root(node.emptied, spec.cgroups)
    for account in spec.accounts:
        _make_home(account)
    for file in node.files:
        _write(file)
    first = os.fork()
    if first:
        os.write(told, (json.dumps({"pid": first}) + "\n").encode())
        os._exit(0)
    _become_first(argv, log, kubernetes=spec.cgroups is not None)


def _become_first(argv: tuple[str, ...], log: int, *, kubernetes: bool) -> None:
    """The node's PID 1: a /proc of its own namespace, then tini, which reaps what daemons orphan."""
    kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    if kubernetes:
        import_module(_STAND_INS).bind_stand_ins()
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    os.chdir("/")
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, not by what it starts
        signal.signal(ignored, signal.SIG_DFL)
    os.execve(argv[0], argv, {"PATH": SEARCH, "LANG": "C.UTF-8"})  # noqa: S606 - an argv, no shell


def _make_root(emptied: tuple[str, ...], cgroups: CgroupPlan | None) -> None:
    """Make everything read-only, then mount what is the node's own on top; `emptied` hides the machine's own VPNs."""
    kept = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in KEPT if Path(path).is_dir()}
    # `ip netns` makes its folder shared: without this, what is taken away here is taken from all nodes
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.detach("/run")  # the lab's, with the names of the other nodes' namespaces
    kernel.make_read_only("/")
    _overlay()
    for path, mode in EMPTY:
        if Path(path).is_dir():
            kernel.mount("tmpfs", path, "tmpfs", kernel.MS_NOSUID, f"mode={mode}")
    for path, descriptor in kept.items():
        Path(path).mkdir(parents=True)
        kernel.mount(f"/proc/self/fd/{descriptor}", path, flags=kernel.MS_BIND)
    for path in emptied:
        if Path(path).is_dir():
            shutil.rmtree(path)
            Path(path).mkdir(mode=0o755)
    Path("/run/sshd").mkdir(mode=0o755)
    Path("/run/lock").mkdir(mode=0o755)
    if cgroups:
        kernel.detach(
            "/sys"
        )  # whoever looks for a hierarchy takes its first mount, which would be the machine's
    kernel.mount("sysfs", "/sys", "sysfs", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    kernel.mount("devpts", "/dev/pts", "devpts", kernel.MS_NOSUID, "gid=5,mode=0620,ptmxmode=0666")
    if cgroups:
        show_to_node(cgroups)
        # volumes that kubelet mounts later shall be seen in containers that run already
        kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_SHARED)


def _overlay() -> None:
    """Mount copy-on-write overlays; their upper layers are in memory, and stay once the staging mount is detached."""
    kernel.mount("tmpfs", _STAGE, "tmpfs", options="mode=0755")
    for path in OVERLAID:
        if not Path(path).is_dir():
            continue
        upper, work = Path(_STAGE + path, "upper"), Path(_STAGE + path, "work")
        for layer in (upper, work):
            layer.mkdir(parents=True)
        options = f"lowerdir={path},upperdir={upper},workdir={work}"
        kernel.mount("overlay", path, "overlay", options=options)
    kernel.detach(_STAGE)


def _make_home(account: Account) -> None:
    home = Path("/home", account.name)
    home.mkdir(mode=0o700)
    os.chown(home, account.uid, account.uid)


def _write(file: NodeFile) -> None:
    """Replace a file, also where the machine has a symbolic link; never readable by others in between."""
    path = Path(file.path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(file.content)
        os.fchown(descriptor, file.owner, file.owner)
        os.fchmod(descriptor, file.mode)
