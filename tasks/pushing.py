"""Bringing large files to a node over its SSH connection, and taking back what was brought: it needs no internet."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from nornir.core.task import Result, Task

from inventory.repeating import on_controller, repeatable
from tasks.apply import converge
from tasks.connection import shell
from vpnmesh.errors import CheckError
from vpnmesh.host.brought import LIST, Brought, brought, program_there, withdrawn
from vpnmesh.plan import unified_diff

STAGE = "artifacts"
"""The stage of failures here."""
STALLED_S = 60.0
"""How long a node may take no byte before its transfer counts as broken off."""
CHUNK_BYTES = 1 << 18
SPARE_BYTES = 32_000_000
"""What must stay free on a node's disk beside a file that comes."""
Told = Callable[[str, int], None]
"""Told of a host how many bytes of the file it has by now, from that host's own thread."""

# constant script: target, sum, mode and the list of what was brought are arguments, the file comes on stdin. The entry
# is there before the file is, so that whatever is killed in between, what we put there is known to be ours
_PLACE = """
umask 022; new="$1.vpnmesh-new"; trap 'rm -f "$new"' EXIT
mkdir -p "$(dirname "$1")" "$(dirname "$4")" && cat > "$new" || exit 3
sum=$(sha256sum < "$new" | cut -d' ' -f1)
[ "$sum" = "$2" ] || { echo "what came has the SHA-256 $sum, not $2" >&2; exit 4; }
{ awk -v path="$1" '$2 != path' "$4" 2> /dev/null; echo "$2  $1"; } > "$4.new" && mv -f "$4.new" "$4" || exit 3
chmod "$3" "$new" && mv -f "$new" "$1" || exit 3
"""


def _untold(_host: str, _sent: int) -> None:
    pass


@repeatable
def look_for_program(task: Task, program: str) -> Result:
    """Where this node has a program of its own, and its processor; `result` is a pair, ("", "x86_64") where not."""
    return Result(host=task.host, result=shell(task).gather(program_there(program)))


@on_controller("the file is on its disk")
def push_file(
    task: Task,
    source: Path,
    target: str,
    sha256: str,
    mode: int = 0o644,
    told: Told = _untold,
    dry_run: bool | None = None,
) -> Result:
    """Ensure that this node has exactly that file, whole or not at all; noted as ours in the node's own list.

    Raises CheckError with one sentence where the file is somebody else's, the disk is too small or what came is not
    what was sent.
    """
    here = shell(task)
    there = here.gather(brought(target))
    if there.sha256 == sha256:
        return Result(host=task.host, changed=False, diff="")
    size = source.stat().st_size
    _refuse(here.host, target, there, size)
    if not task.is_dry_run(dry_run):
        argv = ("sh", "-c", _PLACE, "sh", target, sha256, f"{mode:o}", LIST)
        done = here.feed(argv, _chunks(source, here.host, told), stalled_s=STALLED_S)
        if done.exit_code:
            said = done.stderr.strip().splitlines() or [f"exit {done.exit_code}"]
            raise CheckError(STAGE, f"{here.host}: {target} did not arrive: {said[-1]}")
    before = there.sha256 and f"sha256 {there.sha256}"
    return Result(
        host=task.host, changed=True, diff=unified_diff(target, before, f"sha256 {sha256}, {size} bytes")
    )


@repeatable
def withdraw_files(task: Task, dry_run: bool | None = None) -> Result:
    """Remove from this node what `push_file` brought, but nothing that has been changed since."""
    return converge(task, withdrawn(), dry_run)


def sha256_of(path: Path) -> str:
    """The file's checksum, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse(host: str, target: str, there: Brought, size: int) -> None:
    if there.sha256 and there.sha256 != there.listed:
        reason = f"{host}: {target} is there already, and not from here; move it away, or use it from PATH"
        raise CheckError(STAGE, reason)
    if there.free_bytes < size + SPARE_BYTES:
        mb = [round(one / 1e6) for one in (size + SPARE_BYTES, there.free_bytes)]
        raise CheckError(STAGE, f"{host}: {target} needs {mb[0]} MB free on its disk, which has {mb[1]} MB")


def _chunks(source: Path, host: str, told: Told) -> Iterator[bytes]:
    sent = 0
    with source.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
            sent += len(chunk)
            told(host, sent)
