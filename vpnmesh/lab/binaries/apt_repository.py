"""The vendor's signed apt repository: verified by apt itself with the pinned key, nothing installed.

apt works on folders of its own here: the machine's package lists, sources, keys and cache are neither read nor written.
"""

import os
import re
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vpnmesh.errors import ToolError, UnavailableError
from vpnmesh.host.binaries import AptRepository, Arch, ProgramPackage
from vpnmesh.lab.binaries.clients import need, run
from vpnmesh.lab.binaries.release import https
from vpnmesh.lab.binaries.source import Say
from vpnmesh.lab.binaries.unpacked import take

APT_S = 300.0
KEY_S = 20.0
UNPACK_S = 120.0
_WRONG = re.compile(
    r"is not signed|no longer signed|GPG error|NO_PUBKEY|BADSIG|EXPKEYSIG|Hash Sum mismatch|unexpected size"
    r"|is expired|is not valid yet|Clearsigned file|Unable to parse|No Hash entry"
)
"""What apt says of content that is not what the key signed; all else could not be had."""
_NOISE = ("Some index files failed", "Failed to fetch some", "Unable to fetch some")


class SignedRepository:
    """Programs in a Debian package of the vendor's own repository."""

    name = "the vendor's signed apt repository"

    def serves(self, product: ProgramPackage, _arch: Arch, /) -> bool:
        """Whether one is named."""
        return product.apt is not None

    def get(self, product: ProgramPackage, arch: Arch, into: Path, say: Say, /) -> None:
        """Verify the key, then by it the repository, by that the package, and take the programs out of it."""
        repository = product.apt
        if repository is None:
            raise UnavailableError(f"{product.name}: {product.way()}")
        need("apt-get", "apt-cache", "dpkg-deb", "gpg")
        if re.search(r"\s", str(into)):
            # neither apt's list of sources nor its way to gpgv takes such a path
            raise UnavailableError(
                f"apt cannot work below {into.parent}, which has a space; set VPNMESH_CACHE_DIR"
            )
        say(f"fetching {repository.package} {product.version} from {repository.url}")
        with tempfile.TemporaryDirectory(dir=into) as folder:
            work = Path(folder)
            key = _key(repository, work)
            environment = _private_apt(repository, arch, key, work)
            _apt(repository, ("apt-get", "update"), work, environment)
            package = _download(repository, product.version, work, environment)
            done = run(("dpkg-deb", "--extract", str(package), "root"), work, UNPACK_S)
            if done.returncode:
                raise ToolError(repository.package, f"dpkg-deb cannot unpack it: {_said(done.stderr)}")
            for program, path in repository.paths.items():
                take(package.name, work / "root", path, arch, into / program, say)


def _key(repository: AptRepository, work: Path) -> Path:
    """The vendor's key in a file of its own; ToolError unless it is the pinned one and the only one."""
    content = https(repository.key_url)
    # apt tells the two forms of a key apart by the name of the file
    path = work / ("key.asc" if content.lstrip().startswith(b"-----BEGIN") else "key.gpg")
    path.write_bytes(content)
    (work / "gpg").mkdir(mode=0o700)
    options = ("--batch", "--no-options", "--homedir", str(work / "gpg"), "--with-colons")
    done = run(("gpg", *options, "--show-keys", str(path)), work, KEY_S)
    found = primary_fingerprints(done.stdout.decode("utf-8", errors="replace"))
    if found != [repository.fingerprint]:
        there = ", ".join(found) or "no key"
        raise ToolError("key", f"{repository.key_url} has {there}, pinned is {repository.fingerprint}")
    return path


def primary_fingerprints(colons: str) -> list[str]:
    """The fingerprints of all keys that `gpg --show-keys --with-colons` lists, without those of subkeys."""
    found, of_primary = [], False
    for fields in (line.split(":") for line in colons.splitlines()):
        if fields[0] == "fpr" and of_primary:
            found.append(fields[9])
        if fields[0] in ("pub", "sec", "sub", "ssb", "fpr"):
            of_primary = fields[0] in ("pub", "sec")
    return found


def _private_apt(repository: AptRepository, arch: Arch, key: Path, work: Path) -> dict[str, str]:
    """The environment in which apt knows this repository and key alone, and works on folders below `work`."""
    for folder in (
        "etc/apt.conf.d",
        "etc/preferences.d",
        "state/lists/partial",
        "cache/archives/partial",
        "log",
    ):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources.list").write_text(
        f"deb [arch={arch} signed-by={key}] {repository.url} {repository.suite} {repository.component}\n"
    )
    settings = {
        "Dir::Etc": work / "etc",
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::trusted": "/dev/null",
        "Dir::Etc::trustedparts": "/dev/null",
        "Dir::State": work / "state",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "Dir::Log": work / "log",
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        # the user that apt changes to when it is started by root cannot reach a folder in somebody's home
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::AllowWeakRepositories": "false",
        "Acquire::http::Timeout": 30,
        "Acquire::https::Timeout": 30,
        "Acquire::Retries": 0,
        **_own_network_settings(),
    }
    (work / "apt.conf").write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))
    return {"APT_CONFIG": str(work / "apt.conf")}


def _own_network_settings() -> dict[str, str]:
    """How this user reaches the network: other certificates to trust, as Python and Go take them."""
    return {"Acquire::https::CAInfo": trusted} if (trusted := os.environ.get("SSL_CERT_FILE")) else {}


def _download(repository: AptRepository, version: str, work: Path, environment: dict[str, str]) -> Path:
    """The package in that version; UnavailableError names the versions that are there."""
    madison = _apt(repository, ("apt-cache", "madison", repository.package), work, environment)
    there = [line.split("|")[1].strip() for line in madison.splitlines() if line.count("|") > 1]
    if version not in there:
        versions = ", ".join(there) or "none"
        raise UnavailableError(
            f"{repository.url} has no {repository.package} {version}; versions there: {versions}"
        )
    (work / "package").mkdir()
    _apt(
        repository, ("apt-get", "download", f"{repository.package}={version}"), work / "package", environment
    )
    packages = list((work / "package").glob("*.deb"))
    if len(packages) != 1:
        raise ToolError(repository.package, f"apt-get download left {len(packages)} packages")
    return packages[0]


def _apt(repository: AptRepository, argv: tuple[str, ...], work: Path, environment: dict[str, str]) -> str:
    """What apt prints; its sentence as an error where it fails."""
    try:
        done = run(argv, work, APT_S, environment)
    except UnavailableError as error:
        raise UnavailableError(f"{repository.url}: {error}") from None
    if done.returncode == 0:
        return done.stdout.decode("utf-8", errors="replace")
    said = _said(done.stderr)
    if _WRONG.search(said):
        raise ToolError(repository.url, said)
    raise UnavailableError(f"{repository.url}: {shlex.join(argv[:2])}: {said}")


def _said(stderr: bytes) -> str:
    """The errors and warnings of apt or dpkg, once each, in one line."""
    lines: Sequence[str] = [line.strip() for line in stderr.decode("utf-8", errors="replace").splitlines()]
    told = [line[3:] for line in lines if line.startswith(("E: ", "W: ")) and not line[3:].startswith(_NOISE)]
    return " | ".join(dict.fromkeys(told)) or (lines or ["no message"])[-1]
