"""Programs out of container images, from a real registry on loopback: the pinned ones, whole, or none.

docker-registry serves over TLS what skopeo pushed; the images have the vendor's layout: several processors in one
list, several layers, links, files that a later layer replaced or removed.
"""

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.lab.stand_ins import Certificate, make_certificate, nothing_left, over_tls, program
from tests.needs import needs
from vpnmesh.errors import InputError, ToolError, UnavailableError
from vpnmesh.host.binaries import Arch, ContainerImage, ProgramPackage
from vpnmesh.lab import binaries
from vpnmesh.lab.__main__ import main
from vpnmesh.lab.binaries import clients, image, pins
from vpnmesh.lab.processes import descendants

pytestmark = pytest.mark.slow

OWN = Arch.parse(os.uname().machine)
OTHER = Arch.ARM64 if OWN is Arch.AMD64 else Arch.AMD64
NOBODY = "sha256:" + "5" * 64
PATH = "/go/bin/netbird-mgmt"
OCI = "application/vnd.oci.image"


@dataclass(frozen=True)
class Member:
    """A file of a layer; a link where `to` is given."""

    content: bytes = b""
    to: str = ""


@dataclass
class Layout:
    """An OCI layout on disk, written by hand: blobs by digest, and one entry that has a name."""

    folder: Path
    descriptors: dict[str, dict[str, object]] = field(default_factory=dict)

    def blob(self, content: bytes, kind: str, **more: object) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        place = self.folder / "blobs/sha256" / digest
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content), **more}

    def image(self, arch: Arch, layers: Sequence[Mapping[str, Member]]) -> dict[str, object]:
        """One processor's image; its layers as tar archives, from the lowest up."""
        archives = [archive(layer) for layer in layers]
        blobs = [self.blob(gzipped(one), f"{OCI}.layer.v1.tar+gzip") for one in archives]
        sums = [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in archives]
        config = {
            "architecture": arch,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": sums},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.blob(json.dumps(config).encode(), f"{OCI}.config.v1+json"),
            "layers": blobs,
        }
        platform = {"architecture": arch, "os": "linux"}
        return self.blob(json.dumps(manifest).encode(), f"{OCI}.manifest.v1+json", platform=platform)

    def listed(self, *images: dict[str, object]) -> dict[str, object]:
        """A list of images by processor, as buildx makes it."""
        index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": images}
        return self.blob(json.dumps(index).encode(), f"{OCI}.index.v1+json")

    def name(self, entry: Mapping[str, object]) -> None:
        """Write the layout's own files, so that skopeo finds the entry as `image`."""
        named = {**entry, "annotations": {"org.opencontainers.image.ref.name": "image"}}
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))


