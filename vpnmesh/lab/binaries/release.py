"""The vendor's release: over https, kept only if its SHA-256 is the published one."""

import hashlib
import io
import tarfile
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath

from vpnmesh.errors import ToolError, UnavailableError
from vpnmesh.host.binaries import Arch, ProgramPackage, published_sum
from vpnmesh.lab.binaries.source import Say

FETCH_S = 60.0
LIMIT_BYTES = 400_000_000


class Release:
    """A release of the vendor's with a published checksum."""

    name = "the vendor's release"

    def serves(self, product: ProgramPackage, arch: Arch, /) -> bool:
        """Whether there is one with a checksum."""
        return product.release(arch) is not None

    def get(self, product: ProgramPackage, arch: Arch, into: Path, say: Say, /) -> None:
        """Fetch, verify, unpack."""
        release = product.release(arch)
        if release is None:
            raise UnavailableError(f"{product.name}: {product.way()}")
        url, sums = release
        say(f"fetching {url}")
        name = PurePosixPath(url).name
        wanted = published_sum(https(sums).decode("utf-8", errors="replace"), name)
        body = https(url)
        if (found := hashlib.sha256(body).hexdigest()) != wanted:
            raise ToolError("checksum", f"{product.name}: {name} has SHA-256 {found}, published is {wanted}")
        for program, content in unpack(product, name, body).items():
            (into / program).write_bytes(content)


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
