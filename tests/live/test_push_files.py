"""Files pushed to real nodes over their SSH connections: whole or not at all, and taken back again."""

import functools
import hashlib
from pathlib import Path

import pytest
from nornir.core import Nornir

import tasks
from inventory.load import load
from tests.lab.stand_ins import Quiet, make_certificate, over_tls
from vpnmesh.cluster import installer_named
from vpnmesh.cluster.artifacts import Release, parse_releases
from vpnmesh.cluster.protocol import Cluster
from vpnmesh.errors import VpnmeshError
from vpnmesh.host.brought import LIST
from vpnmesh.host.pods import pod_network
from vpnmesh.lab.lifecycle import Lab
from vpnmesh.model import Testbed
from workflows.run.artifacts import bring_artifacts
from workflows.run.hosts import HostsFailedError, abort_connections, run_on
from workflows.run.site import Site

pytestmark = pytest.mark.live

TARGET = "/var/lib/vpnmesh/pushed/program"
SIZE = 24_000_000
WORKERS = ("worker1", "worker2")


@pytest.fixture
def nr(lab: Lab) -> Nornir:
    """Nornir on the lab, logged in as a user who needs sudo."""
    assert lab.user != "root"
    return load("lab")[0]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file that is too large for a command line, and whose bytes are of all kinds."""
    path = tmp_path / "program"
    path.write_bytes(hashlib.sha512(b"seed").digest() * (SIZE // 64))
    return path


def push(nr: Nornir, source: Path, sha256: str = "", **more: object) -> dict[str, bool]:
    """Push it to both workers; which of them changed."""
    wanted = sha256 or tasks.pushing.sha256_of(source)
    results = run_on(
        nr, WORKERS, tasks.push_file, source=source, target=TARGET, sha256=wanted, mode=0o755, **more
    )
    return {name: bool(result.changed) for name, result in results.items()}


def said(nr: Nornir, host: str, *argv: str) -> str:
    """What a command says there."""
    return str(run_on(nr, [host], tasks.run_command, argv=argv)[host].result)


def withdraw(nr: Nornir) -> set[bool]:
    """Take back what was brought; whether there was anything."""
    return {bool(one.changed) for one in run_on(nr, WORKERS, tasks.withdraw_files).values()}


def files_left(nr: Nornir) -> str:
    """Of pushing, on worker1."""
    return said(nr, "worker1", "sh", "-c", f"ls {LIST}* {TARGET}* 2> /dev/null; true").strip()


def test_pushed_once_and_taken_back(nr: Nornir, source: Path) -> None:
    """A dry run only shows it; then it is there, executable; a second time nothing changes; the end leaves nothing."""
    came: list[int] = []
    assert push(nr, source, dry_run=True) == {"worker1": True, "worker2": True}
    assert files_left(nr) == ""
    assert push(nr, source, told=lambda _host, sent: came.append(sent)) == {"worker1": True, "worker2": True}
    assert max(came) == source.stat().st_size
    mode_and_sum = said(nr, "worker2", "sh", "-c", f"stat -c %a {TARGET}; sha256sum < {TARGET}")
    assert mode_and_sum.split()[:2] == ["755", tasks.pushing.sha256_of(source)]
    assert push(nr, source) == {"worker1": False, "worker2": False}
    assert withdraw(nr) == {True}
    assert withdraw(nr) == {False}
    assert files_left(nr) == ""


def test_a_newer_file_takes_the_place_of_ours_only(nr: Nornir, source: Path) -> None:
    """Ours is replaced by another version; a file that somebody changed since is neither replaced nor removed."""
    push(nr, source)
    source.write_bytes(b"#!/bin/sh\n")
    assert push(nr, source) == {"worker1": True, "worker2": True}
    said(nr, "worker1", "sh", "-c", f"echo changed >> {TARGET}")
    source.write_bytes(b"#!/bin/sh\ntrue\n")
    with pytest.raises(
        HostsFailedError, match=r"worker1: /var/.*program is there already, and not from here"
    ):
        push(nr, source)
    withdraw(nr)
    assert files_left(nr) == TARGET
    said(nr, "worker1", "rm", TARGET)


def test_a_wrong_checksum(nr: Nornir, source: Path) -> None:
    """Both sums are said and no part of it stays."""
    with pytest.raises(
        HostsFailedError, match=r"did not arrive: what came has the SHA-256 [0-9a-f]{64}, not 0{64}"
    ):
        push(nr, source, "0" * 64)
    assert files_left(nr) == ""


def test_a_cut_transfer(nr: Nornir, source: Path) -> None:
    """The connection ends in the middle: the node is named, nothing half is left, and the next push succeeds."""

    def cut(_host: str, sent: int) -> None:
        if sent > SIZE // 3:
            abort_connections(nr)

    with pytest.raises(HostsFailedError, match="worker") as caught:
        push(nr, source, told=cut)
    assert all(isinstance(error, VpnmeshError) for error in caught.value.errors.values())
    assert TARGET not in files_left(nr).split()
    assert push(nr, source) == {"worker1": True, "worker2": True}
    withdraw(nr)
    assert files_left(nr) == ""


def test_a_disk_too_small(nr: Nornir, source: Path) -> None:
    """Seen before a byte is sent, with both sizes."""
    folder = str(Path(TARGET).parent)
    mount = f"mkdir -p {folder} && mount -t tmpfs -o size=8m tmpfs {folder}"
    for name in WORKERS:
        said(nr, name, "sh", "-c", mount)
    try:
        with pytest.raises(HostsFailedError, match=r"needs 56 MB free on its disk, which has 8 MB"):
            push(nr, source)
    finally:
        for name in WORKERS:
            said(nr, name, "umount", folder)


def test_a_disk_that_fills_up_meanwhile(nr: Nornir, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's own words say it, in one sentence, and nothing half is left."""
    folder = str(Path(TARGET).parent)
    monkeypatch.setattr("tasks.pushing.SPARE_BYTES", -SIZE)
    for name in WORKERS:
        said(nr, name, "sh", "-c", f"mkdir -p {folder} && mount -t tmpfs -o size=8m tmpfs {folder}")
    try:
        with pytest.raises(HostsFailedError, match=r"did not arrive: .*No space left on device"):
            push(nr, source)
        assert files_left(nr) == ""
    finally:
        for name in WORKERS:
            said(nr, name, "umount", folder)


