"""The short matrix whose answers are recorded, and how runs on them are started, killed and gone on with.

To record it anew (root, half a minute):

    unshare -n sh -c 'ip link set lo up; VPNMESH_LAB_DIR=/run/recorded VPNMESH_STATE_DIR=/run/recorded-state \
        .venv/bin/python -m tests.crash.controller record tests/captured/run/two-scenarios.json.gz -- \
        '"$(.venv/bin/python -m tests.crash.matrix)"' --out /tmp/recorded/run'
"""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT / "tests" / "captured" / "run" / "two-scenarios.json.gz"
MATRIX = (
    *("--scenarios", "native-1450,wireguard-direct", "--conditions", "none,loss-1pct"),
    *("--tests", "tcp,ping", "--repetitions", "2", "--duration", "1", "--blocks", "1"),
)
DEADLINE_S = 540
KILLED = -signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Job:
    """One controller: where it keeps its run, whether it goes on with it, and at which moment it gets which signal."""

    place: Path
    resume: bool = False
    kill_at: int | None = None
    signum: int = signal.SIGKILL
    matrix: tuple[str, ...] = MATRIX

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.place.name}-{'again' if self.resume else 'first'}"

    @property
    def run(self) -> Path:
        """The run's directory: of the same name in all jobs, since nodes are told that name."""
        return self.place / "run"

    @property
    def said(self) -> str:
        """All that it printed."""
        return (self.place / f"{self.name}.txt").read_text()

    @property
    def moments(self) -> list[str]:
        """The moments that it passed, in order."""
        return (self.place / f"{self.name}.moments").read_text().splitlines()

    def line(self) -> str:
        """The job as the controllers' process reads it."""
        argv = ("--resume", str(self.run)) if self.resume else (*self.matrix, "--out", str(self.run))
        files = {"said": f"{self.name}.txt", "moments": f"{self.name}.moments", "state": "state"}
        return json.dumps(
            {
                **{key: str(self.place / name) for key, name in files.items()},
                "name": self.name,
                "argv": argv,
                "kill_at": self.kill_at,
                "signal": self.signum,
            }
        )


def carry_out(jobs: Sequence[Job], recording: Path = RECORDING) -> dict[str, int]:
    """Run all of these controllers, some at a time; returns their exit codes by name, a signal's negative."""
    for job in jobs:
        job.place.mkdir(exist_ok=True)
    # one thread each: they are many, and a thread that waits for others turns the processor over meanwhile
    alone = {"OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    done = subprocess.run(
        (sys.executable, "-m", "tests.crash.controller", "serve", str(recording)),
        input="".join(f"{job.line()}\n" for job in jobs),
        cwd=ROOT,
        env={**os.environ, **alone, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    return {end["name"]: end["code"] for end in ends}


if __name__ == "__main__":
    sys.stdout.write(f"{shlex.join(MATRIX)}\n")
