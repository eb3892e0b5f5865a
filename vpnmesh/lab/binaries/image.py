"""The container image: fetched by skopeo as the pinned digest says, unpacked by umoci, its program taken out.

No container daemon has part in it and nothing of an image is run.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from vpnmesh.errors import InputError, ToolError, UnavailableError
from vpnmesh.host.binaries import Arch, ContainerImage, Digest, ProgramPackage
from vpnmesh.lab.binaries.clients import need, run
from vpnmesh.lab.binaries.pins import read_pins, write_pin
from vpnmesh.lab.binaries.source import Say
from vpnmesh.lab.binaries.unpacked import take

ASK_S = 60.0
FETCH_S = 900.0
UNPACK_S = 300.0
_FATAL = re.compile(r'level=fatal msg="((?:[^"\\]|\\.)*)"')
_PREFIX = re.compile(
    r'^.*?"docker://[^"]*": |reading manifest \S+ in \S+: |manifest unknown: (?=manifest unknown)'
)
"""Of that sentence, what is said twice or stands at its beginning anyway."""
_WRONG = re.compile(r"[Dd]igest did not match|does not match|unexpected EOF|gzip: |not of the expected size")
"""What skopeo says of content that is not what its digest promises; all else could not be had."""


class _Platform(BaseModel):
    architecture: str
    os: str


class _Entry(BaseModel):
    digest: Digest
    platform: _Platform


class _Index(BaseModel):
    """An image that is there for several processors."""

    manifests: Annotated[Sequence[_Entry], Field(min_length=1)]


class Image:
    """Programs in images of the vendor's, each pinned by digest: in binaries.toml, else by the user."""

    name = "the container image"

    def serves(self, product: ProgramPackage, _arch: Arch, /) -> bool:
        """Whether images are named."""
        return bool(product.images)

    def get(self, product: ProgramPackage, arch: Arch, into: Path, say: Say, /) -> None:
        """Fetch each image and take its programs."""
        pinned = [(image, _pinned(product, image)) for image in product.images]
        need("skopeo", "umoci")
        for image, digest in pinned:
            say(f"fetching the image {image.reference}@{digest}")
            with tempfile.TemporaryDirectory(dir=into) as folder:
                work = Path(folder)
                root = _unpacked(image, _for_arch(image, digest, arch, work), work)
                for program, path in image.paths.items():
                    take(f"the image {image.reference}", root, path, arch, into / program, say)


def pin(products: Sequence[ProgramPackage], say: Say) -> None:
    """Ask the registry once which digest the tag of each product's images means, say it and keep it for the user.

    InputError where the user has pinned another one before, or where no product comes from an image.
    """
    images = [(product, image) for product in products for image in product.images]
    if not images:
        raise InputError("--pin", f"{', '.join(one.name for one in products)}: in no container image")
    for product, image in images:
        name = image.tagged(product.version)
        if image.digest:
            say(f"{name} is pinned by the project: {image.digest}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            digest = _digest(_manifest(name, Path(folder)))
        write_pin(name, digest)
        say(f"{name} is pinned: {digest}")


def _pinned(product: ProgramPackage, image: ContainerImage) -> str:
    if image.digest:
        return image.digest
    name = image.tagged(product.version)
    if known := read_pins().get(name):
        return known.digest
    raise UnavailableError(
        f"no digest of {name} is pinned: `python -m vpnmesh.lab binaries --pin {product.name}` reads it once"
    )


def _for_arch(image: ContainerImage, digest: str, arch: Arch, work: Path) -> str:
    """The digest of the image itself: that one, or of what it lists the one for that processor."""
    content = _manifest(f"{image.reference}@{digest}", work)
    if (found := _digest(content)) != digest:
        raise ToolError(image.reference, f"the registry gave {found} for {digest}")
    document = _json(image, content)
    if "manifests" not in document:
        return digest
    try:
        entries = _Index.model_validate(document).manifests
    except ValidationError:
        raise ToolError(image.reference, f"{digest} is no list of images") from None
    there = {one.platform.architecture: one.digest for one in reversed(entries) if one.platform.os == "linux"}
    if arch not in there:
        raise UnavailableError(f"{image.reference} is there for {', '.join(sorted(there))}, not for {arch}")
    return there[arch]


def _json(image: ContainerImage, content: bytes) -> dict[str, object]:
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ToolError(image.reference, "the registry gave no manifest of an image")
    return document


def _manifest(name: str, work: Path) -> bytes:
    return _skopeo(name, ("inspect", "--raw", f"docker://{name}"), work, ASK_S)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _unpacked(image: ContainerImage, digest: str, work: Path) -> Path:
    """The image's file system, in a folder below `work`."""
    name = f"{image.reference}@{digest}"
    (work / "policy.json").write_text(policy(name), encoding="utf-8")
    options = ("--policy", "policy.json", "--tmpdir", str(work))
    _skopeo(name, (*options, "copy", "--quiet", f"docker://{name}", "oci:layout:program"), work, FETCH_S)
    # rootless: umoci makes no devices and changes no owners, whoever runs it
    done = run(("umoci", "raw", "unpack", "--rootless", "--image", "layout:program", "root"), work, UNPACK_S)
    if done.returncode:
        raise ToolError(image.reference, f"umoci cannot unpack it: {_last_line(done.stderr)}")
    return work / "root"


def policy(name: str) -> str:
    """What skopeo may copy: the image of that digest, which it verifies, and nothing else."""
    of_that_name = {name: [{"type": "insecureAcceptAnything"}]}
    return json.dumps({"default": [{"type": "reject"}], "transports": {"docker": of_that_name}})


def _skopeo(name: str, arguments: tuple[str, ...], work: Path, seconds: float) -> bytes:
    """What skopeo prints; its one sentence as an error where it fails."""
    short = re.sub(r"(@sha256:.{12}).*", r"\1", name)
    try:
        done = run(("skopeo", *arguments), work, seconds)
    except UnavailableError as error:
        raise UnavailableError(f"{short}: {error}") from None
    if done.returncode == 0:
        return done.stdout
    fatal = _FATAL.search(done.stderr.decode("utf-8", errors="replace"))
    problem = _PREFIX.sub("", fatal[1].replace('\\"', '"') if fatal else _last_line(done.stderr))
    if _WRONG.search(problem):
        raise ToolError(short, problem)
    if "unauthorized" in problem:
        problem += f"; no such image there, or log in: skopeo login {name.partition('/')[0]}"
    raise UnavailableError(f"{short}: {problem}")


def _last_line(stderr: bytes) -> str:
    return (stderr.decode("utf-8", errors="replace").strip().splitlines() or ["no message"])[-1]
