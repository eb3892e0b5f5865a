"""Scenarios of a user's file on real packets: variants, NAT, their own programs, and a run that goes on without it."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import tasks
from vpnmesh.errors import CheckError, UnavailableError
from vpnmesh.solutions import solution_named
from vpnmesh.study.scenarios import BUILT_IN, Catalogue
from workflows.run.hosts import run_on
from workflows.run.provision import provisioned
from workflows.run.requirements import require
from workflows.run.site import Site

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 240
CUT_S = 25.0
"""How long a mesh that cannot stand is waited for: several times what one that can needs."""
# without the variable it would not go, and there would be no mesh
PROGRAM = """#!/bin/sh
[ "$1" = --version ] && {{ echo "wireguard-go v9.9.9"; exit; }}
[ "$VPNMESH_TRIED" = "yes, it was" ] || exit 1
exec {real} "$@"
"""

ENVIRONMENT = "tr '\\0' '\\n' < /proc/$(cat /run/vpnmesh/nebula.pid)/environ"


def matrix(*arguments: str) -> subprocess.Popen[str]:
    """full_matrix, as its users run it."""
    return subprocess.Popen(
        (sys.executable, "-m", "workflows.full_matrix", *arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def catalogue(text: str) -> Catalogue:
    """What ships, and this file."""
    return BUILT_IN.with_file(text.encode(), "mine.yaml")


@pytest.fixture
def folder(root: None) -> Iterator[Path]:
    """A wireguard-go of our own, in a folder that the lab's nodes see, too: each has a /tmp for itself."""
    del root
    with tempfile.TemporaryDirectory(dir="/opt", prefix="vpnmesh-test-") as name:
        Path(name).chmod(0o755)
        program = Path(name) / "wireguard-go"
        program.write_text(PROGRAM.format(real=shutil.which("wireguard-go")))
        program.chmod(0o755)
        yield Path(name)


@pytest.mark.usefixtures("place")
def test_a_users_variants_are_measured_and_resumed_without_the_file(folder: Path, tmp_path: Path) -> None:
    """MTU, environment, version and folder reach the nodes; results and manifest hold them; the file may go."""
    file, run = tmp_path / "mine.yaml", tmp_path / "run"
    file.write_text(
        "wireguard-1420:\n"
        "  variant_of: wireguard-direct\n"
        "  tunnel_mtu: 1420\n"
        "  pod_mtu: 1370\n"
        "  environment: {VPNMESH_TRIED: 'yes, it was'}\n"
        f"  program_folder: {folder}\n"
        "  version: 9.9.9\n"
    )
    first = matrix(
        *("--scenario-file", str(file), "--conditions", "none", "--tests", "tcp"),
        *("--repetitions", "1", "--duration", "1", "--out", str(run)),
    )
    journal = run / "journal.jsonl"
    deadline = time.monotonic() + DEADLINE_S
    while not journal.exists() or '"repetition"' not in journal.read_text():
        assert first.poll() is None, first.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=DEADLINE_S)[0]
    assert first.returncode in (0, 130), said
    file.unlink()
    again = matrix("--resume", str(run))
    said = again.communicate(timeout=DEADLINE_S)[0]
    assert again.returncode == 0, said
    rows = pl.read_parquet(run / "results.parquet")
    found = {row["scenario"]: row for row in rows.iter_rows(named=True)}
    assert list(dict.fromkeys(rows["scenario"])) in (
        ["wireguard-direct", "wireguard-1420"],
        ["wireguard-1420", "wireguard-direct"],
    )
    assert {row["outcome"] for row in found.values()} == {"measured"}, [r["reason"] for r in found.values()]
    assert found["wireguard-1420"]["data_plane"] == "userspace"
    manifest = json.loads((run / "manifest.json").read_text())
    kept = Catalogue.of_run(manifest, "manifest.json")
    mine = kept.named("wireguard-1420")
    assert (mine.pod_mtu, mine.tunnel_mtu, mine.variant_of) == (1370, 1420, "wireguard-direct")
    assert manifest["nodes"]["worker1"][f"{folder}/wireguard-go --version"] == "wireguard-go v9.9.9"
    assert said.index("wireguard-direct") < said.rindex("wireguard-1420")


def test_another_version_is_said_before_anything_is_touched(site: Site) -> None:
    """Node, both versions and the way out."""
    text = "old: {variant_of: nebula-direct, version: 0.9.9}\n"
    with pytest.raises(
        UnavailableError, match=r"^nebula is \d+\.\d.* on .*worker1.*; old wants 0\.9\.9 \(install"
    ):
        require(site, catalogue(text).named("old"))


def test_the_environment_is_that_of_the_daemons(site: Site) -> None:
    """As the kernel has it of each process, on every member; the value may hold blanks."""
    text = "tried: {variant_of: nebula-relay, environment: {VPNMESH_TRIED: a b}}\n"
    with provisioned(site, catalogue(text).named("tried")) as up:
        assert up.relay_share >= 0.9
        said = run_on(site.nr, site.k8s, tasks.run_command, argv=("sh", "-c", ENVIRONMENT))
        assert {host: "VPNMESH_TRIED=a b\n" in one.result for host, one in said.items()} == dict.fromkeys(
            site.k8s, True
        )
    assert site.take_complaints() == []


@pytest.mark.parametrize(
    ("base", "policy"),
    [("wireguard-direct", "tcp-443-only"), ("nebula-direct", "nat-endpoint-independent")],
)
def test_a_mesh_that_a_policy_cuts_fails_with_stage_path(
    base: str, policy: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy is on the firewall, and there is no figure but the pair and the path that it lacks.

    Static WireGuard over UDP cannot live on TCP 443 alone; two workers behind the NAT of one firewall have no direct
    path, for what they send to its outer addresses does not come back in.
    """
    wanted = catalogue(f"cut: {{variant_of: {base}, policy: {policy}}}\n").named("cut")
    monkeypatch.setattr(type(solution_named(wanted.solution)), "ready_s", CUT_S)
    with pytest.raises(CheckError) as caught, provisioned(site, wanted):
        pass
    assert caught.value.stage == "path"
    assert "not at all, wanted direct" in str(caught.value)
    assert site.take_complaints() == []


@pytest.mark.usefixtures("place")
def test_what_must_be_there_and_is_not_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    """Exit code 1 with one sentence, and no run directory; not required, it is a row, and the others are measured."""
    file, run = tmp_path / "mine.yaml", tmp_path / "run"
    file.write_text("elsewhere: {variant_of: wireguard-direct, program_folder: /nowhere/at/all}\n")
    options = [
        *("--scenario-file", str(file), "--scenarios", "native-1450,elsewhere", "--conditions", "none")
    ]
    options += ("--tests", "tcp", "--repetitions", "1", "--duration", "1", "--out", str(run))
    refused = matrix(*options, "--require", "elsewhere")
    said = refused.communicate(timeout=DEADLINE_S)[0]
    assert refused.returncode == 1, said
    assert (
        "error: required scenarios are unavailable here: elsewhere: no wireguard-go in /nowhere/at/all"
        in said
    )
    assert not run.exists()
    done = matrix(*options, "--require", "native-1450")
    said = done.communicate(timeout=DEADLINE_S)[0]
    assert done.returncode == 0, said
    assert "unavailable: elsewhere: no wireguard-go in /nowhere/at/all" in said
    assert "without elsewhere: 1 repetitions, estimated" in said
    results = pl.read_parquet(run / "results.parquet")
    assert set(results.select("scenario", "stage").rows()) == {
        ("native-1450", None),
        ("elsewhere", "unavailable"),
    }
