"""Start the lab's init and talk to it, from the creator's side."""

import contextlib
import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vpnmesh.lab.directory import LabDirectory
from vpnmesh.lab.errors import LabError
from vpnmesh.lab.processes import ProcessIdentity, descendants, inner_pid, process

_UNSHARE = ("--pid", "--mount", "--net", "--fork", "--kill-child", "--mount-proc", "--")
_SILENCE_S = 60.0
_PIDFD_SLOT = 3


class InitProcess:
    """The lab's init while it builds; an owned lab ends when its control pipe is closed.

    The init gets the control pipe as its stdin, the events pipe as its stdout, and a pidfd of this process:
    forked children may hold the pipe open, but only this process is its creator.
    """

    def __init__(self, directory: LabDirectory) -> None:
        self._log = directory.init_log
        self._buffer = b""
        control_read, self._control = os.pipe()
        self._events, events_write = os.pipe()
        creator = os.pidfd_open(os.getpid())
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        slots = ((control_read, 0), (events_write, 1), (log, 2), (creator, _PIDFD_SLOT))
        try:
            self.starter = _spawn(directory.path, slots)
        finally:
            for descriptor in (control_read, events_write, creator, log):
                os.close(descriptor)

    def read(self) -> dict[str, Any]:
        """The init's next event; LabError if a step failed, or the init ended or was silent for a minute."""
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._events], [], [], _SILENCE_S)
            piece = os.read(self._events, 65536) if ready else b""
            if not piece:
                raise LabError("init", self._last_words() if ready else f"silent for {_SILENCE_S:g} s")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        event: dict[str, Any] = json.loads(line)
        if "failed" in event:
            raise LabError(event["failed"], event["reason"])
        return event

    def await_field(self, field: str, tell: Callable[[str, float], None]) -> Any:
        """Pass finished steps on until an event has this field; its value."""
        while True:
            event = self.read()
            if "step" in event:
                tell(event["step"], event["seconds"])
            if field in event:
                return event[field]

    def say(self, word: str) -> None:
        """Send the init a word."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._control, f"{word}\n".encode())

    @property
    def init(self) -> ProcessIdentity:
        """The lab's PID 1 as the machine sees it."""
        for candidate in descendants(self.starter.pid):
            if inner_pid(candidate.pid) == 1:
                return candidate
        raise LabError("init", self._last_words())

    def await_step(self, name: str, tell: Callable[[str, float], None]) -> None:
        """Pass finished steps on until this one is finished."""
        done = ""
        while done != name:
            event = self.read()
            done = event.get("step", "")
            if done:
                tell(done, event["seconds"])

    def keep_control(self) -> int:
        """The control pipe of an owned lab, which its owner closes to end it."""
        control, self._control = self._control, -1
        self.close()
        return control

    def close(self) -> None:
        """Close the pipes that are still this object's."""
        for descriptor in (self._control, self._events):
            if descriptor >= 0:
                os.close(descriptor)
        self._control = self._events = -1

    def _last_words(self) -> str:
        lines = self._log.read_text().strip().splitlines() if self._log.exists() else []
        return lines[-1] if lines else "ended without a message"


def _spawn(directory: Path, slots: tuple[tuple[int, int], ...]) -> ProcessIdentity:
    """Start unshare with the init below it, in a session of their own."""
    source = Path(__file__).resolve().parents[2]
    argv = (
        shutil.which("unshare") or "unshare",
        *_UNSHARE,
        *(sys.executable, "-m", "vpnmesh.lab.init", str(directory)),
    )
    environment = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(source)}
    actions = [(os.POSIX_SPAWN_DUP2, *slot) for slot in slots]
    # nothing that this process ignores (SIGPIPE in every Python) or blocks is passed on to the nodes
    pid = os.posix_spawn(
        argv[0],
        argv,
        environment,
        file_actions=actions,
        setsid=True,
        setsigmask=(),
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )
    started = process(pid)
    if started is None:
        raise LabError("init", "unshare did not start")
    return started


def end_init(*processes: ProcessIdentity) -> None:
    """Kill unshare and the init below it, and with the init everything inside."""
    for one in processes:
        if one.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        if process(one.pid) == one:  # dead but not reaped; another process may have the id by now
            with contextlib.suppress(ChildProcessError):
                os.waitpid(one.pid, 0)
