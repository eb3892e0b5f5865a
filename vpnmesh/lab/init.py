"""The lab's PID 1: `python -m vpnmesh.lab.init DIRECTORY`, started by `vpnmesh.lab.init_process` and nobody else.

It builds what `build-spec.json` in the lab's directory says, and then only reaps. On stdin it reads `build` (that file
is there), `uplink` (the controller's veth has arrived) and `detach` (the lab stays up when its creator ends). Without
`detach` the lab ends with stdin, or with the process whose pidfd is descriptor 3. Stdout gets one JSON line per
finished step, or the one that failed.
"""

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from vpnmesh.lab import kernel
from vpnmesh.lab.build_spec import BuildSpec
from vpnmesh.lab.cgroup_tree import make_roots
from vpnmesh.lab.commands import run_step
from vpnmesh.lab.errors import LabError
from vpnmesh.lab.roots import start_nodes
from vpnmesh.lab.topology import Step

_STAGE = "/mnt"
_CONTROL, _EVENTS, _CREATOR = 0, 1, 3


class Events:
    """The pipe to the creator; a creator that is gone is no error here, for the control pipe shows that."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, **fields: object) -> None:
        """Send one event."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, (json.dumps(fields) + "\n").encode())

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step; what fails inside becomes a LabError with the step's name."""
        begun = time.monotonic()
        try:
            yield
        except OSError as error:
            raise LabError(name, str(error)) from error
        self.tell(step=name, seconds=round(time.monotonic() - begun, 4))


class Control:
    """The pipe from the creator."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def read(self) -> str:
        """The next word, empty when the creator is gone."""
        word = b""
        while not word.endswith(b"\n"):
            byte = os.read(self.descriptor, 1)
            if not byte:
                return ""
            word += byte
        return word.decode().strip()


def prepare_mounts() -> None:
    """A /run of the lab's own, with the lab's directory (the working directory) bound inside it."""
    kernel.mount("tmpfs", _STAGE, "tmpfs", options="mode=0755")
    for name in ("lab", "netns"):
        Path(_STAGE, name).mkdir()
    kernel.mount(".", f"{_STAGE}/lab", flags=kernel.MS_BIND)
    kernel.mount(_STAGE, "/run", flags=kernel.MS_MOVE)


def build(spec: BuildSpec, control: Control, events: Events) -> bool:
    """Make network and nodes and report every step; returns whether the creator is still there at the end."""
    with events.step("mounts and settings"):
        prepare_mounts()
        write_sysctls(spec.sysctls)
    if spec.cgroups:
        with events.step("cgroups"):
            make_roots(spec.cgroups, len(spec.nodes))
    for step in spec.steps:
        run_timed(step, events)
    with events.step("nodes"):
        pids = start_nodes(spec, Path("/run/lab/logs"))
    events.tell(nodes=pids)
    if control.read() != "uplink":
        return False
    run_timed(spec.uplink, events)
    return True


def run_timed(step: Step, events: Events) -> None:
    """Run a step and tell how long it took."""
    with events.step(step.name):
        run_step(step)


def write_sysctls(settings: tuple[tuple[str, str], ...]) -> None:
    """Set what this namespace has; a kernel without IPv6 has no IPv6 to switch off."""
    for name, value in settings:
        path = Path("/proc/sys", name)
        if path.exists():
            path.write_text(value)


def serve(control: Control) -> None:
    """Reap until the creator is gone, or for ever once it has sent `detach`."""
    wakeup_read, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poller = select.poll()
    poller.register(wakeup_read, select.POLLIN)
    for descriptor in (control.descriptor, _CREATOR):
        poller.register(descriptor, select.POLLIN)
    while True:
        reap()
        ready = {descriptor for descriptor, _ in poller.poll()}
        if wakeup_read in ready:
            os.read(wakeup_read, 4096)
        if ready & {control.descriptor, _CREATOR}:
            if control.descriptor not in ready or control.read() != "detach":
                return
            poller.unregister(control.descriptor)
            poller.unregister(_CREATOR)


def reap() -> None:
    """Collect every child that has ended, adopted ones too."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> int:
    """Build, then serve; the kernel takes down all the rest when this returns."""
    control, events = Control(_CONTROL), Events(_EVENTS)
    os.umask(0o022)
    os.chdir(sys.argv[1])
    for descriptor in (_CONTROL, _EVENTS, _CREATOR):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - positional-only
    if control.read() != "build":
        return 1
    try:
        spec = BuildSpec.from_json(Path("build-spec.json").read_text())
        events.tell(started=True)
        if not build(spec, control, events):
            return 1
    except LabError as error:
        events.tell(failed=error.step, reason=error.reason)
        return 1
    serve(control)
    return 0


if __name__ == "__main__":
    sys.exit(main())
