"""kill -9 of a controller on real nodes, at moments drawn by chance: --resume ends the run, and nothing is left.

The moments are those of tests/crash, which has all of them on recorded nodes; here a few are tried on the lab, which
stays up as real machines would. Teardown from the run's directory alone is tried here too.
"""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import tasks
from tests.crash.test_every_point import BEFORE_A_MANIFEST, CELLS, chosen, table
from workflows.run import provenance
from workflows.run.hosts import run_on
from workflows.run.site import Site
from workflows.run.store import RunFiles
from workflows.teardown import main as teardown

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
MATRIX = (
    *("--scenarios", "wireguard-direct,native-1450", "--conditions", "none,loss-1pct", "--tests", "ping"),
    *("--repetitions", "1", "--duration", "1", "--blocks", "1"),
)
SEED, POINTS = 15, 5
DEADLINE_S = 300


def controller(place: Path, *argv: str, kill_at: int | None = None) -> int:
    """Run full_matrix to its end, or to that moment; its exit code."""
    at = "none" if kill_at is None else str(kill_at)
    with (place / "said.txt").open("a") as said:
        return subprocess.run(
            (sys.executable, "-m", "tests.crash.controller", "live", str(place / "moments"), at, "--", *argv),
            cwd=ROOT,
            stdout=said,
            stderr=said,
            timeout=DEADLINE_S,
            check=False,
        ).returncode


@pytest.fixture(scope="module")
def whole(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed, in its folder."""
    del site
    place = tmp_path_factory.mktemp("whole")
    assert controller(place, *MATRIX, "--out", str(place / "run")) == 0, (place / "said.txt").read_text()
    return place


def points(whole: Path) -> list[int]:
    """Some moments at which a run is there to be gone on with."""
    every = [one for one in chosen((whole / "moments").read_text().splitlines()) if one >= BEFORE_A_MANIFEST]
    return sorted(random.Random(SEED).sample(every, POINTS))


@pytest.mark.parametrize("number", range(POINTS))
def test_a_killed_run_is_ended_by_resume_and_leaves_nothing(
    number: int, whole: Path, site: Site, tmp_path: Path
) -> None:
    """Same cells and repetitions as without a kill, none failed, and the nodes are as before the first session."""
    before, at = provenance.footprint(site), points(whole)[number]
    run = tmp_path / "run"
    assert controller(tmp_path, *MATRIX, "--out", str(run), kill_at=at) == -9
    assert controller(tmp_path, "--resume", str(run)) == 0, (tmp_path / "said.txt").read_text()
    assert table(run).select(CELLS).equals(table(whole / "run").select(CELLS)), at
    assert provenance.compare_footprints(before, provenance.footprint(site)) == [], at
    assert RunFiles(run).manifest().left_nothing


def clean(*arguments: str) -> Result:
    """`vpnmesh teardown` with these arguments."""
    return CliRunner().invoke(teardown, arguments)


def forwarding(site: Site) -> set[str]:
    """Whether members forward, as a node without us does not."""
    found = run_on(site.nr, site.k8s, tasks.read_sysctls, keys=("net.ipv4.ip_forward",))
    return {one.result["net.ipv4.ip_forward"] for one in found.values()}


def test_teardown_cleans_from_the_run_alone(whole: Path, site: Site, tmp_path: Path) -> None:
    """Its inventory is gone since; what is not ours stays; a second time there is nothing; a node is gone meanwhile."""
    before, own = provenance.footprint(site), forwarding(site)
    folder, run = tmp_path / "inventory", tmp_path / "runs" / "run"
    run.parent.mkdir()
    shutil.copytree(ROOT / "inventory" / "lab", folder)
    moments = (whole / "moments").read_text().splitlines()
    lines = [n for n, moment in enumerate(moments) if moment == "journal.jsonl: written"]
    # the first repetition is on record: VPN or pods, firewall policy and settings are on the nodes
    at = next(n for n in lines if n > moments.index("ping.txt: before"))
    assert controller(tmp_path, "--inventory", str(folder), *MATRIX, "--out", str(run), kill_at=at) == -9
    run_on(site.nr, site.k8s, tasks.run_command, argv=("ip", "link", "add", "theirs0", "type", "veth"))
    shutil.rmtree(folder)
    assert provenance.compare_footprints(before, provenance.footprint(site)) != []
    shown = clean("--all", "--runs", str(run.parent), "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert "would be removed" in shown.output
    assert "would be set back" in shown.output
    gone = broken(run)
    part = clean("--run", str(run))
    assert part.exit_code == 1, part.output
    assert "relay: cannot be reached: " in part.output
    assert "nothing of vpnmesh is left" not in part.output
    mended(run, gone)
    whole_clean = clean("--all", "--runs", str(run.parent))
    assert (whole_clean.exit_code, "nothing of vpnmesh is left" in whole_clean.output) == (0, True), (
        whole_clean.output
    )
    again = clean("--run", str(run))
    assert (again.exit_code, again.output) == (0, f"{run}:\nnothing of vpnmesh is left\n")
    assert clean("--all", "--runs", str(run.parent)).output == "nothing of vpnmesh is left\n"
    left = provenance.compare_footprints(before, provenance.footprint(site))
    # a pair of interfaces, the second one named by the kernel
    assert len([line for line in left if line.endswith("interfaces: left behind:  theirs0")]) == len(site.k8s)
    assert len(left) == 2 * len(site.k8s), left
    assert forwarding(site) == own
    run_on(site.nr, site.k8s, tasks.run_command, argv=("ip", "link", "delete", "theirs0"))


def broken(run: Path) -> str:
    """Give the relay an address at which nobody answers, as if it were gone; returns its own."""
    text = (run / "manifest.json").read_text()
    (run / "manifest.json").write_text(text.replace("198.18.213.14", "198.18.213.99"))
    return text


def mended(run: Path, text: str) -> None:
    """The relay is back."""
    (run / "manifest.json").write_text(text)
