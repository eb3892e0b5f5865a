"""What was begun on a firewall, on this machine's disk before the first write: the way back after a crash."""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from vpnmesh.errors import NO_JSON, CheckError, InputError
from vpnmesh.firewall.session import ChangeOrigin, JournalledChange
from vpnmesh.lab.atomic import make_private, open_private, write_atomic

HISTORY = "changes.jsonl"
"""Where a line is left for every change that was taken back."""


def default_directory() -> Path:
    """Where changes are journalled: `$VPNMESH_STATE_DIR`, else the user's state directory."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(os.environ.get("VPNMESH_STATE_DIR") or f"{home}/vpnmesh") / "firewall"


@dataclass(frozen=True, slots=True)
class Journal:
    """One file per run and firewall; it is there as long as the run's changes may be."""

    directory: Path

    @contextlib.contextmanager
    def writer(self, origin: ChangeOrigin) -> Iterator[None]:
        """Be the only process of this machine that writes to that firewall; CheckError when another does."""
        make_private(self.directory)
        # one lock for all runs, wherever they keep their journals
        locks = default_directory()
        make_private(locks)
        # the same address in another network namespace is another firewall: two labs may be up side by side
        network = Path("/proc/thread-self/ns/net").stat().st_ino
        with open_private(locks / f"{_file_name(origin.firewall)}-{network}.lock", os.O_TRUNC) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckError(
                    "firewall", f"another process of this machine is changing {origin.host}"
                ) from None
            yield

    def begin(
        self, origin: ChangeOrigin, revision: str, snapshot: Mapping[str, object], *, anew: bool
    ) -> JournalledChange:
        """Put the change on disk before its first write.

        While a run's changes are there, its first snapshot is the one that counts; `anew` when none of them is.
        """
        if not anew and (before := self.read(origin)):
            return before
        begun = JournalledChange(origin, datetime.now(UTC).isoformat(), revision, snapshot)
        self._write(begun)
        return begun

    def confirm(self, origin: ChangeOrigin, policy: str) -> None:
        """Put on record which policy a person says that the firewall holds, "" while that is not known.

        Nothing where no change was begun: there is nothing to remember of it.
        """
        if begun := self.read(origin):
            self._write(replace(begun, confirmed=policy))

    def read(self, origin: ChangeOrigin) -> JournalledChange | None:
        """What that run began there, None when nothing; InputError for a file that is none of ours."""
        path = self._path(origin)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return JournalledChange(
                origin, found["at"], found["revision"], found["snapshot"], found.get("confirmed", "")
            )
        except FileNotFoundError:
            return None
        except (*NO_JSON, TypeError, KeyError) as error:
            raise InputError(str(path), f"not a firewall journal: {error}") from error

    def end(self, origin: ChangeOrigin) -> None:
        """The firewall is as it was: nothing is left to take back; when and from which revision stays on record."""
        if begun := self.read(origin):
            done = {**asdict(origin), "begun": begun.at, "ended": datetime.now(UTC).isoformat()}
            with open_private(self.directory / HISTORY, os.O_APPEND) as file:
                file.write(json.dumps({**done, "revision": begun.revision}).encode() + b"\n")
        self._path(origin).unlink(missing_ok=True)

    def _write(self, begun: JournalledChange) -> None:
        """Replace the record in one move, flushed to the disk with its folder."""
        write_atomic(self._path(begun.origin), json.dumps(asdict(begun)).encode())

    def _path(self, origin: ChangeOrigin) -> Path:
        return self.directory / f"{_file_name(origin.run)}@{_file_name(origin.firewall)}.json"


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)
