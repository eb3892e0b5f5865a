"""The lab's directory: what is in it, and the record by which a lab that is up is found again."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from vpnmesh.errors import InputError
from vpnmesh.lab.atomic import write_atomic
from vpnmesh.lab.processes import ProcessIdentity, process

SCHEMA_VERSION = 1
DEFAULT_DIRECTORY = Path("/run/vpnmesh/lab")
_MARK = ".vpnmesh-lab"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a step of `up` took."""

    step: str
    seconds: float


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node that is up: its addresses, and its first process as the machine sees it."""

    name: str
    management: str
    underlay: str
    first: ProcessIdentity


@dataclass(frozen=True, slots=True)
class LabRecord:
    """`lab.json`: a lab that is up, or was until it was killed."""

    schema_version: int
    boot_id: str
    testbed: str
    fingerprint: str
    port_rate_mbit_s: float | None
    owned: bool
    owner_pid: int
    created: str
    kernel: str
    init: ProcessIdentity
    starter: ProcessIdentity
    controller: str
    uplink: str
    user: str
    nodes: tuple[NodeRecord, ...]
    timings: tuple[Timing, ...]
    kubernetes: bool = False


_RECORDS = TypeAdapter(LabRecord)


@dataclass(frozen=True, slots=True)
class LabDirectory:
    """The 0700 directory of a lab, by the names of what is in it."""

    path: Path

    @property
    def record(self) -> Path:
        """The record of the lab that is up."""
        return self.path / "lab.json"

    @property
    def build_spec(self) -> Path:
        """What the init builds from; removed once the lab is up, for it holds private keys."""
        return self.path / "build-spec.json"

    @property
    def init_log(self) -> Path:
        """What the init itself printed."""
        return self.path / "init.log"

    @property
    def logs(self) -> Path:
        """One file per node: its sshd's log."""
        return self.path / "logs"

    @property
    def ssh(self) -> Path:
        """Keys, known hosts, the password of `meshpw`."""
        return self.path / "ssh"

    @property
    def key(self) -> Path:
        """The key that logs in to every node."""
        return self.ssh / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Every node's host key by its management address."""
        return self.ssh / "known_hosts"

    @property
    def password(self) -> Path:
        """What `meshpw` types at sudo."""
        return self.ssh / "meshpw.password"

    @property
    def twin(self) -> Path:
        """The inventory of a lab that is like another testbed, and what is replayed in it."""
        return self.path / "twin"

    def make(self) -> None:
        """Make it, empty; InputError if the path is taken by something that is no lab's."""
        self.check_ours()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        (self.path / _MARK).touch(mode=0o600)
        for folder in (self.logs, self.ssh, self.ssh / "hosts"):
            folder.mkdir(mode=0o700, exist_ok=True)

    def check_ours(self) -> None:
        """InputError unless the path is free, empty, or a lab's directory: all else must never be removed."""
        if not self.path.exists() and not self.path.is_symlink():
            return
        if self.path.is_symlink() or not self.path.is_dir():
            raise InputError(
                "lab directory", f"{self.path} is no directory", "set VPNMESH_LAB_DIR to another"
            )
        if any(self.path.iterdir()) and not (self.path / _MARK).exists():
            raise InputError(
                "lab directory",
                f"{self.path} holds files that are no lab's",
                "set VPNMESH_LAB_DIR to another",
            )

    def remove(self) -> None:
        """Remove it with all its content."""
        if self.path.exists():
            self.check_ours()
            shutil.rmtree(self.path)

    def read(self) -> LabRecord | None:
        """The record, None if there is none that this version can read; InputError if it is not for this user."""
        try:
            record = _RECORDS.validate_json(self.record.read_bytes())
        except PermissionError:
            raise InputError(
                "lab directory", f"{self.path} is root's", "run this as root, e.g. with sudo"
            ) from None
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None
        return record if record.schema_version == SCHEMA_VERSION else None

    def write(self, record: LabRecord) -> None:
        """Write the record in one move, readable by its owner only."""
        write_atomic(self.record, _RECORDS.dump_json(record, indent=1))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One `up` or `down` at a time; others wait. The lock is on the folder above: no file stays."""
        descriptor = self._lock()
        try:
            yield
        finally:
            if self.path == DEFAULT_DIRECTORY:
                with contextlib.suppress(OSError):  # not empty: somebody else's, or a lab's
                    self.path.parent.rmdir()
            os.close(descriptor)

    def _lock(self) -> int:
        """A descriptor that holds the lock on the folder that is there now, not on one removed meanwhile."""
        while True:
            self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), self.path.parent.stat()):
                    return descriptor
            os.close(descriptor)


def lab_directory(directory: Path | None) -> LabDirectory:
    """The given directory, else the one that VPNMESH_LAB_DIR names, else the default."""
    named = os.environ.get("VPNMESH_LAB_DIR", "")
    return LabDirectory((directory or (Path(named) if named else DEFAULT_DIRECTORY)).absolute())


def boot_id() -> str:
    """The id of this boot: process ids of another mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def is_up(record: LabRecord) -> bool:
    """Whether the record's init is alive, and is that init."""
    return record.boot_id == boot_id() and record.init.alive and process(record.init.pid) == record.init
