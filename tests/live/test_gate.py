"""A VPN's release before the gate on real packets: a far worse one is red, the same one again is green."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 240
# the release's own program, stopped for four of five moments while it carries packets
WORSE = """#!/bin/sh
case "$*" in *-config*)
  (while kill -STOP $$ && sleep 0.04 && kill -CONT $$; do sleep 0.01; done 2>/dev/null) & ;;
esac
exec {real} "$@"
"""
# the worse release keeps less than a tenth; nothing that a busy machine does to the same program comes near
GATE = "margin_pct: 75\ncertainty: 0.95\n"


def said_by(*argv: str) -> subprocess.CompletedProcess[str]:
    """A command as its users run it."""
    command = (sys.executable, "-m", *argv)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


@pytest.fixture
def folder(root: None) -> Iterator[Path]:
    """Where the nodes look for the release: a folder that they all see."""
    del root
    with tempfile.TemporaryDirectory(dir="/opt", prefix="vpnmesh-test-gate-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def measured(release: Path, program: str, run: Path) -> Path:
    """A short run of the release with this program in its folder."""
    (release / "nebula").write_text(program)
    (release / "nebula").chmod(0o755)
    file = release / "release.yaml"
    file.write_text(f"candidate: {{variant_of: nebula-direct, program_folder: {release}}}\n")
    done = said_by(
        "workflows.full_matrix",
        *("--scenario-file", str(file), "--scenarios", "candidate", "--out", str(run)),
        *("--conditions", "none", "--tests", "tcp", "--repetitions", "6", "--duration", "1"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return run


def gated(before: Path, after: Path) -> tuple[int, str]:
    """The gate's exit code, and the mark of the candidate in JUnit ("" = passed)."""
    top = after.parents[1]
    gate, xml = top / "gate.yaml", top / "gate.xml"
    gate.write_text(GATE)
    done = said_by(
        "workflows.report", "--compare", str(before), str(after), "--gate", str(gate), "--junit", str(xml)
    )
    (case,) = parse(xml).iter("testcase")
    assert case.get("name") == "candidate none tcp", done.stdout
    return done.returncode, " ".join(part.tag for part in case if part.tag != "system-out")


@pytest.mark.usefixtures("place")
def test_a_worse_release_is_red_and_the_same_again_is_green(folder: Path, tmp_path: Path) -> None:
    """The worse one keeps far less than a quarter; the history says the same of it."""
    (tmp_path / "runs").mkdir()
    real = shutil.which("nebula")
    same = f'#!/bin/sh\nexec {real} "$@"\n'
    before = measured(folder, same, tmp_path / "runs" / "1")
    assert gated(before, measured(folder, same, tmp_path / "runs" / "2")) == (0, "")
    assert gated(before, measured(folder, WORSE.format(real=real), tmp_path / "runs" / "3")) == (1, "failure")
    told = said_by(
        "workflows.report",
        *("--history", str(tmp_path / "runs"), "--gate", str(tmp_path / "gate.yaml")),
        *("--out", str(tmp_path / "out")),
    )
    assert told.returncode == 1, told.stdout + told.stderr
    assert "worse: candidate none tcp" in told.stdout
