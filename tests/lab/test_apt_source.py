"""Programs out of a vendor's signed apt repository, one made here with gpg and apt-ftparchive and served over TLS.

apt itself verifies, with folders of its own: what the key did not sign is refused, and the machine's lists stay.
"""

import functools
import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.stand_ins import Certificate, Quiet, make_certificate, nothing_left, over_tls, program
from tests.needs import needs
from vpnmesh.errors import ToolError, UnavailableError
from vpnmesh.host.binaries import AptRepository, Arch, ContainerImage, ProgramPackage
from vpnmesh.lab import binaries
from vpnmesh.lab.binaries import apt_repository

pytestmark = pytest.mark.slow

OWN = Arch.parse(os.uname().machine)
OTHER = Arch.ARM64 if OWN is Arch.AMD64 else Arch.AMD64
PATHS = {name: f"/usr/sbin/{name}" for name in ("zerotier-one", "zerotier-cli")}


@dataclass(frozen=True)
class Keys:
    """A home of gpg with the vendor's key and somebody else's."""

    home: Path
    vendor: str
    other: str

    def gpg(self, *arguments: str) -> bytes:
        argv = (
            "gpg",
            "--homedir",
            str(self.home),
            "--batch",
            "--yes",
            "--quiet",
            "--pinentry-mode",
            "loopback",
        )
        return subprocess.run(
            (*argv, "--passphrase", "", *arguments), check=True, capture_output=True, timeout=60
        ).stdout


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    """Two keys; gpg's own agent, which it starts, is ended by its home."""
    for client, package in (("gpg", "gnupg"), ("apt-ftparchive", "apt-utils"), ("dpkg-deb", "dpkg")):
        needs(shutil.which(client) is not None, f"{client} (Debian: {package})")
    # the agent's socket lies in there, and a socket's path is short
    with tempfile.TemporaryDirectory(prefix="gpg", dir="/tmp") as home:
        bare = Keys(Path(home), "", "")
        try:
            for name in ("vendor", "other"):
                bare.gpg("--quick-gen-key", f"{name} <{name}@vendor.invalid>", "rsa3072", "sign", "never")
            listed = bare.gpg("--with-colons", "--list-keys").decode()
            yield Keys(Path(home), *apt_repository.primary_fingerprints(listed))
        finally:
            subprocess.run(("gpgconf", "--homedir", home, "--kill", "all"), check=True, timeout=20)


@dataclass(frozen=True)
class Vendor:
    """A repository on disk as it is served, with two versions for both processors, and its key beside it."""

    folder: Path
    address: str
    keys: Keys

    def product(self, version: str = "1.14.1", fingerprint: str = "") -> ProgramPackage:
        """ZeroTier's client as binaries.toml has it, but from here."""
        there = AptRepository(
            url=f"https://{self.address}/debian/bookworm",
            suite="bookworm",
            component="main",
            key_url=f"https://{self.address}/key.gpg",
            fingerprint=fingerprint or self.keys.vendor,
            package="zerotier-one",
            paths=PATHS,
        )
        return ProgramPackage(
            name="zerotier", programs=tuple(PATHS), version=version, page="https://vendor.invalid/", apt=there
        )

    @property
    def suite(self) -> Path:
        return self.folder / "debian/bookworm/dists/bookworm"

    def index(self) -> None:
        """List the packages and sum the lists, as apt-ftparchive does."""
        root = self.folder / "debian/bookworm"
        for arch in Arch:
            lists = self.suite / f"main/binary-{arch}"
            lists.mkdir(parents=True, exist_ok=True)
            text = ftparchive(root, "--arch", arch, "packages", "pool")
            (lists / "Packages").write_bytes(text)
            (lists / "Packages.gz").write_bytes(gzip.compress(text))
        for old in ("Release", "InRelease", "Release.gpg"):
            (self.suite / old).unlink(missing_ok=True)
        names = {"Origin": "vendor", "Suite": "bookworm", "Codename": "bookworm", "Components": "main"}
        options = [f"-oAPT::FTPArchive::Release::{name}={value}" for name, value in names.items()]
        architectures = "-oAPT::FTPArchive::Release::Architectures=amd64 arm64"
        (self.suite / "Release").write_bytes(
            ftparchive(root, *options, architectures, "release", "dists/bookworm")
        )

    def sign(self, by: str) -> None:
        """Sign the sums, in both forms."""
        out = ("--local-user", by, "--output")
        release = str(self.suite / "Release")
        self.keys.gpg(*out, str(self.suite / "InRelease"), "--clearsign", release)
        self.keys.gpg(*out, str(self.suite / "Release.gpg"), "--armor", "--detach-sign", release)

    def publish_key(self, *fingerprints: str, armor: bool = False) -> None:
        form = ("--armor",) if armor else ()
        (self.folder / "key.gpg").write_bytes(self.keys.gpg(*form, "--export", *fingerprints))


