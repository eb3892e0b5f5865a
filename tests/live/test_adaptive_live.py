"""An adaptive run on the lab: rounds until the pair is decided, cut off on the way and gone on with."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vpnmesh.study.journal import VisitStarted, of_kind
from workflows.reporting.studies import study_from_run
from workflows.run.store import RunFiles

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 600
PAIR = ("native-1450", "nebula-relay")
"""Some ten times apart: three or four rounds decide that, also on a busy machine."""


def start(*arguments: str) -> subprocess.Popen[str]:
    """full_matrix, as its users run it."""
    return subprocess.Popen(
        (sys.executable, "-m", "workflows.full_matrix", *arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def visits(run: Path) -> list[VisitStarted]:
    """The visits that the journal has; none where there is no run yet."""
    return of_kind(RunFiles(run).events(), VisitStarted)


def test_rounds_go_on_until_the_pair_is_decided(place: Path, tmp_path: Path) -> None:
    """Ctrl-C in the second round, the rest by --resume: three rounds at least, one verdict, no budget used up."""
    del place
    run = tmp_path / "run"
    begun = start(
        *("--scenarios", ",".join(PAIR), "--conditions", "none", "--tests", "tcp"),
        *("--budget", "8", "--out", str(run)),
    )
    deadline = time.monotonic() + DEADLINE_S
    while not any(visit.round == 2 for visit in visits(run)):
        assert begun.poll() is None, begun.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    begun.send_signal(signal.SIGINT)
    said = begun.communicate(timeout=DEADLINE_S)[0]
    assert begun.returncode == 130, said
    assert "round 1: " in said
    again = start("--resume", str(run), "--budget", "8")
    said = again.communicate(timeout=DEADLINE_S)[0]
    assert again.returncode == 0, said
    rounds = [int(number) for number in re.findall(r"^round (\d+): ", said, re.MULTILINE)]
    assert rounds == list(range(2, rounds[-1] + 1))
    assert rounds[-1] >= 3
    assert f"round {rounds[-1]}: 1 of 1 pairs decided (tcp 1 of 1)" in said
    for number in range(1, rounds[-1] + 1):
        assert {visit.scenario for visit in visits(run) if visit.round == number} == set(PAIR)
    (row,) = study_from_run(run).tables["verdicts"].to_dicts()
    assert (row["a"], row["b"], row["verdict"]) == (*PAIR, "differ")
    assert row["n_a"] >= 3
    assert row["minutes_more"] is None
    done = start("--resume", str(run), "--budget", "8")
    assert not re.search(r"^round \d", done.communicate(timeout=DEADLINE_S)[0], re.MULTILINE)
    assert done.returncode == 0
