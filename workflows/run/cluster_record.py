"""What stands on which machines, on this machine's disk: so that `status` and `down` need no options after a crash."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tasks.firewall.journal import default_directory
from vpnmesh.errors import CheckError, InputError
from vpnmesh.host.salted import is_salted, salted
from vpnmesh.lab.atomic import make_private, open_private, write_atomic
from vpnmesh.lab.directory import lab_directory
from vpnmesh.lab.lifecycle import find
from vpnmesh.model import Scenario, Testbed
from vpnmesh.study.manifest import NodeFootprints
from workflows.run.addresses import same_machines
from workflows.run.lab import emulated

SCHEMA_VERSION = 1


class ClusterPhase(StrEnum):
    """How far it came: a record that says `raising` or `removing` while nobody is at work is of one that was killed."""

    RAISING = "raising"
    STANDING = "standing"
    REMOVING = "removing"


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """A cluster that stands, or was begun; written before the first node is touched.

    `since` is when it stood, or was begun. `over` are interface and address of every member that the cluster was put
    on. `lab` is the directory of the lab that it stands in ("" on real machines), `lab_pid` that lab's init (0 until
    it is up), and `lab_is_ours` says that it was brought up for the cluster. `tunnel` is the command that leads to the
    API server, "" where the kubeconfig's server can be reached as it is. `published` is what members told each other
    openly (public keys), by node and key: their words of each other are read by it. `footprint` is what nodes had
    before, `settings` which kernel settings, of those that a VPN in the kernel changes by itself.
    """

    schema_version: int
    phase: ClusterPhase
    scenario: Scenario
    installer: str
    inventory: str
    since: str
    nodes: tuple[str, ...]
    lab: str = ""
    lab_pid: int = 0
    lab_is_ours: bool = False
    over: dict[str, tuple[str, IPv4Address]] = field(default_factory=dict)
    kubeconfig: str = ""
    kubeconfig_digest: str = ""
    tunnel: str = ""
    published: tuple[tuple[str, str, str], ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    footprint: NodeFootprints = field(default_factory=dict)
    settings: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def named(self) -> str:
        """What stands, in words."""
        return f"{self.installer} over {self.scenario.name}"

    @property
    def what(self) -> tuple[Scenario, str, str, str]:
        """What two records have in common if they are of the same cluster on the same machines."""
        return self.scenario, self.installer, self.inventory, self.lab

    @property
    def lab_is_gone(self) -> bool:
        """Whether the lab in which it stood is not up any more."""
        if not self.lab:
            return False
        there = find(Path(self.lab))
        return there is None or self.lab_pid not in (0, there.init_pid)


_RECORDS = TypeAdapter(ClusterRecord)


@dataclass(frozen=True, slots=True)
class ClusterFiles:
    """The 0700 folder with the record, its lock and the kubeconfig."""

    path: Path

    @classmethod
    def here(cls) -> "ClusterFiles":
        """Below `$VPNMESH_STATE_DIR`, else below the user's state directory."""
        return cls(default_directory().parent / "cluster")

    @property
    def record(self) -> Path:
        """What stands."""
        return self.path / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        """Where the kubeconfig goes unless somebody says where."""
        return self.path / "kubeconfig"

    def read(self) -> ClusterRecord | None:
        """What stands or was begun, None where nothing was; InputError for a file that is none of ours."""
        try:
            return _RECORDS.validate_json(self.record.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError:
            raise InputError(
                str(self.record), "is another user's", "run this as that user, e.g. with sudo"
            ) from None
        except ValidationError as error:
            raise InputError(
                str(self.record),
                f"no record of a cluster: {error.errors()[0]['msg']}",
                "vpnmesh teardown, then remove it",
            ) from error

    def write(self, record: ClusterRecord) -> None:
        """Put it on the disk, in one move; CheckError where that cannot be."""
        try:
            make_private(self.path)
            write_atomic(self.record, _RECORDS.dump_json(record))
        except OSError as error:
            raise CheckError("cluster", f"{self.record} cannot be written: {error.strerror}") from error

    def forget(self, record: ClusterRecord) -> None:
        """Nothing stands any more: remove the record, and the kubeconfig unless somebody wrote another there since."""
        if record.kubeconfig and _is_as_written(record):
            Path(record.kubeconfig).unlink()
        self.record.unlink(missing_ok=True)

    def busy(self) -> bool:
        """Whether some process is raising or removing right now."""
        try:
            with (self.path / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except (FileNotFoundError, NotADirectoryError):
            return False
        return False

    def holder(self) -> str:
        """Who raises or removes, in its own words."""
        with contextlib.suppress(OSError):
            return (self.path / "lock").read_text(encoding="utf-8").strip()
        return ""

    def keep_log(self, name: str, text: str) -> None:
        """Keep what a daemon logged in a cluster that did not come up, in `logs/`."""
        folder = self.path / "logs"
        make_private(folder)
        write_atomic(folder / name, text.encode())

    @contextlib.contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Be the only one who raises or removes; CheckError names who does, InputError a folder that cannot be used."""
        try:
            make_private(self.path)
            held = open_private(self.path / "lock", os.O_APPEND)
        except OSError as error:
            raise InputError(
                str(self.path),
                f"cannot be written: {error.strerror}",
                "set VPNMESH_STATE_DIR to another folder",
            ) from error
        with held as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckError("cluster", f"another process is at it: {self.holder()}") from None
            lock.truncate(0)
            lock.write(f"{what}, process {os.getpid()}\n".encode())
            lock.flush()
            yield


def now() -> str:
    """The time, as a record has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def begun(scenario: Scenario, installer: str, inventory: str, testbed: Testbed) -> ClusterRecord:
    """A record as it is before anything is touched."""
    place = lab_directory(None).path if emulated(testbed) else None
    return ClusterRecord(
        SCHEMA_VERSION,
        ClusterPhase.RAISING,
        scenario,
        installer,
        inventory,
        since=now(),
        nodes=tuple(node.management for node in testbed.nodes),
        lab=str(place or ""),
        lab_is_ours=place is not None and find(place) is None,
    )


def written(record: ClusterRecord, path: Path, text: str) -> ClusterRecord:
    """Write the kubeconfig, 0600, and note where; OSError is an InputError that names the file."""
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise InputError("--kubeconfig", f"{path} cannot be written: {error.strerror}") from error
    return replace(
        record,
        kubeconfig=str(path.resolve()),
        kubeconfig_digest=salted(text.encode(), secrets.token_hex(16), _DIGEST_BYTES),
    )


_DIGEST_BYTES = 64


def _is_as_written(record: ClusterRecord) -> bool:
    """Whether the kubeconfig still holds what was written there."""
    try:
        content = Path(record.kubeconfig).read_bytes()
    except OSError:
        return False
    return is_salted(record.kubeconfig_digest, content, _DIGEST_BYTES)


def refuse_another(files: ClusterFiles, wanted: ClusterRecord) -> ClusterRecord | None:
    """What stands already, if it is the very same; InputError where it is another one, or one that was interrupted.

    One that ended with its lab is forgotten.
    """
    there = files.read()
    if there is None or there.lab_is_gone:
        if there is not None:
            files.forget(there)
        return None
    if there.phase is not ClusterPhase.STANDING:
        raise InputError(
            "cluster",
            f"{there.named} was begun or being removed when that was killed",
            "vpnmesh cluster down",
        )
    if there.what != wanted.what:
        said = f"{there.named} stands already, since {there.since} on {there.inventory}"
        raise InputError("cluster", said, "take it down first: vpnmesh cluster down")
    return there


def state_in_words(files: ClusterFiles, record: ClusterRecord | None) -> str:
    """Why there is nothing to look at, "" where a cluster should stand."""
    if record is None:
        return "no cluster stands"
    if record.phase is not ClusterPhase.STANDING and files.busy():
        return f"{record.named}: {record.phase}, since {record.since} ({files.holder()})"
    if record.lab_is_gone:
        return (
            f"{record.named} stood in the lab in {record.lab}, which is not up any more; forget it: vpnmesh cluster"
            " down"
        )
    if record.phase is ClusterPhase.STANDING:
        return ""
    return f"{record.named}: {record.phase} was interrupted; clean up: vpnmesh cluster down"


def on_these(record: ClusterRecord, testbed: Testbed) -> bool:
    """Whether the record is of a cluster on any machine of that testbed."""
    if record.lab_is_gone or not same_machines((node.management for node in testbed.nodes), record.nodes):
        return False
    return not record.lab or Path(record.lab).resolve() == lab_directory(None).path.resolve()


def refuse_beside_cluster(testbed: Testbed, place: str) -> None:
    """InputError where a cluster stands, or was begun, on machines of that testbed: it would be in every figure."""
    record = ClusterFiles.here().read()
    if record is not None and on_these(record, testbed):
        state = "stands" if record.phase is ClusterPhase.STANDING else "was begun"
        said = f"a cluster {state} on these nodes ({record.named})"
        raise InputError(place, said, "take it down first: vpnmesh cluster down")


def settings_before_cluster(testbed: Testbed) -> dict[str, dict[str, str]]:
    """Kernel settings that these machines had before the cluster that is recorded of them; none where none is.

    A file that is no record tells none either: `forget_cluster` says so, once all is taken away.
    """
    with contextlib.suppress(InputError):
        record = ClusterFiles.here().read()
        if record is not None and on_these(record, testbed):
            return record.settings
    return {}


def forget_cluster(testbed: Testbed) -> None:
    """Nothing of ours is left on these machines: no cluster stands there."""
    files = ClusterFiles.here()
    record = files.read()
    if record is not None and on_these(record, testbed):
        files.forget(record)
