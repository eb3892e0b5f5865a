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
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT / "tests" / "captured" / "run" / "two-scenarios.json.gz"
MATRIX = (
    *("--scenarios", "native-1450,wireguard-direct", "--conditions", "none,loss-1pct"),
    *("--tests", "tcp,ping", "--repetitions", "2", "--duration", "1", "--blocks", "1"),
)
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


class Controllers:
    """The process that controllers are forked from; it has imported all that they need."""

    def __init__(self, recording: Path = RECORDING) -> None:
        # one thread each: they are many, and a thread that waits for others turns the processor over meanwhile
        alone = {"OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.crash.controller", "serve", str(recording)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, **alone},
            text=True,
        )

    def carry_out(self, jobs: Sequence[Job]) -> dict[str, int]:
        """Run all of these, some at a time; returns their exit codes by name, a signal's negative."""
        for job in jobs:
            job.place.mkdir(exist_ok=True)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("".join(f"{job.line()}\n" for job in jobs) + "\n")
        self._process.stdin.flush()
        ends = [json.loads(self._process.stdout.readline()) for _ in jobs]
        return {end["name"]: end["code"] for end in ends}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()


if __name__ == "__main__":
    sys.stdout.write(f"{shlex.join(MATRIX)}\n")
