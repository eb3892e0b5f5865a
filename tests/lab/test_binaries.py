"""Fetching programs from a server with the vendors' layout: whole and verified, or not at all."""

import hashlib
import http.server
import io
import ssl
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vpnmesh.errors import InputError, ToolError, UnavailableError, UnknownNameError
from vpnmesh.host.binaries import Arch, ProgramPackage, parse_paper, parse_products, published_sum, way_to
from vpnmesh.lab import binaries
from vpnmesh.lab.__main__ import main
from vpnmesh.lab.binaries import places, release
from vpnmesh.solutions import SOLUTIONS


@dataclass
class Vendor:
    """A release server: what lies at which path, and paths that are answered cut short or sent elsewhere."""

    base: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    """A vendor over real TLS on loopback, trusted by this test alone."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    argv = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-subj", "/CN=vendor", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    subprocess.run(
        (*argv, *subject, "-keyout", str(key), "-out", str(certificate)), check=True, capture_output=True
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("VPNMESH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    there = Vendor()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path in there.moved:
                self.send_response(302)
                self.send_header("Location", there.moved[self.path])
                self.end_headers()
                return
            body = there.files.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write((body or b"")[: len(body or b"") // 2 if self.path in there.cut else None])

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
            del format, arguments

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    there.base = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield there
    server.shutdown()
    thread.join()
    server.server_close()


def archive(**files: bytes) -> bytes:
    """A release as the vendors pack it: programs in a folder, beside a readme."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, body in {"README.md": b"read me", **files}.items():
            member = tarfile.TarInfo(f"release/{name}")
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def mesh_vpn(vendor: Vendor) -> ProgramPackage:
    """A product with an archive and a list of sums."""
    return ProgramPackage(
        name="mesh",
        programs=("meshd", "mesh"),
        version="1.2",
        page="https://vendor.invalid/",
        url=f"{vendor.base}/v{{version}}/mesh_{{version}}_linux_{{arch}}.tar.gz",
        sums=f"{vendor.base}/v{{version}}/checksums.txt",
    )


def publish(vendor: Vendor, body: bytes, wrong: str = "") -> str:
    """Put an archive of mesh on the server, with its sum (or a wrong one); returns its path."""
    path = "/v1.2/mesh_1.2_linux_amd64.tar.gz"
    vendor.files[path] = body
    names = f"{'0' * 64}  other.tar.gz\n{wrong or sha256(body)}  mesh_1.2_linux_amd64.tar.gz\n"
    vendor.files["/v1.2/checksums.txt"] = names.encode()
    return path


def test_a_release_is_verified_cached_and_installed(vendor: Vendor, tmp_path: Path) -> None:
    """Both programs come out of the archive, executable, found in the cache next time, and can be installed."""
    publish(vendor, archive(meshd=b"daemon", mesh=b"client"))
    product = mesh_vpn(vendor)
    assert not binaries.look(product, Arch.AMD64, Arch.ARM64)
    found = binaries.fetch(product, Arch.AMD64)
    assert [Path(place).read_bytes() for place in found.places] == [b"daemon", b"client"]
    again = binaries.look(product, Arch.AMD64, Arch.ARM64)
    assert (again.places, again.note) == (found.places, "in the cache")
    binaries.install(again, tmp_path / "bin", Arch.AMD64)
    assert [(tmp_path / "bin" / name).stat().st_mode & 0o777 for name in product.programs] == [0o755, 0o755]


def test_a_wrong_sum_is_refused(vendor: Vendor) -> None:
    """The file that came is not the published one: nothing of it is kept."""
    publish(vendor, archive(meshd=b"evil", mesh=b"client"), wrong="ab" * 32)
    product = mesh_vpn(vendor)
    with pytest.raises(ToolError, match=f"published is {'ab' * 32}"):
        binaries.fetch(product, Arch.AMD64)
    assert not binaries.look(product, Arch.AMD64, Arch.ARM64)