def archive(files: Mapping[str, Member]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, member in files.items():
            info = tarfile.TarInfo(name)
            info.mode, info.size = 0o755, len(member.content)
            if member.to:
                info.type, info.linkname = tarfile.SYMTYPE, member.to
            tar.addfile(info, io.BytesIO(member.content))
    return buffer.getvalue()


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


@dataclass(frozen=True)
class Registry:
    """A running docker-registry: where it answers, and the folder it keeps everything in."""

    address: str
    storage: Path

    def push(self, layout: Path, name: str) -> str:
        """Push everything that a layout names; gives the digest of what the tag then means."""
        argv = ("skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests")
        subprocess.run(
            (*argv, f"oci:{layout}:image", f"docker://{self.address}/{name}"),
            check=True,
            capture_output=True,
            timeout=60,
        )
        return str(json.loads((layout / "index.json").read_text())["manifests"][0]["digest"])

    def blob(self, digest: str) -> Path:
        """Where the registry keeps it."""
        short = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / short[:2] / short / "data"


@contextlib.contextmanager
def registry(folder: Path, certificate: Certificate, *, login: bool = False) -> Iterator[Registry]:
    """Start a docker-registry on a free port of loopback and end it, by its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "users").write_text("")
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {
            "addr": f"127.0.0.1:{port}",
            "tls": {"certificate": str(certificate.certificate), "key": str(certificate.key)},
        },
        **({"auth": {"htpasswd": {"realm": "registry", "path": str(folder / "users")}}} if login else {}),
    }
    (folder / "config.yml").write_text(json.dumps(config))  # YAML holds JSON
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            ("docker-registry", "serve", str(folder / "config.yml")), stdout=log, stderr=log, cwd=folder
        )
    try:
        answers(f"https://127.0.0.1:{port}/v2/", certificate, server, folder / "log")
        yield Registry(f"127.0.0.1:{port}", folder / "storage")
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def answers(url: str, certificate: Certificate, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the registry answers, with whatever status."""
    context = ssl.create_default_context(cafile=str(certificate.certificate))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            opener.open(url, timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            time.sleep(0.05)
            continue
        return
    pytest.fail(f"docker-registry does not answer: {log.read_text()[-500:]}")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certificate]:
    """A certificate that Go, Python and skopeo trust while these tests run."""
    for client in ("skopeo", "umoci", "docker-registry"):
        needs(shutil.which(client) is not None, f"{client} (Debian: {client})")
    made = make_certificate(tmp_path_factory.mktemp("certificate"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(made.certificate))
        patch.setenv("no_proxy", "127.0.0.1")
        yield made


@pytest.fixture(scope="module")
def vendor(certificate: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry"), certificate) as running:
        yield running


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Caches, pins and temporary files below this test's folder; of the last, none stays."""
    monkeypatch.setenv("VPNMESH_CACHE_DIR", str(tmp_path / "the cache: 1"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    yield
    assert list((tmp_path / "tmp").iterdir()) == []


def mgmt(arch: Arch) -> Sequence[Mapping[str, Member]]:
    """The vendor's layers: a base, an older build, and the program that replaced it; a file of the base is gone."""
    return (
        {"etc/os-release": Member(b"base"), "opt/tool": Member(program(arch, "old"))},
        {PATH[1:]: Member(b"an older build"), "usr/bin/mgmt": Member(to="/go/bin/netbird-mgmt")},
        {PATH[1:]: Member(program(arch, f"mgmt for {arch}")), "opt/.wh.tool": Member()},
    )


def both(folder: Path, content: Callable[[Arch], Sequence[Mapping[str, Member]]] = mgmt) -> Path:
    """A layout for both processors, with an attestation beside them as buildx leaves it."""
    layout = Layout(folder)
    attestation = layout.image(Arch.AMD64, [{"attestation.json": Member(b"{}")}])
    attestation["platform"] = {"architecture": "unknown", "os": "unknown"}
    layout.name(layout.listed(*(layout.image(arch, content(arch)) for arch in Arch), attestation))
    return folder


def from_image(
    registry_address: str, digest: str | None, path: str = PATH, name: str = "netbirdio/management"
) -> ProgramPackage:
    """A product that comes from that image alone."""
    one = ContainerImage(reference=f"{registry_address}/{name}", digest=digest, paths={"mgmt": path})
    return ProgramPackage(
        name="mgmt", programs=("mgmt",), version="0.77.1", page="https://vendor.invalid/", images=(one,)
    )


def fetched(product: ProgramPackage, arch: Arch = OWN) -> bytes:
    """What is in the cache after a fetch; nothing is left beside it."""
    found = binaries.fetch(product, arch)
    assert found.note.startswith("from the container image")
    assert not list(binaries.cache_directory(arch).glob(".coming-*"))
    return Path(found.places[0]).read_bytes()


def refused(product: ProgramPackage, error: type[Exception], says: str, arch: Arch = OWN) -> str:
    """The sentence with which a fetch fails; nothing is in the cache then, and nothing is left beside it."""
    with pytest.raises(error, match=says) as caught:
        binaries.fetch(product, arch)
    nothing_left(product, arch)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 400
    return sentence


def test_the_program_comes_out_of_the_image(vendor: Registry, tmp_path: Path) -> None:
    """For both processors out of one list, the upper layer's program, executable; this machine's one runs."""
    digest = vendor.push(both(tmp_path / "layout"), "netbirdio/management:0.77.1")
    product = from_image(vendor.address, digest)
    assert fetched(product, OWN) == program(OWN, f"mgmt for {OWN}")
    assert fetched(product, OTHER) == program(OTHER, f"mgmt for {OTHER}")
    assert subprocess.run(binaries.look(product, OWN, OTHER).places[0], check=True).returncode == 0


def test_links_are_followed_inside_the_image(vendor: Registry, tmp_path: Path) -> None:
    """An absolute link leads to the image's own file, and a program that a layer removed is not there."""
    digest = vendor.push(both(tmp_path / "layout"), "netbirdio/management:links")
    assert fetched(from_image(vendor.address, digest, "/usr/bin/mgmt")) == program(OWN, f"mgmt for {OWN}")


def test_what_a_layer_removed_is_not_there(vendor: Registry, tmp_path: Path) -> None:
    """A whiteout counts; so does a path that never was, and one that leaves the image."""
    digest = vendor.push(both(tmp_path / "layout"), "netbirdio/management:paths")
    for path in ("/opt/tool", "/go/bin/netbird", "/go/bin", "/../../../bin/true"):
        refused(from_image(vendor.address, digest, path), ToolError, f"management has no {path}")


def test_an_image_of_one_processor(vendor: Registry, tmp_path: Path) -> None:
    """A pin of an image that is no list serves its own processor; for another its program is refused."""
    layout = Layout(tmp_path / "layout")
    layout.name(layout.image(OWN, mgmt(OWN)))
    product = from_image(vendor.address, vendor.push(layout.folder, "netbirdio/management:single"))
    refused(product, ToolError, f"{PATH} is made for {OWN}, not for {OTHER}", OTHER)
    assert fetched(product) == program(OWN, f"mgmt for {OWN}")


def test_only_the_pinned_image_may_be_copied(vendor: Registry, tmp_path: Path) -> None:
    """Under the policy that is written for a digest, skopeo refuses the same image by its tag, and any other."""
    digest = vendor.push(both(tmp_path / "layout"), "netbirdio/management:policy")
    name = f"{vendor.address}/netbirdio/management"
    (tmp_path / "policy.json").write_text(image.policy(f"{name}@{digest}"))
    for wanted, accepted in ((f"{name}@{digest}", True), (f"{name}:policy", False)):
        argv = ("skopeo", "--policy", "policy.json", "copy", f"docker://{wanted}", "oci:copied:image")
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, check=False)
        assert (done.returncode == 0, b"rejected by policy" in done.stderr) == (accepted, not accepted)


def test_a_list_without_the_processor(vendor: Registry, tmp_path: Path) -> None:
    """Which ones are there is said."""
    layout = Layout(tmp_path / "layout")
    layout.name(layout.listed(layout.image(OTHER, mgmt(OTHER))))
    product = from_image(vendor.address, vendor.push(layout.folder, "netbirdio/management:foreign"))
    refused(product, UnavailableError, f"is there for {OTHER}, not for {OWN}")


def test_what_is_no_program_is_refused(vendor: Registry, tmp_path: Path) -> None:
    """A script or a page in its place."""
    digest = vendor.push(
        both(tmp_path / "layout", lambda _arch: [{PATH[1:]: Member(b"#!/bin/sh\n")}]),
        "netbirdio/management:script",
    )
    refused(from_image(vendor.address, digest), ToolError, f"{PATH} is no program")


def test_a_digest_that_the_registry_does_not_have(vendor: Registry, tmp_path: Path) -> None:
    """The pin is another image's: not served, whatever the tag means."""
    vendor.push(both(tmp_path / "layout"), "netbirdio/management:0.77.1")
    refused(from_image(vendor.address, NOBODY), UnavailableError, "@sha256:555555555555: manifest unknown;")


def test_a_registry_that_serves_something_else_is_refused(vendor: Registry, tmp_path: Path) -> None:
    """The list was exchanged where it is stored: it is not what its digest says."""
    digest = vendor.push(both(tmp_path / "layout", exchanged("list")), "netbirdio/management:exchanged")
    stored = vendor.blob(digest)
    stored.write_bytes(stored.read_bytes() + b" ")
    refused(
        from_image(vendor.address, digest),
        ToolError,
        f"does not match provided manifest digest {digest}|gave sha256",
    )


@pytest.mark.parametrize("how", ["cut", "exchanged", "gone"])
def test_a_wrong_layer_is_refused(vendor: Registry, tmp_path: Path, how: str) -> None:
    """Cut short or exchanged on the registry's disk, it is not what the manifest promises; gone, it cannot be had."""
    layout = both(tmp_path / "layout", exchanged(how))
    digest = vendor.push(layout, f"netbirdio/management:{how}")
    stored = vendor.blob(upper_layer(layout, digest))
    body = stored.read_bytes()
    if how == "gone":
        stored.unlink()
    else:
        stored.write_bytes(body[: len(body) // 2] if how == "cut" else bytes(len(body)))
    product = from_image(vendor.address, digest)
    if how == "gone":
        refused(product, UnavailableError, "blob unknown|404")
    else:
        refused(product, ToolError, r"did not match|unexpected EOF|gzip")


def exchanged(mark: str) -> Callable[[Arch], Sequence[Mapping[str, Member]]]:
    """Layers that no other test has, since the registry keeps equal blobs once."""
    return lambda arch: [{"base": Member(b"base")}, {PATH[1:]: Member(program(arch, mark))}]


def upper_layer(layout: Path, digest: str) -> str:
    """The digest of this processor's last layer."""

    def blob(wanted: str) -> dict[str, list[dict[str, str]]]:
        content: dict[str, list[dict[str, str]]] = json.loads(
            (layout / "blobs" / wanted.replace(":", "/")).read_text()
        )
        return content

    listed = blob(digest)["manifests"]
    own = next(one for one in listed if one["platform"] == {"architecture": OWN, "os": "linux"})  # type: ignore[comparison-overlap]
    return blob(own["digest"])["layers"][-1]["digest"]


def test_a_registry_that_wants_a_login(certificate: Certificate, tmp_path: Path) -> None:
    """401 is a registry that cannot be had, said in its own words."""
    (tmp_path / "closed").mkdir()
    with registry(tmp_path / "closed", certificate, login=True) as closed:
        refused(
            from_image(closed.address, NOBODY),
            UnavailableError,
            f"unauthorized: authentication required; no such image there, or log in: skopeo login {closed.address}",
        )


def test_a_registry_that_is_broken(certificate: Certificate) -> None:
    """500 to everything."""

    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
            del format, arguments

    with over_tls(certificate, Broken) as address:
        refused(from_image(address, NOBODY), UnavailableError, r"500 \(Internal Server Error\)")


def test_a_registry_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens, or somebody who says nothing: bounded in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with monkeypatch.context() as short:
            short.setattr(image, "ASK_S", 1.0)
            refused(from_image(address, NOBODY), UnavailableError, "skopeo was not done in 1 s")
    refused(from_image(address, NOBODY), UnavailableError, "connection refused")


def test_a_registry_that_nobody_vouches_for(
    vendor: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the certificate's authority there is no TLS, and no way around it."""
    digest = vendor.push(both(tmp_path / "layout"), "netbirdio/management:0.77.1")
    monkeypatch.delenv("SSL_CERT_FILE")
    refused(from_image(vendor.address, digest), UnavailableError, "certificate signed by unknown authority")


def test_a_client_that_is_not_installed(vendor: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package to install is named."""
    monkeypatch.setenv("PATH", "/nowhere")
    refused(
        from_image(vendor.address, NOBODY),
        UnavailableError,
        r"skopeo is not installed \(apt-get install skopeo\)",
    )


def command(monkeypatch: pytest.MonkeyPatch, product: ProgramPackage, *arguments: str) -> Result:
    """`python -m vpnmesh.lab binaries` where that product is the only one pinned."""
    monkeypatch.setattr(binaries, "pinned", lambda: (product,))
    return CliRunner(env={"COLUMNS": "300"}).invoke(main, ["binaries", *arguments])


def test_an_image_without_a_digest_waits_for_the_user(
    vendor: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not fetched; --pin reads the digest once and keeps it for its owner alone; from then on it is fetched so."""
    digest = vendor.push(both(tmp_path / "layout"), "netbirdio/management:0.77.1")
    product = from_image(vendor.address, None)
    refused(product, UnavailableError, "--pin mgmt")
    said = command(monkeypatch, product, "--pin", "mgmt")
    assert (said.exit_code, digest in said.output) == (0, True), said.output
    kept = pins.pins_file()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert (
        tomllib.loads(kept.read_text())["images"][f"{vendor.address}/netbirdio/management:0.77.1"]["digest"]
        == digest
    )
    assert fetched(product) == program(OWN, f"mgmt for {OWN}")


def test_a_pin_is_strict(vendor: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tag is moved: the old image is what still comes, and pinning again is refused with both digests."""
    old = vendor.push(both(tmp_path / "old"), "netbirdio/moving:0.77.1")
    product = from_image(vendor.address, None, name="netbirdio/moving")
    assert command(monkeypatch, product, "--pin", "mgmt").exit_code == 0
    assert command(monkeypatch, product, "--pin", "mgmt").exit_code == 0
    new = vendor.push(both(tmp_path / "new", exchanged("moved")), "netbirdio/moving:0.77.1")
    assert fetched(product) == program(OWN, f"mgmt for {OWN}")
    said = command(monkeypatch, product, "--pin", "mgmt")
    assert said.exit_code == 2
    assert (old in said.output, new in said.output, "strike that entry" in said.output) == (True, True, True)


def test_what_has_no_image_cannot_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence and exit code 2, for a product without an image and for a name that is none."""
    product = ProgramPackage(name="bare", programs=("bare",), page="https://vendor.invalid/")
    said = command(monkeypatch, product, "--pin", "bare")
    assert (said.exit_code, "bare: in no container image" in said.output) == (2, True)
    said = command(monkeypatch, product, "--pin", "bear")
    assert (said.exit_code, "unknown product 'bear'; known are: bare" in said.output) == (2, True)


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("", 0o622, "others may write it"),
        ("[images", 0o600, "pins.toml"),
        ('[images."a/b:1"]\ndigest = "sha256:12"\nread = 2026-01-01', 0o600, "digest"),
        ('[images."a/b:1"]\ndigest = "latest"', 0o600, "digest"),
    ],
)
def test_a_file_of_pins_that_cannot_be_trusted(text: str, mode: int, says: str) -> None:
    """One sentence that names the file; nothing is fetched by it."""
    kept = pins.pins_file()
    kept.parent.mkdir(parents=True)
    kept.write_text(text)
    kept.chmod(mode)
    with pytest.raises(InputError, match=says):
        pins.read_pins()


def test_a_fetch_that_is_killed_leaves_nothing_for_long(certificate: Certificate, tmp_path: Path) -> None:
    """Killed without notice, its skopeo ends with it; what lies half-finished goes with the next fetch."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        product = from_image(f"127.0.0.1:{silent.getsockname()[1]}", NOBODY)
        code = f"""
from vpnmesh.host.binaries import Arch, ProgramPackage
from vpnmesh.lab import binaries
binaries.fetch(ProgramPackage.model_validate_json({product.model_dump_json()!r}), Arch({OWN.value!r}))
"""
        with subprocess.Popen((sys.executable, "-c", code)) as fetching:
            silent.settimeout(60)
            with silent.accept()[0]:  # skopeo has come, and waits for an answer
                client = [one for one in descendants(fetching.pid) if one.pid != fetching.pid]
                fetching.send_signal(signal.SIGKILL)
                fetching.wait(20)
    assert len(client) == 1
    assert list(binaries.cache_directory(OWN).glob(".coming-*"))
    deadline = time.monotonic() + 30
    while client[0].alive:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    refused(product, UnavailableError, "connection refused")


def test_every_client_has_a_package() -> None:
    """What is missing can be named."""
    assert {"skopeo", "umoci", "apt-get", "apt-cache", "dpkg-deb", "gpg"} <= set(clients.PACKAGES)


def test_the_pinned_images_hold_every_program_of_their_product() -> None:
    """Between them each program once; none of a digest that somebody made up."""
    for product in (one for one in binaries.pinned() if one.images):
        assert sorted(name for one in product.images for name in one.paths) == sorted(product.programs)
        assert product.version
    names = {one.tagged(product.version) for product in binaries.pinned() for one in product.images}
    assert "docker.io/gravitl/netmaker:v1.4.0" in names