def release_of(where: str) -> Release:
    """A program that no machine has on its PATH, from that server."""
    text = f"""
[k3s]
page = "https://vendor.invalid/"
paper = "v1.2.3"
current = "v4.5.6"
[k3s.files.program]
program = "vpnmesh-probe"
target = "/usr/local/bin/vpnmesh-probe"
names = {{ amd64 = "probe", arm64 = "probe" }}
url = "https://{where}/{{name}}"
sums = "https://{where}/sums.txt"
"""
    return parse_releases(text)["k3s"]


def test_nodes_that_lack_a_program_get_the_release(
    nr: Nornir, testbed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller fetches it once and gives it to the nodes without one; a node's own is left, and used."""
    body = b"#!/bin/sh\necho brought\n"
    (tmp_path / "probe").write_bytes(body)
    (tmp_path / "sums.txt").write_text(f"{hashlib.sha256(body).hexdigest()}  probe\n")
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    monkeypatch.setenv("VPNMESH_CACHE_DIR", str(tmp_path / "cache"))
    site, installer = Site(nr, testbed), installer_named("k3s")
    over = {node.name: (node.leg.interface, node.underlay) for node in testbed.k8s}
    cluster = Cluster(testbed, pod_network(testbed, 1450, over))
    own = "/usr/local/sbin/vpnmesh-probe"
    said(nr, "worker2", "sh", "-c", 'printf "#!/bin/sh\\necho own\\n" > "$1"; chmod 755 "$1"', "sh", own)
    with over_tls(certificate, functools.partial(Quiet, directory=str(tmp_path))) as where:
        monkeypatch.setattr("workflows.run.artifacts.pinned_releases", lambda: {"k3s": release_of(where)})
        bring_artifacts(site, installer, cluster)
    bring_artifacts(site, installer, cluster)
    answers = {name: said(nr, name, "vpnmesh-probe").strip() for name in site.k8s}
    assert answers == {testbed.master.name: "brought", "worker1": "brought", "worker2": "own"}
    taken = run_on(nr, site.k8s, tasks.withdraw_files)
    assert [name for name, one in taken.items() if one.changed] == [testbed.master.name, "worker1"]
    assert said(nr, "worker2", "vpnmesh-probe").strip() == "own"
    said(nr, "worker2", "rm", own)