def ftparchive(root: Path, *arguments: str) -> bytes:
    return subprocess.run(
        ("apt-ftparchive", *arguments), cwd=root, check=True, capture_output=True, timeout=60
    ).stdout


def build_package(folder: Path, version: str, arch: Arch) -> None:
    """A package as the vendor's: the program, and a link to it under the other name; its scripts must not run."""
    tree = folder / "tree"
    (tree / "usr/sbin").mkdir(parents=True)
    (tree / "DEBIAN").mkdir()
    (tree / "usr/sbin/zerotier-one").write_bytes(program(arch, version))
    (tree / "usr/sbin/zerotier-cli").symlink_to("zerotier-one")
    fields = f"Package: zerotier-one\nVersion: {version}\nArchitecture: {arch}\n"
    (tree / "DEBIAN/control").write_text(
        f"{fields}Maintainer: vendor <v@vendor.invalid>\nDescription: mesh\n"
    )
    (tree / "DEBIAN/postinst").write_text(f"#!/bin/sh\ntouch {folder}/ran\n")
    (tree / "DEBIAN/postinst").chmod(0o755)
    pool = folder / "debian/bookworm/pool/main/z/zerotier-one"
    pool.mkdir(parents=True, exist_ok=True)
    argv = ("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(pool))
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    shutil.rmtree(tree)


@pytest.fixture(scope="module")
def made(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vendor's folder, right and signed."""
    folder = tmp_path_factory.mktemp("vendor")
    for version in ("1.14.0", "1.14.1"):
        for arch in Arch:
            build_package(folder, version, arch)
    vendor = Vendor(folder, "", keys)
    vendor.index()
    vendor.sign(keys.vendor)
    vendor.publish_key(keys.vendor)
    return folder


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def vendor(
    made: Path, keys: Keys, certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Vendor]:
    """A copy of it for one test, on a server; afterwards no script of a package has run and no file is left."""
    shutil.copytree(made, tmp_path / "vendor")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("VPNMESH_CACHE_DIR", str(tmp_path / "cache"))
    before = machines_lists()
    with over_tls(certificate, functools.partial(Quiet, directory=str(tmp_path / "vendor"))) as address:
        yield Vendor(tmp_path / "vendor", address, keys)
    assert machines_lists() == before
    assert not (made / "ran").exists()


def machines_lists() -> dict[str, int]:
    """What apt of this machine keeps, and when each file was changed."""
    folders = (Path("/var/lib/apt/lists"), Path("/var/cache/apt/archives"), Path("/etc/apt"))
    return {
        str(path): path.stat().st_mtime_ns
        for folder in folders
        for path in folder.glob("*")
        if path.is_file()
    }


def refused(product: ProgramPackage, error: type[Exception], says: str) -> None:
    """A fetch fails with that sentence; nothing is in the cache then, and nothing is left beside it."""
    with pytest.raises(error, match=says) as caught:
        binaries.fetch(product, OWN)
    nothing_left(product, OWN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("arch", list(Arch))
@pytest.mark.parametrize("version", ["1.14.0", "1.14.1"])
def test_the_programs_come_out_of_the_package(vendor: Vendor, arch: Arch, version: str) -> None:
    """The pinned version for that processor, links as files of their own; this machine's run."""
    found = binaries.fetch(vendor.product(version), arch)
    assert found.note.startswith("from the vendor's signed apt repository")
    assert [Path(place).read_bytes() for place in found.places] == [program(arch, version)] * 2
    if arch is OWN:
        subprocess.run(found.places[0], check=True)


def test_an_armoured_key_is_a_key(vendor: Vendor) -> None:
    """As ZeroTier publishes it: text, though its name ends in .gpg."""
    vendor.publish_key(vendor.keys.vendor, armor=True)
    assert binaries.fetch(vendor.product(), OWN)


def test_a_version_that_is_not_there(vendor: Vendor) -> None:
    """Those that are, are named."""
    refused(
        vendor.product("1.16.0"),
        UnavailableError,
        r"no zerotier-one 1\.16\.0; versions there: 1\.14\.1, 1\.14\.0;",
    )


def unsigned(vendor: Vendor) -> None:
    vendor.index()


def signed_by_another(vendor: Vendor) -> None:
    vendor.sign(vendor.keys.other)


def changed_release(vendor: Vendor) -> None:
    path = vendor.suite / "InRelease"
    path.write_text(path.read_text().replace("Origin: vendor", "Origin: friend"))


def changed_list(vendor: Vendor) -> None:
    for path in vendor.suite.rglob("Packages"):
        changed = path.read_bytes().replace(b"Description: mesh", b"Description: mash")
        path.write_bytes(changed)
        path.with_name("Packages.gz").write_bytes(gzip.compress(changed))


def changed_package(vendor: Vendor) -> None:
    """As large as before."""
    for path in vendor.folder.rglob("*.deb"):
        body = bytearray(path.read_bytes())
        body[-100] ^= 1
        path.write_bytes(body)


def cut_package(vendor: Vendor) -> None:
    for path in vendor.folder.rglob("*.deb"):
        path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (unsigned, "is not signed"),
        (signed_by_another, "NO_PUBKEY"),
        (changed_release, "BADSIG"),
        (changed_list, "Hash Sum mismatch|unexpected size"),
        (changed_package, "Hash Sum mismatch"),
        (cut_package, "unexpected size"),
    ],
)
def test_what_the_key_did_not_sign_is_refused(
    vendor: Vendor, harm: Callable[[Vendor], None], says: str
) -> None:
    """No signature, another's, a changed release, list or package: wrong, so no other place is tried."""
    harm(vendor)
    refused(vendor.product(), ToolError, says)


def test_a_key_that_is_not_the_pinned_one_is_refused(vendor: Vendor) -> None:
    """Another key, one key too many, and no key at all: before apt is asked for anything."""
    there, other = vendor.keys.vendor, vendor.keys.other
    refused(vendor.product(fingerprint=other), ToolError, f"key.gpg has {there}, pinned is {other}")
    vendor.publish_key(there, other)
    refused(vendor.product(), ToolError, f"key.gpg has {there}, {other}, pinned is {there}")
    (vendor.folder / "key.gpg").write_text("<html>not found</html>")
    refused(vendor.product(), ToolError, f"key.gpg has no key, pinned is {there}")


def test_a_signature_by_another_key_counts_for_nothing(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the machine's own keys nor a setting of the user's let another signature pass."""
    settings = vendor.folder / "apt.conf"
    settings.write_text(
        'Acquire::AllowInsecureRepositories "true";\nAPT::Get::AllowUnauthenticated "true";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(settings))
    vendor.index()
    refused(vendor.product(), ToolError, "is not signed")


def gone(vendor: Vendor) -> None:
    shutil.rmtree(vendor.suite)


def without_key(vendor: Vendor) -> None:
    (vendor.folder / "key.gpg").unlink()


def without_package(vendor: Vendor) -> None:
    shutil.rmtree(vendor.folder / "debian/bookworm/pool")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (gone, "does not have a Release file"),
        (without_key, "key.gpg: HTTP Error 404"),
        (without_package, "404"),
    ],
)
def test_what_is_not_there_cannot_be_had(vendor: Vendor, harm: Callable[[Vendor], None], says: str) -> None:
    """404 for the release, the key or the package: the next place is tried."""
    harm(vendor)
    refused(vendor.product(), UnavailableError, says)


def test_a_server_that_is_not_there(vendor: Vendor) -> None:
    """Nobody listens: said with the address, for the key as for the repository."""
    away = vendor.product().apt
    assert away
    for changed, says in (
        ({"url": "https://127.0.0.1:9/debian"}, "127.0.0.1:9"),
        ({"key_url": "https://127.0.0.1:9/k"}, "refused"),
    ):
        product = vendor.product().model_copy(update={"apt": away.model_copy(update=changed)})
        refused(product, UnavailableError, says)


def test_a_cache_that_apt_cannot_use(vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a space in its name is said to be one, with the way out."""
    monkeypatch.setenv("VPNMESH_CACHE_DIR", str(tmp_path / "the cache"))
    refused(vendor.product(), UnavailableError, r"the cache.*has a space; set VPNMESH_CACHE_DIR")


def test_an_apt_that_does_not_end_is_ended(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded in time."""
    monkeypatch.setattr(apt_repository, "APT_S", 0.01)
    refused(vendor.product(), UnavailableError, "apt-get was not done in 0.01 s")


def test_a_package_without_the_program(vendor: Vendor) -> None:
    """Signed, and not what we think: the package and the path are named."""
    there = vendor.product().apt
    assert there
    changed = there.model_copy(update={"paths": {**PATHS, "zerotier-cli": "/usr/bin/zerotier-cli"}})
    product = vendor.product().model_copy(update={"apt": changed})
    refused(product, ToolError, rf"zerotier-one_1\.14\.1_{OWN}\.deb has no /usr/bin/zerotier-cli")


def with_all_places(vendor: Vendor, registry: str = "127.0.0.1:9") -> ProgramPackage:
    """A product with a release, an image and a repository; nobody serves the first two."""
    image = ContainerImage(
        reference=f"{registry}/zerotier/zerotier", digest="sha256:" + "5" * 64, paths=PATHS
    )
    release = {"url": f"https://{vendor.address}/release.tgz", "sums": f"https://{vendor.address}/sums"}
    return vendor.product().model_copy(update={**release, "images": (image,)})


def test_the_places_are_asked_in_their_order(vendor: Vendor) -> None:
    """Release and image are not there, so the repository gives it; each was said before it was asked."""
    said: list[str] = []
    found = binaries.fetch(with_all_places(vendor), OWN, said.append)
    assert found.note.startswith("from the vendor's signed apt repository")
    wanted = ("release.tgz", "image 127.0.0.1:9/zerotier/zerotier@sha256:5555", "zerotier-one 1.14.1")
    assert len(said) == len(wanted)
    assert [word in line for word, line in zip(wanted, said, strict=True)] == [True, True, True]


def test_all_places_that_were_asked_are_named(vendor: Vendor) -> None:
    """No place has it: a part of the sentence for each."""
    gone(vendor)
    wanted = r"/sums: .*404.*; 127\.0\.0\.1:9/zerotier/zerotier@.*connection refused.*; https://.*no.* have a Release"
    refused(with_all_places(vendor), UnavailableError, wanted)


def test_what_came_wrong_ends_the_search(vendor: Vendor, certificate: Certificate) -> None:
    """A registry that gives something else for the digest: the repository is not asked."""

    class Liar(Quiet):
        def do_GET(self) -> None:  # noqa: N802 - the library's name
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.oci.image.index.v1+json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    with over_tls(certificate, Liar) as registry:
        refused(with_all_places(vendor, registry), ToolError, "the registry gave sha256:")


def test_the_pinned_repository() -> None:
    """ZeroTier's, with the key whose fingerprint the vendor publishes."""
    product = next(one for one in binaries.pinned() if one.name == "zerotier")
    assert product.apt
    assert product.apt.url == "https://download.zerotier.com/debian/bookworm"
    assert product.apt.fingerprint == "74A5E9C458E1A431F1DA57A71657198823E52A61"
    assert set(product.apt.paths) == set(product.programs)
