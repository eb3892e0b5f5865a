"""A twin beside its original: intervals from six figures on, and no verdict from fewer."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.report.test_setting import PROFILE, run
from vpnmesh.doctor.paths import PathRound, RecordedPath, RecordedPaths
from vpnmesh.errors import InputError
from vpnmesh.report.fidelity import Alike, paths_beside, rtt_alike, rtt_in_words
from workflows.report import main


def path_of(*times_ms: float, lost: int = 0, ends: tuple[str, str] = ("a", "b")) -> RecordedPath:
    rounds = tuple(PathRound(25, 25 - lost, ms, ms) for ms in times_ms)
    return RecordedPath(*ends, rounds)


def file_of(*paths: RecordedPath, name: str = "mine") -> RecordedPaths:
    return RecordedPaths(1, name, "2026-01-01T00:00:00+00:00", "real", paths)


@pytest.mark.parametrize(
    ("twin_ms", "verdict"),
    [
        ((20.1, 20.2, 20.3, 20.1, 20.2, 20.3), Alike.YES),
        ((25.1, 25.2, 25.3, 25.1, 25.2, 25.3), Alike.NO),
        ((19, 25, 18, 26, 20, 24), Alike.OPEN),
        ((20.1, 20.2, 20.3, 20.1, 20.2), Alike.TOO_FEW),
    ],
)
def test_alike_is_judged_by_an_interval(twin_ms: tuple[float, ...], verdict: Alike) -> None:
    """Inside the margin, outside, across its edge; five rounds are too few."""
    real = path_of(20.0, 20.1, 19.9, 20.0, 20.1, 19.9)
    assert verdict is rtt_alike(real, path_of(*twin_ms))


def test_a_short_path_has_a_margin_in_milliseconds() -> None:
    """A tenth of 0.2 ms is less than what waking a process takes."""
    assert rtt_alike(path_of(*[0.2, 0.21] * 3), path_of(*[0.5, 0.51] * 3)) is Alike.YES


def test_paths_are_found_whatever_end_is_named_first() -> None:
    """And what only one of the files has is in no row."""
    real = file_of(path_of(*[5.0] * 6), path_of(*[7.0] * 6, ends=("a", "c")))
    twin = file_of(path_of(*[5.2, 5.1] * 3, ends=("b", "a")), name="mine-twin")
    found = paths_beside(real, twin)
    assert [row[0] for row in found.rows] == ["a - b"]
    assert found.rows[0][3].startswith("+0.15 (+0.")
    assert found.sentences == ("1 of 1 paths have the real round trip within 10% or 0.5 ms",)


def test_too_few_rounds_are_said() -> None:
    """No interval is printed, and the sentence says how many it takes."""
    found = paths_beside(file_of(path_of(*[5.0] * 6)), file_of(path_of(5.0, 5.1)))
    assert found.rows[0][2:5] == ("5.05 (too few rounds: 2)", "too few: 2 of 6", "too few")
    assert found.sentences[1] == "1 paths are not judged: an interval takes 6 rounds of each"


def test_a_path_without_answers_is_no_figure() -> None:
    """In words, and not judged."""
    dead = RecordedPath("a", "b", (PathRound(25, 0, None, None),))
    assert rtt_in_words(dead) == "no answer"
    assert rtt_alike(path_of(*[5.0] * 6), dead) is Alike.TOO_FEW


def test_files_without_a_common_path_are_refused() -> None:
    """With the way out."""
    with pytest.raises(InputError, match="have no path in common; name a file of the real testbed"):
        paths_beside(file_of(path_of(5.0)), file_of(path_of(5.0, ends=("a", "c"))))


def test_two_files_on_the_command_line(tmp_path: Path) -> None:
    """A table and its sentence; a file beside a folder is refused."""
    for name in ("real", "twin"):
        (tmp_path / f"{name}.json").write_bytes(file_of(path_of(*[5.0] * 6), name=name).to_json())
    files = [str(tmp_path / f"{name}.json") for name in ("real", "twin")]
    done = CliRunner().invoke(main, ["--fidelity", *files])
    assert done.exit_code == 0, done.output
    assert "1 of 1 paths have the real round trip" in done.output
    mixed = CliRunner().invoke(main, ["--fidelity", files[0], str(tmp_path)])
    assert (mixed.exit_code, "are a file and a folder" in mixed.output) == (2, True)


REAL = {"lab": None, "testbed": {"nodes": [{"name": "worker1", "kind": "metal"}]}}


def test_two_runs_on_the_command_line(tmp_path: Path) -> None:
    """Other machines and another engine are no obstacle here: they are said, and every cell has its ratio."""
    real, twin = run(tmp_path / "real", REAL), run(tmp_path / "twin", engine="nfqueue")
    done = CliRunner().invoke(main, ["--fidelity", str(real), str(twin)])
    assert done.exit_code == 0, done.output
    assert "kinds of nodes metal against netns" in done.output
    assert "engine netem against nfqueue" in done.output
    assert "904.5 (8)" in done.output
    said = "of 1 pairs that the real run decides the twin decides 1 alike, 0 the other way round, 0 not"
    assert said in done.output


def test_runs_that_asked_different_questions_are_refused(tmp_path: Path) -> None:
    """Another length of a flow is another question on a twin, too."""
    twin = run(tmp_path / "twin", {"profile": {**PROFILE, "duration_s": 1}})
    done = CliRunner().invoke(main, ["--fidelity", str(run(tmp_path / "real", REAL)), str(twin)])
    assert done.exit_code == 2
    assert (
        "--fidelity: the runs measured different things: seconds per repetition 10 against 1" in done.output
    )
