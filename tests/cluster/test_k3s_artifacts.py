"""Release files fetched by the controller: from a server over TLS, kept only with the published checksum."""

import contextlib
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.stand_ins import Quiet, make_certificate, over_tls
from vpnmesh.cluster.artifacts import Artifact
from vpnmesh.errors import ToolError, UnavailableError
from vpnmesh.host.binaries import Arch
from workflows.run.artifacts import artifact_folder, fetched

CONTENT = bytes(range(256)) * 8192
SUM = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()

pytestmark = pytest.mark.slow


class Cutting(Quiet):
    """Promises the whole file and sends half of it."""

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        """Answer, and hang up in the middle."""
        if not self.path.endswith("k3s"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2])


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release on disk, a certificate that is trusted, and an empty cache."""
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "k3s").write_bytes(CONTENT)
    (folder / "sums.txt").write_text(f"{OTHER}  k3s-arm64\n{SUM}  k3s\n")
    monkeypatch.setenv("VPNMESH_CACHE_DIR", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def vendor(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Artifact]:
    """The artifact as a server gives it."""
    with _serving(served, tmp_path, monkeypatch, Quiet) as artifact:
        yield artifact


@contextlib.contextmanager
def _serving(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Quiet]
) -> Iterator[Artifact]:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    with over_tls(certificate, functools.partial(kind, directory=str(folder))) as where:
        yield _artifact(where)


def _artifact(where: str) -> Artifact:
    base = f"https://{where}"
    return Artifact(
        "k3s",
        "v1.2.3+k3s1",
        Arch.AMD64,
        "k3s",
        f"{base}/k3s",
        f"{base}/sums.txt",
        "/usr/local/bin/k3s",
        "k3s",
    )


def test_fetched_once(vendor: Artifact, served: Path) -> None:
    """The second time it comes from the cache, though the server has lost it."""
    first = fetched(vendor)
    (served / "k3s").unlink()
    assert fetched(vendor) == first == (artifact_folder(vendor) / "k3s", SUM)
    assert first[0].read_bytes() == CONTENT


def test_a_cache_that_was_changed_is_not_believed(vendor: Artifact) -> None:
    """Half a file in the cache is fetched anew."""
    path, _ = fetched(vendor)
    path.write_bytes(CONTENT[:1000])
    assert fetched(vendor)[0].read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused(vendor: Artifact, served: Path) -> None:
    """Both sums are said, and nothing is left that could be taken for the file."""
    (served / "sums.txt").write_text(f"{OTHER}  k3s\n")
    with pytest.raises(
        ToolError, match=f"k3s of k3s v1.2.3.k3s1 .amd64. has SHA-256 {SUM}, published is {OTHER}"
    ):
        fetched(vendor)
    assert list(artifact_folder(vendor).iterdir()) == []


def test_a_file_that_the_list_lacks(vendor: Artifact, served: Path) -> None:
    """Without a published checksum nothing is fetched."""
    (served / "sums.txt").write_text(f"{OTHER}  k3s-arm64\n{OTHER}  k3s-armhf\n")
    with pytest.raises(ToolError, match="no one SHA-256 of k3s"):
        fetched(vendor)


def test_a_cut_download(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much came is said, and no half is left."""
    with (
        _serving(served, tmp_path, monkeypatch, Cutting) as artifact,
        pytest.raises(ToolError, match=f"{len(CONTENT) // 2} of {len(CONTENT)} bytes came"),
    ):
        fetched(artifact)
    assert list(artifact_folder(artifact).iterdir()) == []


def test_no_way_to_the_vendor(served: Path) -> None:
    """Said with both ways out: the cache's folder, and the nodes' PATH."""
    artifact = _artifact("127.0.0.1:9")
    with pytest.raises(UnavailableError) as caught:
        fetched(artifact)
    said = str(caught.value)
    assert str(artifact_folder(artifact)) in said
    assert "k3s on the nodes' PATH" in said


def test_what_a_person_put_into_the_cache_is_taken(served: Path) -> None:
    """As the message says it: the file, and what sha256sum prints of it."""
    artifact = _artifact("127.0.0.1:9")
    folder = artifact_folder(artifact)
    folder.mkdir(parents=True)
    (folder / "k3s").write_bytes(CONTENT)
    (folder / "k3s.sha256").write_text(f"{SUM}  k3s\n")
    assert fetched(artifact) == (folder / "k3s", SUM)
