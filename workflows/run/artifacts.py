"""Release files that a cluster's nodes lack: fetched once by the controller, verified, kept, and pushed to them."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tasks
from vpnmesh.cluster.artifacts import PINS, Artifact, Choice, Release, parse_releases
from vpnmesh.cluster.protocol import Cluster, Installer
from vpnmesh.errors import CheckError, ToolError, UnavailableError, UnknownNameError
from vpnmesh.host.binaries import Arch, published_sum
from vpnmesh.lab.atomic import write_atomic
from vpnmesh.lab.binaries.download import download
from vpnmesh.lab.binaries.places import cache_root
from vpnmesh.lab.binaries.release import https
from workflows.run.hosts import run_on
from workflows.run.site import Site

STAGE = "artifacts"
"""The stage of failures here."""
_SAY_EVERY_S = 2.0
Say = Callable[[str], None]
_PINS_FILE = Path(__file__).parents[2] / "vpnmesh" / "cluster" / PINS


def _quietly(_said: str) -> None:
    pass


@dataclass(slots=True)
class _Said:
    """Says how far something is, but not more often than a person reads."""

    say: Say
    what: str
    total: int
    _last: float = field(default_factory=time.monotonic)

    def told(self, came: int, total: int = 0) -> None:
        """So many bytes have come."""
        if time.monotonic() - self._last >= _SAY_EVERY_S:
            self._last = time.monotonic()
            of = f" of {(total or self.total) / 1e6:.0f}" if total or self.total else ""
            self.say(f"{self.what}: {came / 1e6:.0f}{of} MB")

    def of_host(self, host: str, came: int) -> None:
        """So many bytes have come to that host."""
        if time.monotonic() - self._last >= _SAY_EVERY_S:
            self._last = time.monotonic()
            self.say(f"{self.what} to {host}: {came / 1e6:.0f} of {self.total / 1e6:.0f} MB")


def pinned_releases() -> dict[str, Release]:
    """What versions.toml pins, by product."""
    return parse_releases(_PINS_FILE.read_text(encoding="utf-8"))


def artifact_folder(artifact: Artifact) -> Path:
    """Where that file lies in the cache, with its published checksum beside it."""
    return cache_root().parent / "artifacts" / f"{artifact.product}-{artifact.version}-{artifact.arch}"


def fetched(artifact: Artifact, say: Say = _quietly) -> tuple[Path, str]:
    """The file in the cache and its SHA-256, fetched and verified unless it is there whole.

    UnavailableError says how to bring it by hand; ToolError what is wrong with what came.
    """
    file = artifact_folder(artifact) / artifact.name
    note = file.with_name(f"{file.name}.sha256")
    if (kept := _kept(file, note)) is not None:
        return file, kept
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        wanted = published_sum(https(artifact.sums).decode("utf-8", errors="replace"), artifact.name)
        _fetch(artifact, file, wanted, say)
    except UnavailableError as error:
        by_hand = f"put it and `sha256sum {file.name} > {note.name}` into {file.parent}"
        where = f", or {artifact.program} on the nodes' PATH" if artifact.program else ""
        raise UnavailableError(f"{artifact} cannot be fetched ({error}); {by_hand}{where}") from error
    write_atomic(note, f"{wanted}  {file.name}\n".encode(), 0o644)
    return file, wanted


def bring_artifacts(
    site: Site, installer: Installer, cluster: Cluster, say: Say = _quietly, choice: Choice = Choice.CURRENT
) -> None:
    """Give every node the release files that the installer wants there and that it lacks."""
    for artifact, names in lacking_artifacts(site, installer, cluster, choice):
        _push(site, artifact, names, say)


def lacking_artifacts(
    site: Site, installer: Installer, cluster: Cluster, choice: Choice = Choice.CURRENT
) -> list[tuple[Artifact, list[str]]]:
    """The release files that the controller would bring, each with the nodes that need it; nothing is fetched."""
    releases = pinned_releases() if installer.artifacts else {}
    names = [node.name for node in cluster.members]
    return [
        (releases[product].artifact(kind, arch, choice), lacking)
        for product, kind in installer.artifacts
        for arch, lacking in _lacking(site, releases[product], kind, names).items()
    ]


def _lacking(site: Site, release: Release, kind: str, names: Iterable[str]) -> Mapping[Arch, list[str]]:
    """The nodes without that program on their PATH, by architecture; for a file that is no program, all."""
    program = release.files[kind].program
    found = run_on(site.nr, names, tasks.look_for_program, program=program or "sh")
    lacking: dict[Arch, list[str]] = {}
    for name, result in found.items():
        where, machine = result.result
        if program and where:
            continue
        try:
            arch = Arch.parse(machine)
        except UnknownNameError:
            raise CheckError(STAGE, f"{name}: nothing is pinned for {machine}; see {release.page}") from None
        lacking.setdefault(arch, []).append(name)
    return lacking


def _push(site: Site, artifact: Artifact, names: list[str], say: Say) -> None:
    path, sha256 = fetched(artifact, say)
    said = _Said(say, str(artifact), path.stat().st_size)
    run_on(
        site.nr,
        names,
        tasks.push_file,
        source=path,
        target=artifact.target,
        sha256=sha256,
        mode=artifact.mode,
        told=said.of_host,
    )


def _fetch(artifact: Artifact, file: Path, wanted: str, say: Say) -> None:
    coming = file.with_name(f"{file.name}.coming")
    say(f"fetching {artifact.url}")
    found = download(artifact.url, coming, _Said(say, f"fetching {artifact.name}", 0).told)
    if found != wanted:
        coming.unlink()
        raise ToolError("checksum", f"{artifact} has SHA-256 {found}, published is {wanted}")
    coming.replace(file)


def _kept(file: Path, note: Path) -> str | None:
    """The checksum of what lies in the cache where it is the one noted; None where it is not, or is missing."""
    try:
        wanted = published_sum(note.read_text(encoding="utf-8"), file.name)
        with file.open("rb") as content:
            return wanted if hashlib.file_digest(content, "sha256").hexdigest() == wanted else None
    except (OSError, ToolError):
        return None