def test_a_cut_file_is_refused(vendor: Vendor) -> None:
    """A connection that ends early is told from a whole file even before the sum."""
    vendor.cut.add(publish(vendor, archive(meshd=b"daemon" * 999, mesh=b"client")))
    with pytest.raises((ToolError, UnavailableError), match=r"bytes came|IncompleteRead|SHA-256"):
        binaries.fetch(mesh_vpn(vendor), Arch.AMD64)


def test_a_way_to_plain_http_is_refused(vendor: Vendor) -> None:
    """A redirect may not leave https, nor may an address begin without it."""
    path = publish(vendor, archive(meshd=b"daemon", mesh=b"client"))
    vendor.moved[path] = "http://127.0.0.1:9/mesh.tar.gz"
    with pytest.raises((ToolError, UnavailableError)):
        binaries.fetch(mesh_vpn(vendor), Arch.AMD64)
    with pytest.raises(ToolError, match="is not https"):
        release.https("http://127.0.0.1/x")


def test_an_archive_without_a_program_is_refused(vendor: Vendor) -> None:
    """The sum is right and the release is not what we think: its missing program is named."""
    publish(vendor, archive(meshd=b"daemon"))
    with pytest.raises(ToolError, match="has no mesh"):
        binaries.fetch(mesh_vpn(vendor), Arch.AMD64)
    publish(vendor, b"not an archive")
    with pytest.raises(ToolError, match="no whole archive"):
        binaries.fetch(mesh_vpn(vendor), Arch.AMD64)


def test_a_vendor_that_has_it_not_says_so(vendor: Vendor) -> None:
    """404 is a way that is not there, with the address."""
    with pytest.raises(UnavailableError, match="404"):
        binaries.fetch(mesh_vpn(vendor), Arch.ARM64)


def test_a_bare_program_and_a_bare_sum(vendor: Vendor) -> None:
    """Headscale's release is the program itself, Tailscale's sum is a file without a name."""
    product = ProgramPackage(
        name="bare",
        programs=("bare",),
        version="1",
        page="https://vendor.invalid/",
        url=f"{vendor.base}/bare_{{arch}}",
        sums=f"{vendor.base}/bare_{{arch}}.sha256",
    )
    vendor.files["/bare_arm64"] = b"program"
    vendor.files["/bare_arm64.sha256"] = sha256(b"program").encode()
    found = binaries.fetch(product, Arch.ARM64)
    assert Path(found.places[0]).read_bytes() == b"program"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>404</html>",
        "deadbeef  mesh.tgz",
        f"{'a' * 64}  other.tgz",
        f"{'a' * 64} m.tgz\n{'b' * 64} m.tgz",
    ],
)
def test_a_list_without_the_one_sum_is_refused(text: str) -> None:
    """No sum, a short one, another file's, or two different ones: nothing to verify by."""
    with pytest.raises(ToolError, match="no one SHA-256"):
        published_sum(text, "m.tgz" if "m.tgz" in text.split() else "mesh.tgz")


def test_releases_by_architecture() -> None:
    """The pinned addresses for a mixed mesh, as the vendors name them."""
    products = {product.name: product for product in binaries.pinned()}
    releases = {
        (name, arch.value): release[0]
        for name, product in products.items()
        for arch in Arch
        if (release := product.release(arch))
    }
    github, tailscale = "https://github.com", "https://pkgs.tailscale.com/stable"
    wanted = {
        "headscale": f"{github}/juanfont/headscale/releases/download/v0.29.2/headscale_0.29.2_linux_ARCH",
        "headscale-2023": f"{github}/juanfont/headscale/releases/download/v0.21.0/headscale_0.21.0_linux_ARCH",
        "tailscale": f"{tailscale}/tailscale_1.98.10_ARCH.tgz",
        "tailscale-2024": f"{tailscale}/tailscale_1.58.2_ARCH.tgz",
        "netbird": f"{github}/netbirdio/netbird/releases/download/v0.77.1/netbird_0.77.1_linux_ARCH.tar.gz",
        "nebula": f"{github}/slackhq/nebula/releases/download/v1.6.1/nebula-linux-ARCH.tar.gz",
        "nebula-1.10": f"{github}/slackhq/nebula/releases/download/v1.10.3/nebula-linux-ARCH.tar.gz",
    }
    assert releases == {
        (name, arch.value): url.replace("ARCH", arch) for name, url in wanted.items() for arch in Arch
    }


