"""The scripts that nodes run, run here in a folder of the test's own: certificates and images."""

import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.laid_out import cluster_over, commands, moved, on_a_blank_node
from tests.needs import needs
from vpnmesh.cluster import pki
from vpnmesh.cluster.images import PAUSE, TOOLS, make
from vpnmesh.cluster.places import IMAGES, STATE
from vpnmesh.lab.roots import SEARCH
from vpnmesh.model import Testbed
from vpnmesh.plan import Text, reveal

pytestmark = pytest.mark.slow


def run(argv: tuple[str, ...], stdin: Text = "") -> str:
    """What it prints; CalledProcessError where it fails."""
    done = subprocess.run(argv, input=reveal(stdin), capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_the_authority_vouches_for_control_plane_and_nodes(bed: Testbed, tmp_path: Path) -> None:
    """For both ends of a connection, by cluster address; keys are readable by root alone."""
    authority, own = tmp_path / "authority", tmp_path / "pki"
    cluster, worker = cluster_over(bed), bed.client
    for command in commands(on_a_blank_node(pki.authority(cluster))):
        run(moved(command, STATE, tmp_path))
    for command in commands(on_a_blank_node(pki.keys(cluster, worker))):
        run(moved(command, STATE, tmp_path))
    requests = {(worker.name, f"{role}-request"): (own / f"{role}.csr").read_text() for role in pki.ROLES}
    signing = pki.signed(replace(cluster, published={**cluster.published, **requests}))
    for command in commands(on_a_blank_node(signing)):
        if any(word.startswith(f"{worker.name}-") for word in command.argv):
            run(moved(command, STATE, tmp_path), command.stdin)
    ca = str(authority / "ca.crt")
    for name, address in (
        (authority / "kube-apiserver.crt", cluster.address(bed.master)),
        (authority / "issued" / f"{worker.name}-kubelet.crt", cluster.address(worker)),
    ):
        for purpose in ("sslserver", "sslclient"):
            said = run(
                (
                    "openssl",
                    "verify",
                    "-CAfile",
                    ca,
                    "-purpose",
                    purpose,
                    "-verify_ip",
                    str(address),
                    str(name),
                )
            )
            assert said.endswith(": OK\n")
    subject = run(
        ("openssl", "x509", "-noout", "-subject", "-in", f"{authority}/issued/{worker.name}-kubelet.crt")
    )
    assert f"system:node:{worker.name}" in subject
    assert "system:nodes" in subject
    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.rglob("*.key")}
    assert modes
    assert set(modes.values()) == {0}
    assert not list(authority.rglob("extensions"))


def test_no_key_is_made_where_its_folder_was_removed(bed: Testbed, tmp_path: Path) -> None:
    """As by a teardown, while a killed controller's last command still runs."""
    cluster, gone = cluster_over(bed), tmp_path / "gone"
    for plan in (pki.authority(cluster), pki.keys(cluster, bed.client)):
        folder, script = commands(on_a_blank_node(plan))
        with pytest.raises(subprocess.CalledProcessError):
            run(moved(script, STATE, gone))
        assert not gone.exists()
        run(moved(folder, STATE, tmp_path / "there"))
        run(moved(script, STATE, tmp_path / "there"))


def test_an_image_is_not_made_where_its_folder_was_removed(tmp_path: Path) -> None:
    """As by a teardown, while a killed controller's last command still runs."""
    with pytest.raises(subprocess.CalledProcessError):
        run(moved(make(PAUSE), IMAGES, tmp_path / "gone"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("image", [PAUSE, TOOLS])
def test_the_same_files_make_the_same_image(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte; what it runs is in it, with the libraries that it loads."""
    monkeypatch.setenv("PATH", SEARCH)
    archives = []
    for place in (tmp_path / "a", tmp_path / "b"):
        place.mkdir()
        try:
            run(moved(make(image), IMAGES, place))
        except subprocess.CalledProcessError as error:
            needs("no program" not in error.stderr, error.stderr.strip())
            raise
        (archive,) = place.glob("*.tar")
        archives.append(archive)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as outer, tarfile.open(fileobj=outer.extractfile("./layer.tar")) as layer:
        names = set(layer.getnames())
    assert {"./bin/busybox", "./usr/bin/tini"} <= names
    if image == TOOLS:
        assert {"./usr/bin/iperf3", "./usr/bin/ping"} <= names
        assert any("libiperf" in name for name in names)
