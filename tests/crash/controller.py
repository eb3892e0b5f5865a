"""A controller on recorded nodes, which is killed by SIGKILL where it is told to: a process of its own for every job.

    python -m tests.crash.controller record FILE -- ARGUMENTS OF FULL_MATRIX    on a lab; writes FILE
    python -m tests.crash.controller live MOMENTS NUMBER|none -- ARGUMENTS      on a lab; killed at that moment
    python -m tests.crash.controller serve FILE                                 jobs on stdin, as JSON, one a line

A job is `{"name": ..., "argv": [...], "state": FOLDER, "said": FILE, "moments": FILE, "kill_at": NUMBER or null,
"signal": NUMBER}`. Each is forked from this process, which has imported everything by then: none waits for that.
"""

import contextlib
import gc
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from inventory.load import load
from tasks.firewall.journal import Journal
from tasks.firewall.registry import KNOWN_DRIVERS
from tests.crash.moments import armed
from tests.crash.recording import Recording, recorded, replayed
from vpnmesh.cluster import INSTALLERS
from vpnmesh.lab.lifecycle import up
from vpnmesh.measurements import MEASUREMENTS
from vpnmesh.solutions import SOLUTIONS
from workflows import full_matrix
from workflows.run import impair
from workflows.run.firewall import FirewallRun, run_id
from workflows.run.site import Site
from workflows.run.teardown import Left, sweep

AT_ONCE = 3
"""Controllers that run at the same time; each waits for the disk now and then."""


@contextlib.contextmanager
def _no_lab(*_: object, **__: object) -> Iterator[Any]:
    record = SimpleNamespace(kernel="recorded", port_rate_mbit_s=1000.0)
    yield SimpleNamespace(record=record, timings=(), directory=Path("/run/nowhere"))


def no_lease() -> contextlib.AbstractContextManager[object]:
    """Within, runs hold no lease."""
    return patch.object(full_matrix, "leased", _no_lease, create=True)


@contextlib.contextmanager
def _no_lease(*_: object, **__: object) -> Iterator[Any]:
    """A lease is held under a name that is drawn anew in every session: no recorded node knows it."""
    yield SimpleNamespace(left={})


def controller(recording: Recording, argv: list[str]) -> int:
    """full_matrix on these nodes; its exit code."""
    with (
        replayed(recording),
        patch.object(full_matrix, "lab_for", _no_lab),
        # the engine's program would be another one on another machine
        patch.object(impair, "install", lambda *_, **__: {}),
        # what is shown of the figures at the end has its own tests, and takes longer than all the rest
        patch.object(full_matrix, "study_from_run", lambda _: None),
        no_lease(),
    ):
        return _code(argv)


def _code(argv: list[str]) -> int:
    try:
        full_matrix.main(argv, prog_name="full_matrix")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _job(recording: Recording, job: dict[str, Any]) -> int:
    """Carry a job out in this process, which is its own."""
    os.environ["VPNMESH_STATE_DIR"] = job["state"]
    said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(said, 1)
    os.dup2(said, 2)
    with armed(Path(job["moments"]), job.get("kill_at"), job.get("signal", signal.SIGKILL)):
        return controller(recording, job["argv"])


def _forked(recording: Recording, job: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        code = _job(recording, job)
    except BaseException:  # noqa: BLE001 - whatever it was, the process ends here
        # what a test shows of a job that did not end by itself
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _preload() -> None:
    """Import what a run would import later; no table is made, for a process with Polars' threads cannot be forked."""
    load("lab")
    for registry in (MEASUREMENTS, SOLUTIONS, INSTALLERS, KNOWN_DRIVERS):
        list(registry.values())
    # the collector writes to every object that it looks at: each fork would copy all that it shares
    gc.freeze()


def serve(recording: Recording) -> None:
    """Carry out the jobs of stdin, some at a time; says of each how it ended."""
    _preload()
    running: dict[int, tuple[dict[str, Any], float]] = {}

    def end_one() -> None:
        pid, status = os.wait()
        job, begun = running.pop(pid)
        end = {"name": job["name"], "code": os.waitstatus_to_exitcode(status)}
        sys.stdout.write(json.dumps({**end, "seconds": round(time.monotonic() - begun, 2)}) + "\n")
        sys.stdout.flush()

    for line in sys.stdin:
        # an empty line waits for all that were begun
        while len(running) >= (AT_ONCE if line.strip() else 1):
            end_one()
        if line.strip():
            job = json.loads(line)
            running[_forked(recording, job)] = (job, time.monotonic())


def _run_of(argv: list[str]) -> Path:
    return Path(argv[argv.index("--out") + 1])


def record(path: Path, argv: list[str]) -> int:
    """full_matrix on real nodes, all that they say written to the file."""
    recording = Recording()
    nr, testbed = load("lab")
    with tempfile.TemporaryDirectory() as beside, up(testbed, owned=True), recorded(recording), no_lease():
        # what a session asks first that goes on after one that was killed
        site = Site(nr, testbed)
        after = Left(FirewallRun(run_id(_run_of(argv)), Journal(Path(beside))), impair.find_engine(site))
        for removal in sweep(site, after, dry_run=False):
            sys.stderr.write(removal.told(dry_run=False))
        nr.close_connections()
        code = _code(argv)
    recording.save(path)
    return code


def live(told: Path, kill_at: str, argv: list[str]) -> int:
    """full_matrix on real nodes, killed at that moment unless it is "none"."""
    with armed(told, None if kill_at == "none" else int(kill_at), signal.SIGKILL):
        return _code(argv)


if __name__ == "__main__":
    if sys.argv[1] == "live":
        sys.exit(live(Path(sys.argv[2]), sys.argv[3], sys.argv[5:]))
    if sys.argv[1] == "record":
        sys.exit(record(Path(sys.argv[2]), sys.argv[4:]))
    serve(Recording.load(Path(sys.argv[2])))