def test_each_node_of_a_mixed_mesh_is_told_its_own_release() -> None:
    """amd64, arm64 and a processor that nobody builds for, each with what it lacks."""
    lacks = {
        "hypervisor": ("headscale", "x86_64"),
        "worker1": ("tailscaled", "aarch64"),
        "relay": ("derper", "aarch64"),
        "master": ("zerotier-one", "x86_64"),
        "worker2": ("netbird", "riscv64"),
        "firewall": ("turnserver", "riscv64"),
        "peer": ("netclient", "aarch64"),
        "nobody": ("nosuch", "x86_64"),
    }
    install = "or python -m vpnmesh.lab binaries --install --only"
    assert {node: way_to(binaries.pinned(), *asked) for node, asked in lacks.items()} == {
        "hypervisor": "https://github.com/juanfont/headscale/releases/download/v0.29.2/headscale_0.29.2_linux_amd64,"
        f" {install} headscale --arch amd64",
        "worker1": f"https://pkgs.tailscale.com/stable/tailscale_1.98.10_arm64.tgz, {install} tailscale --arch arm64",
        "relay": "built from the Go module programs/tailscale:"
        " python -m vpnmesh.lab binaries --install --only derper --arch arm64",
        "master": "out of the vendor's signed apt repository:"
        " python -m vpnmesh.lab binaries --install --only zerotier --arch amd64",
        "peer": "out of the vendor's container image: python -m vpnmesh.lab binaries --pin netmaker,"
        " then python -m vpnmesh.lab binaries --install --only netmaker --arch arm64",
        "worker2": "nothing is pinned for riscv64; see https://github.com/netbirdio/netbird/releases",
        "firewall": "Debian: coturn",
        "nobody": "see docs/binaries.md",
    }


def test_every_program_of_a_solution_has_a_row() -> None:
    """No scenario may be out of a user's reach because nobody says where a program comes from."""
    known = {program for product in binaries.pinned() for program in product.programs}
    ordinary = {"curl", "openssl", "ssh-keygen", "mosquitto"}
    wanted = {binary.name for solution in SOLUTIONS.values() for binary in solution.binaries}
    assert wanted - ordinary <= known
    assert all(product.page.startswith("https://") for product in binaries.pinned())


def test_the_papers_versions_are_data() -> None:
    """Table 1 of the paper."""
    text = places.PINS.read_text(encoding="utf-8")
    versions = {name: one.version for name, one in parse_paper(text).items()}
    assert versions == {
        "headscale": "0.21.0",
        "netbird": "0.20.0",
        "zerotier": "1.10.6",
        "netmaker": "0.20.0",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a", "binaries.toml"),
        ('[a]\nprograms = ["a"]\npage = "https://x"\nurll = "https://x"', "unknown key 'urll'"),
        ('[a]\nprograms = []\npage = "https://x"', "needs `programs`"),
        ('[a]\nprograms = ["a"]', "needs `programs`"),
        ('[a]\nprograms = [1.5, []]\npage = "https://x"', "needs `programs`"),
        ('[a]\nprograms = ["a"]\npage = "https://x"\nversion = [1]', r"\[a\]: version: is '\[1\]'"),
        ("a = 1", r"\[a\]: is 1, no table"),
        ('[a]\nprograms = ["a"]\npage = "https://x"\nurl = "http://x"', "is not https"),
    ],
)
def test_a_wrong_pin_is_named(text: str, says: str) -> None:
    """One sentence, the table and the key."""
    with pytest.raises(InputError, match=says):
        parse_products(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("paper = 1", r"\[paper\]: is 1, no table"),
        ("[paper]\nzerotier = 1", r"\[paper.zerotier\]: is 1, no table"),
        ('[paper.zerotier]\nversion = "1"', r"\[paper.zerotier\]: differs: is missing"),
    ],
)
def test_a_wrong_version_of_the_papers_is_named(text: str, says: str) -> None:
    """One sentence, the table and the key."""
    with pytest.raises(InputError, match=says):
        parse_paper(text)


