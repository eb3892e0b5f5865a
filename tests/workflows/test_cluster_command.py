"""The cluster command without machines: its record, what is refused, and what is said of what stands."""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.cluster.stand_in import INSTALLER, NAME
from vpnmesh.cluster import INSTALLERS
from vpnmesh.errors import CheckError, InputError, VpnmeshError
from vpnmesh.host.sysctls import REDIRECTS
from vpnmesh.lab.lifecycle import find
from vpnmesh.model import Scenario, Testbed
from vpnmesh.study.scenarios import scenario_named
from workflows import cluster, growth, teardown
from workflows.run import cluster_record, provenance, standing_cluster
from workflows.run.cluster_record import (
    ClusterFiles,
    ClusterPhase,
    ClusterRecord,
    begun,
    forget_cluster,
    refuse_another,
    refuse_beside_cluster,
    written,
)
from workflows.run.cluster_shown import StageLines, how_to_use
from workflows.run.progress import make_console
from workflows.run.site import Site
from workflows.run.standing_cluster import Wanted, end, raise_standing, without_repetition
from workflows.run.teardown import Left, Removal


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterFiles]:
    """The state directory of a user who has none yet, no lab, and the stand-in among the installers."""
    monkeypatch.setenv("VPNMESH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("VPNMESH_LAB_DIR", str(tmp_path / "lab"))
    INSTALLERS[NAME] = INSTALLER
    yield ClusterFiles.here()
    del INSTALLERS[NAME]


def record_of(bed: Testbed, scenario: str = "headscale-direct", **changes: Any) -> ClusterRecord:
    """One that stands on machines that are no lab."""
    stands = begun(scenario_named(scenario), NAME, "lab", bed)
    usual: dict[str, Any] = {"phase": ClusterPhase.STANDING, "lab": "", "lab_is_ours": False}
    return replace(stands, **usual | changes)


def call(*arguments: str) -> Result:
    """`python -m workflows.cluster`, in this process."""
    return CliRunner().invoke(cluster.main, arguments)


BAD = {
    "up --scenario nonsense": "--scenario: unknown scenario 'nonsense'; known are: native-1450",
    "up --cluster nonsense": "--cluster: unknown installer 'nonsense'; known are: ",
    "up --cluster pods": "--cluster: 'pods' is no cluster; known are: ",
    "up --inventory nowhere": "built in are: baremetal, lab",
    "up --kubeconfig {there}": "is there already; name another file",
    "up --kubeconfig {nowhere}/kubeconfig": "--kubeconfig: no file can be made in ",
    "up --scenario-file {nowhere}": "nowhere",
    "down --scenario x": "No such option",
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(case: str, files: ClusterFiles, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    done = call(*case.format(there=tmp_path / "there", nowhere=tmp_path / "nowhere").split())
    assert done.exit_code == 2, done.output
    assert BAD[case] in done.output
    assert "Traceback" not in done.output
    assert (files.read(), find()) == (None, None)


def test_nothing_stands(files: ClusterFiles) -> None:
    """`status` says so with exit code 3, also as JSON; `down` is done."""
    assert (call("status").exit_code, call("status").output) == (3, "no cluster stands\n")
    assert json.loads(call("status", "--json").stdout)["ready"] is False
    assert call("down").exit_code == 0


def test_the_record_is_read_as_it_was_written(files: ClusterFiles, bed: Testbed, tmp_path: Path) -> None:
    """With the scenario whole, so that one of a file is known later too; nobody else reads it."""
    record = record_of(bed, over={"worker1": ("vmwg0", bed.server.underlay)}, published=(("a", "b", "c"),))
    before = os.umask(0)
    try:
        record = written(record, tmp_path / "kubeconfig", "secret")
        with files.alone("raising"):
            files.write(record)
            files.keep_log("worker1-kubelet.log", "words")
    finally:
        os.umask(before)
    assert files.read() == record
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "kubeconfig", files.path, *files.path.rglob("*"))
    }
    folders = {files.path.name: 0o700, "logs": 0o700}
    names = ("kubeconfig", "cluster.json", "lock", "worker1-kubelet.log")
    assert modes == {**dict.fromkeys(names, 0o600), **folders}
    # two digests of one file have nothing in common
    assert hashlib.sha256(b"secret").hexdigest() not in record.kubeconfig_digest
    assert written(record, tmp_path / "kubeconfig", "secret").kubeconfig_digest != record.kubeconfig_digest


def test_forgetting_removes_only_its_own_kubeconfig(
    files: ClusterFiles, bed: Testbed, tmp_path: Path
) -> None:
    """One that somebody wrote over since stays."""
    record = written(record_of(bed), tmp_path / "kubeconfig", "ours")
    files.write(record)
    (tmp_path / "kubeconfig").write_text("theirs")
    files.forget(record)
    assert (tmp_path / "kubeconfig").read_text() == "theirs"
    files.forget(written(record, tmp_path / "kubeconfig", "ours"))
    assert not (tmp_path / "kubeconfig").exists()
    assert files.read() is None


def test_a_file_that_is_no_record_is_named(files: ClusterFiles) -> None:
    files.path.mkdir(parents=True)
    files.record.write_text("{}")
    done = call("status")
    assert done.exit_code == 2
    assert f"{files.record}: no record of a cluster" in done.output


def test_a_state_folder_that_cannot_be_is_named(files: ClusterFiles) -> None:
    """Before anything is touched."""
    files.path.parent.mkdir(parents=True)
    files.path.write_text("a file")
    done = call("up", "--cluster", NAME)
    assert done.exit_code == 2
    assert f"{files.path}: cannot be written: " in done.output
    assert "VPNMESH_STATE_DIR" in done.output


def test_a_full_disk_does_not_keep_what_was_made(
    files: ClusterFiles, bed: Testbed, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removal goes on where the record cannot be written."""
    deploying = Deploying(monkeypatch, None)
    monkeypatch.setattr(cluster_record, "write_atomic", full)
    end(site, record_of(bed), files)
    assert deploying.called == ["take_off"]


def full(*_: object) -> None:
    """As the system says it."""
    raise OSError(28, "No space left on device")


def test_one_at_a_time(files: ClusterFiles) -> None:
    """The second is told who the first is."""
    with files.alone("up"):
        assert files.busy()
        with (
            pytest.raises(CheckError, match=r"another process is at it: up, process \d+"),
            files.alone("down"),
        ):
            pass
    assert not files.busy()


def test_another_cluster_is_refused_by_name(files: ClusterFiles, bed: Testbed) -> None:
    """The very same is found, another scenario is refused, and so is what was interrupted."""
    assert refuse_another(files, record_of(bed)) is None
    files.write(record_of(bed))
    assert refuse_another(files, record_of(bed)) == files.read()
    with pytest.raises(
        InputError, match=f"{NAME} over headscale-direct stands already.*vpnmesh cluster down"
    ):
        refuse_another(files, record_of(bed, "native-1450"))
    files.write(record_of(bed, phase=ClusterPhase.RAISING))
    with pytest.raises(InputError, match="killed; vpnmesh cluster down"):
        refuse_another(files, record_of(bed))


@pytest.mark.parametrize("phase", [ClusterPhase.RAISING, ClusterPhase.REMOVING])
def test_what_was_interrupted_is_said(phase: ClusterPhase, files: ClusterFiles, bed: Testbed) -> None:
    """While somebody is at it, that is said instead."""
    files.write(record_of(bed, phase=phase))
    done = call("status")
    assert (done.exit_code, done.output) == (
        3,
        f"{NAME} over headscale-direct: {phase} was interrupted; clean up: vpnmesh cluster down\n",
    )
    with files.alone("up"):
        assert "(up, process " in call("status").output


def test_a_cluster_that_went_with_its_lab_is_forgotten(
    files: ClusterFiles, bed: Testbed, tmp_path: Path
) -> None:
    """`status` says that the lab is gone; `up` finds nothing in its way, `down` nothing to take down."""
    gone = record_of(bed, lab=str(tmp_path / "lab"), lab_pid=1)
    files.write(gone)
    assert "which is not up any more" in call("status").output
    refuse_beside_cluster(bed, "--inventory lab")
    assert refuse_another(files, record_of(bed)) is None
    files.write(gone)
    done = call("down")
    assert (done.exit_code, files.read()) == (0, None)
    assert done.output.endswith("is taken down, nothing is left; the lab had been ended before\n")


def test_no_run_starts_beside_a_cluster(files: ClusterFiles, bed: Testbed) -> None:
    """On other machines it may; what is left by teardown's word is forgotten."""
    files.write(record_of(bed))
    with pytest.raises(
        InputError, match=r"stands on these nodes \(stand-in over headscale-direct\); take it"
    ):
        refuse_beside_cluster(bed, "--inventory lab")
    done = CliRunner().invoke(growth.main, ["--scenario", "nebula-direct", "--members", "3"])
    assert done.exit_code == 2
    assert "vpnmesh cluster down" in done.output
    elsewhere = replace(
        bed, nodes=tuple(replace(node, management=f"{node.name}.example") for node in bed.nodes)
    )
    refuse_beside_cluster(elsewhere, "--inventory other")
    forget_cluster(elsewhere)
    assert files.read()
    forget_cluster(bed)
    assert files.read() is None


SETTINGS = {"worker1": {REDIRECTS: "1"}}


def test_teardown_sets_back_what_nodes_had_before_a_cluster(
    files: ClusterFiles, bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own step, so that a dry run shows it; a file that is no record keeps nothing from being taken away."""
    known: list[Left] = []

    def sweep(_site: Site, left: Left, *, dry_run: bool) -> list[Removal]:
        assert dry_run
        known.append(left)
        return []

    monkeypatch.setattr(teardown, "runs_going_on", lambda _site: {})
    monkeypatch.setattr(teardown, "at_home", lambda _site, **_: [])
    monkeypatch.setattr(teardown, "sweep", sweep)
    monkeypatch.setattr(teardown, "forget_leases", lambda *_: {})
    arguments = ["--inventory", "lab", "--dry-run"]
    files.write(record_of(bed, settings=SETTINGS))
    assert CliRunner().invoke(teardown.main, arguments).exit_code == 0
    files.record.write_text("{}")
    assert CliRunner().invoke(teardown.main, arguments).exit_code == 0
    assert [dict(left.sysctls) for left in known] == [SETTINGS, {}]


class Deploying:
    """In place of nodes: what is called, and where it fails."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, failing: BaseException | None, complaint: str = ""
    ) -> None:
        self.called: list[str] = []
        self.put_back: list[object] = []
        self.failing, self.complaint = failing, complaint
        for name in ("require", "refuse_other_clusters", "save_logs", "_stood_up", "prove_pods"):
            monkeypatch.setattr(standing_cluster, name, self.named(name))
        monkeypatch.setattr(provenance, "footprint", lambda _site: {"worker1": {"files": ["a"]}})
        monkeypatch.setattr(standing_cluster, "settings_now", lambda _site, _keys: SETTINGS)
        monkeypatch.setattr(
            standing_cluster, "put_settings_back", lambda _site, former: self.put_back.append(former)
        )
        monkeypatch.setattr(standing_cluster, "refuse_foreign", lambda _site: None)
        monkeypatch.setattr(standing_cluster, "deploy", self.deploy)
        monkeypatch.setattr(standing_cluster, "take_off", self.take_off)
        monkeypatch.setattr(standing_cluster, "leased", lambda *_, **__: contextlib.nullcontext())
        monkeypatch.setattr(standing_cluster, "forget_leases", lambda *_: {})

    def named(self, name: str) -> Any:
        """Note that it was called."""
        return lambda *_arguments, **_named: self.called.append(name)

    def deploy(self, site: Site, solution: object, scenario: Scenario) -> None:
        """Fail, as asked for."""
        self.called.append("deploy")
        assert self.failing
        raise self.failing

    def take_off(self, site: Site, solution: object, mesh: object) -> None:
        """Remove everything, but for what is complained of."""
        self.called.append("take_off")
        if self.complaint:
            site.complaints += [f"leave_cluster: {self.complaint}", f"leave_mesh: {self.complaint}"]


@pytest.fixture
def site(bed: Testbed) -> Site:
    """Machines that nobody asks."""
    return Site(None, bed, installer=INSTALLER)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "failing", [CheckError("path", "not at all"), KeyboardInterrupt()], ids=["error", "Ctrl-C"]
)
def test_what_was_made_is_taken_off_again(
    failing: BaseException, files: ClusterFiles, bed: Testbed, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends it; the record is there meanwhile and gone afterwards, daemons' logs are kept of an error."""
    deploying = Deploying(monkeypatch, failing)
    wanted = Wanted(record_of(bed, phase=ClusterPhase.RAISING), files, files.kubeconfig)
    with pytest.raises(type(failing)):
        raise_standing(site, wanted)
    logs = ["save_logs"] if isinstance(failing, VpnmeshError) else []
    assert deploying.called == ["require", "refuse_other_clusters", "deploy", *logs, "take_off"]
    assert deploying.put_back == [SETTINGS]
    assert (files.read(), site.take_complaints()) == (None, [])


def test_what_cannot_be_taken_off_is_said_once_and_remembered(
    files: ClusterFiles, bed: Testbed, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record says that it was being removed; `end` goes on with it, and then nothing stands."""
    deploying = Deploying(monkeypatch, CheckError("node", "worker2 is gone"), "worker2: no SSH: timed out")
    wanted = Wanted(record_of(bed, phase=ClusterPhase.RAISING), files, files.kubeconfig)
    with pytest.raises(CheckError):
        raise_standing(site, wanted)
    assert site.take_complaints() == ["worker2: no SSH: timed out"]
    there = files.read()
    assert there
    assert there.phase is ClusterPhase.REMOVING
    deploying.complaint = ""
    assert (end(site, there, files), files.read()) == ([], None)


def test_nothing_is_touched_where_something_is_in_the_way(
    files: ClusterFiles, bed: Testbed, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's cluster, for example: no step of removal either."""
    deploying = Deploying(monkeypatch, None)

    def refuse(_site: Site) -> None:
        raise CheckError("cluster", "worker1 has process k3s")

    monkeypatch.setattr(standing_cluster, "refuse_other_clusters", refuse)
    with pytest.raises(CheckError, match="worker1 has process k3s"):
        raise_standing(site, Wanted(record_of(bed), files, files.kubeconfig))
    assert (deploying.called, files.read()) == (["require"], None)


def test_what_differs_from_before_is_said(
    files: ClusterFiles, bed: Testbed, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record goes all the same: nothing more could be done by it."""
    Deploying(monkeypatch, None)
    left = end(site, record_of(bed, footprint={"worker1": {"files": []}}), files)
    assert (left, files.read()) == (["worker1: files: left behind: a"], None)


def test_complaints_are_said_once() -> None:
    said = ["leave_mesh: worker2: no SSH", "detach_pods: worker2: no SSH", "left", "left"]
    assert without_repetition(said) == ["worker2: no SSH", "left"]


def test_every_stage_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Once it is done, with its seconds; those of an installer by their own names, the whole of them by none."""
    lines = StageLines(make_console())
    with lines.shown():
        for phase in ("ready", "cluster", "cluster keys", "cluster ready"):
            lines(phase, None)
            lines(phase, 1.25)
    assert capsys.readouterr().out.splitlines() == [
        "   1.250 s  every pair has its path, every member its address",
        "   1.250 s  on these addresses, Kubernetes: keys",
        "   1.250 s  all nodes are Ready, all measured pods run",
    ]


@pytest.mark.parametrize(("tunnel", "policy"), [("", "allow-all"), ("ssh -N x", "block-udp")])
def test_what_a_person_needs_is_told(tunnel: str, policy: str, bed: Testbed) -> None:
    """The way to the API server, and that rules of a firewall end by themselves, where there are any."""
    name = {"allow-all": "headscale-direct", "block-udp": "headscale-relay"}[policy]
    over = {bed.master.name: ("tailscale0", bed.master.underlay)}
    said = "\n".join(
        how_to_use(record_of(bed, name, tunnel=tunnel, over=over, seconds={"ready": 2.0}), bed.master.name)
    )
    assert f"https://{bed.master.underlay}:6443" in said
    assert ("ssh -N x" in said) is bool(tunnel)
    assert ("end by themselves" in said) is (policy != "allow-all")
    assert "after 2.0 s" in said
