"""What was begun on a firewall, on this machine's disk before the first write: the way back after a crash."""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from vpnmesh.errors import CheckError, InputError
from vpnmesh.firewall.protocol import Begun, Origin


def default_directory() -> Path:
    """Where changes are journalled: `$VPNMESH_STATE_DIR`, else the user's state directory."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(os.environ.get("VPNMESH_STATE_DIR") or f"{home}/vpnmesh") / "firewall"


@dataclass(frozen=True, slots=True)
class Journal:
    """One file per run and firewall; it stands as long as the run's changes may stand."""

    directory: Path

    @contextlib.contextmanager
    def writer(self, host: str) -> Iterator[None]:
        """Be the only process of this machine that writes to that firewall; CheckError when another does."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        # one lock for all runs, wherever they keep their journals
        locks = default_directory()
        locks.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (locks / f"{_file_name(host)}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckError("firewall", f"another process of this machine is changing {host}") from None
            yield

    def begin(self, origin: Origin, revision: str, snapshot: Mapping[str, object]) -> Begun:
        """Have the change on disk before its first write; a run's first snapshot is the one that counts."""
        if before := self.read(origin.run, origin.host):
            return before
        at = datetime.now(UTC).isoformat()
        begun = Begun(origin.run, origin.host, origin.driver, at, revision, snapshot)
        path = self._path(origin.run, origin.host)
        temporary = path.with_suffix(".new")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(asdict(begun), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return begun

    def read(self, run: str, host: str) -> Begun | None:
        """What that run began on that firewall, None when nothing; InputError for a file that is none of ours."""
        path = self._path(run, host)
        try:
            return Begun(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, TypeError) as error:
            raise InputError(str(path), f"not a firewall journal: {error}") from error

    def of_run(self, run: str) -> tuple[Begun, ...]:
        """All that a run began and has not taken back."""
        found = (
            self.read(run, path.name.split("@", 1)[1].removesuffix(".json")) for path in self._files(run)
        )
        return tuple(begun for begun in found if begun)

    def end(self, run: str, host: str) -> None:
        """The firewall is as it was: nothing is left to take back."""
        self._path(run, host).unlink(missing_ok=True)

    def _files(self, run: str) -> list[Path]:
        return sorted(self.directory.glob(f"{_file_name(run)}@*.json"))

    def _path(self, run: str, host: str) -> Path:
        return self.directory / f"{_file_name(run)}@{_file_name(host)}.json"


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)