def test_architectures() -> None:
    """As the kernel and as Go call them; any other is refused with the list."""
    assert [Arch.parse(name) for name in ("x86_64", "aarch64", "arm64")] == [
        Arch.AMD64,
        Arch.ARM64,
        Arch.ARM64,
    ]
    with pytest.raises(UnknownNameError, match="amd64, arm64"):
        Arch.parse("riscv64")


def command(monkeypatch: pytest.MonkeyPatch, product: ProgramPackage, *arguments: str) -> Result:
    """`python -m vpnmesh.lab binaries` where that product is the only one pinned."""
    monkeypatch.setattr(binaries, "pinned", lambda: (product,))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return CliRunner(env={"COLUMNS": "300"}).invoke(main, ["binaries", *arguments])


def test_the_command_shows_and_fetches_nothing(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --install: a row with the way to it, exit code 0, and an empty cache."""
    publish(vendor, archive(meshd=b"daemon", mesh=b"client"))
    said = command(monkeypatch, mesh_vpn(vendor))
    assert (said.exit_code, "see https://vendor.invalid/" in said.output) == (0, True)
    assert not binaries.look(mesh_vpn(vendor), Arch.AMD64, Arch.ARM64)


def test_the_command_installs(vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --install the programs are in the folder, verified, and the row says where they came from."""
    publish(vendor, archive(meshd=b"daemon", mesh=b"client"))
    said = command(monkeypatch, mesh_vpn(vendor), "--install", "--to", str(tmp_path / "bin"))
    assert said.exit_code == 0, said.output
    assert "from the vendor's release" in said.output
    assert {path.name: path.read_bytes() for path in (tmp_path / "bin").iterdir()} == {
        "meshd": b"daemon",
        "mesh": b"client",
    }


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_what_cannot_be_had_is_a_row_and_exit_code_1(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str
) -> None:
    """A wrong sum (amd64) and a release without one (arm64): the reason in the row, nothing installed."""
    publish(vendor, archive(meshd=b"evil", mesh=b"client"), wrong="ab" * 32)
    arguments = ("--install", "--to", str(tmp_path / "bin"), "--arch", arch)
    said = command(monkeypatch, mesh_vpn(vendor), *arguments)
    assert said.exit_code == 1
    assert ("published is" if arch == "amd64" else "no one SHA-256 of mesh_1.2_linux_arm64") in " ".join(
        said.output.split()
    )
    assert not (tmp_path / "bin").exists()


def test_what_is_on_path_is_taken(vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of this architecture on PATH are used as they are: nothing is fetched or copied."""
    for name in ("meshd", "mesh"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = command(monkeypatch, mesh_vpn(vendor), "--install", "--to", str(tmp_path / "bin"))
    assert (said.exit_code, "on PATH" in said.output) == (0, True)
    assert not (tmp_path / "bin").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--only", "mesch"), "unknown product 'mesch'; known are: mesh"), (("--arch", "mips"), "amd64, arm64")],
)
def test_a_wrong_name_is_one_sentence(
    arguments: tuple[str, ...], says: str, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 and the list of right ones."""
    said = command(monkeypatch, mesh_vpn(vendor), *arguments)
    assert said.exit_code == 2
    assert says in said.output
    assert len(said.output.splitlines()) == 1
