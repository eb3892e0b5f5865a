"""A controller that is killed while it writes, at whatever moment, loses nothing: --resume makes the same run of it.

The moments are those of a run that nobody disturbs: before each line of the journal (its raw output is on the disk by
then), in the middle of it and after it, in each replacement of the manifest and of the tables, and in a raw file of
each attempt. At each of them a real controller process gets SIGKILL; its nodes answer as they did when recorded.
"""

import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.crash.matrix import KILLED, Controllers, Job
from vpnmesh.frames.schemas import check_results
from vpnmesh.study.journal import SessionStarted, VisitStarted, of_kind
from workflows.run.store import RunFiles

pytestmark = pytest.mark.slow

PARTS = 2
"""All moments are tried, a part of them in each test, so that parts may lie on several workers."""
BEFORE_A_MANIFEST = 3
"""So many moments pass until a run's directory can be gone on with."""
CELLS = [
    "scenario",
    "condition",
    "test",
    "pair",
    "repetition",
    "outcome",
    "stage",
    "reason",
    "visit",
    "adopted",
]
SAME = [*CELLS, "placement", "engine", "data_plane", "at_once", "rate_mbit_s", "retransmits", "relay_share"]
"""What a resumed run's rows have in common with those of one that was not killed; the rest is time and load."""
SIGNALS = 5
RAW = ("client.json", "ping.txt")
"""The raw files that are killed in the middle: one of each attempt."""


def chosen(moments: list[str]) -> list[int]:
    """The moments at which what is on the disk differs, for whoever goes on with it."""
    return [number for number, moment in enumerate(moments) if differs(number, *moment.split(": "))]


def differs(number: int, file: str, what: str) -> bool:
    """Whether the disk holds something else at this moment than at the one before."""
    if file == "manifest.json" and number < BEFORE_A_MANIFEST:
        return True
    if file in RAW:
        return what == "half"
    if file == "manifest.json" or file.endswith(".parquet"):
        return what in ("half", "replaced")
    return file == "journal.jsonl"


def table(run: Path) -> pl.DataFrame:
    """The results of a run, in an order that does not depend on when they were made."""
    frame = check_results(pl.read_parquet(run / "results.parquet"), str(run))
    return frame.sort("scenario", "condition", "test", "pair", "repetition")


def figures(run: Path) -> list[tuple[object, ...]]:
    """Every figure of every repetition."""
    return sorted(pl.read_parquet(run / "figures.parquet").iter_rows())


@pytest.fixture(scope="module")
def controllers() -> Iterator[Controllers]:
    """The process that all controllers of this module come from."""
    with Controllers() as standing:
        yield standing


@pytest.fixture(scope="module")
def whole(controllers: Controllers, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A run that nobody disturbed."""
    place = tmp_path_factory.mktemp("crash")
    job = Job(place / "whole")
    assert controllers.carry_out([job]) == {job.name: 0}, job.said
    assert table(job.run).height == 16
    return job


def problems(job: Job, whole: Job) -> list[str]:
    """In what a run that was killed and gone on with is not as one that was not."""
    frame, wanted = table(job.run), table(whole.run)
    files = RunFiles(job.run)
    visits = [one.visit for one in of_kind(files.events(), VisitStarted)]
    numbers = [one.number for one in of_kind(files.events(), SessionStarted)]
    lines = (job.run / "journal.jsonl").read_text().splitlines()
    told = {
        "rows": frame.select(SAME).equals(wanted.select(SAME)),
        "figures": figures(job.run) == figures(whole.run),
        "numbers of attempts": frame["sequence"].n_unique() == frame.height,
        "visits in order": visits == sorted(visits)
        and set(visits) == {1, 2}
        and len(visits) <= len(numbers) + 1,
        "sessions in order": numbers == sorted(set(numbers)),
        "sessions noted": numbers[-1] == len(files.manifest().sessions),
        "raw output": all((job.run / raw).is_dir() for raw in frame["raw"]),
        "journal": all(isinstance(json.loads(line), dict) for line in lines),
        "nothing half": not [*job.run.rglob("*.new")],
    }
    return [what for what, holds in told.items() if not holds]


@pytest.mark.parametrize("part", range(PARTS))
def test_a_kill_at_every_moment_loses_nothing(
    part: int, whole: Job, controllers: Controllers, tmp_path: Path
) -> None:
    """Same cells, same number of repetitions, none twice; a run without a manifest yet is simply begun again."""
    points = chosen(whole.moments)[part::PARTS]
    killed = [Job(tmp_path / f"at-{number}", kill_at=number) for number in points]
    codes = controllers.carry_out(killed)
    assert {job.name: code for job in killed if (code := codes[job.name]) != KILLED} == {}
    again = [
        Job(job.place, resume=number >= BEFORE_A_MANIFEST) for number, job in zip(points, killed, strict=True)
    ]
    codes = controllers.carry_out(again)
    assert {job.name: (codes[job.name], job.said[-600:]) for job in again if codes[job.name]} == {}
    assert {
        f"{number}, {whole.moments[number]}": found
        for number, job in zip(points, again, strict=True)
        if (found := problems(job, whole))
    } == {}
    print(f"{len(points)} moments, of {len(whole.moments)} in the run")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_odd_moments_ends_clean(
    signum: int, whole: Job, controllers: Controllers, tmp_path: Path
) -> None:
    """Drawn by chance, and while the tables are written: code 130 or 143, what was set is set back, and it goes on."""
    every = [one for one in chosen(whole.moments) if one >= BEFORE_A_MANIFEST]
    tables = whole.moments.index("results.parquet: half")
    drawn = [*random.Random(signum).sample(every, SIGNALS), tables]
    ended = [Job(tmp_path / f"at-{number}", kill_at=number, signum=signum) for number in drawn]
    codes = controllers.carry_out(ended)
    assert {job.name: codes[job.name] for job in ended} == {job.name: 128 + signum for job in ended}
    assert {job.name: "Traceback" in job.said for job in ended} == {job.name: False for job in ended}
    sessions = {job.name: RunFiles(job.run).manifest().sessions for job in ended}
    assert [
        name
        for name, (*_, last) in filter(lambda one: one[1], sessions.items())
        if last.sysctls_restored is False
    ] == []
    # a signal in the session that goes on, as soon as it begins
    cut = [Job(job.place, resume=True, kill_at=1, signum=signum) for job in ended]
    codes = controllers.carry_out(cut)
    assert {job.name: codes[job.name] for job in cut} == {job.name: 128 + signum for job in cut}
    again = [Job(job.place, resume=True) for job in ended]
    codes = controllers.carry_out(again)
    assert {job.name: job.said[-600:] for job in again if codes[job.name]} == {}
    assert {job.name: found for job in again if (found := problems(job, whole))} == {}
