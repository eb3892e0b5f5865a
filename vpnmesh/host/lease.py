"""A node's lease: who works on it, and what the node undoes by itself once that controller has been silent too long.

A lease is a folder of the node, below /run: who holds it, when it was renewed last, what is to be undone, and a
process that watches. The watchdog counts the seconds in which nobody renewed it, by sleeping: neither the node's wall
clock nor a suspended node makes a lease shorter. Everything that changes the folder does so under a lock on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vpnmesh.errors import CheckError
from vpnmesh.host.service import RUN_DIRECTORY
from vpnmesh.plan import Command, Completed, Fact

NO_EMPTY_FOLDER = Command(("rmdir", "--ignore-fail-on-non-empty", "/var/lib/vpnmesh"), ok=(0, 1))
"""The folder of everything that scenarios keep on a node, unless something is in it."""
FOLDER = f"{RUN_DIRECTORY}/lease"
TABLES = "tables"
"""The file in it that names the nftables tables that were there before the run came, a line each."""
STAGE = "lease"
"""The stage of failures here."""
SECONDS = 900
"""How long a controller may be silent: as long as an impairment lasts without one."""
LOCK_S = 30
"""How long a lock is waited for: a node that is undoing holds it."""
UNDO_S = 300.0
"""How long undoing what an earlier run left may take where the next one finds it."""

# constant scripts; everything variable comes as an argument. The folder is locked itself, and one that was removed
# while its lock was waited for is another one
_WORDS = """
d="$1"
held() { { read -r token && read -r run && read -r controller && read -r since; } < "$d/holder"; } 2> /dev/null
alive() { read -r pid < "$d/pid" && tr '\\0' '\\n' < "/proc/$pid/cmdline" | grep -qxF "$d/watchdog"; } 2> /dev/null
lock() { command exec 9< "$d" && flock -w "$1" 9 && [ "/proc/$$/fd/9" -ef "$d" ]; } 2> /dev/null
put() { cat > "$d/$1.new" && mv -f "$d/$1.new" "$d/$1"; }
uptime_s() { read -r up _ < /proc/uptime; echo "$up"; }
renewed_now() { uptime_s | put renewed; }
silent_s() { read -r renewed < "$d/renewed" || renewed=0; up=$(uptime_s); echo $((${up%%.*} - ${renewed%%.*})); }
undo() { [ ! -e "$d/undo" ] || sh "$d/undo" > /dev/null 2>&1 < /dev/null 9<&-; rm -f "$d/undo"; }
removed() {
  # iproute2 makes this folder with the first namespace, mounts it on itself, and leaves both
  [ ! -e "$d/no-netns" ] || [ -n "$(ls -A /run/netns)" ] || { umount /run/netns; rmdir /run/netns; }
  rm -rf "$d"; rmdir "${d%/*}"; true
} 2> /dev/null
answer() { printf '%s\\n' "$1"; held && printf '%s\\n' "$run" "$controller" "$since" "$(silent_s)"; exit 0; }
watch() {
  if [ -d /run/systemd/system ]; then systemd-run --quiet --collect --unit="vpnmesh-lease-$$" -- sh "$d/watchdog" "$d"
  else setsid -f sh "$d/watchdog" "$d" > /dev/null 2>&1 < /dev/null 9<&-; fi
  i=0; until alive; do
    i=$((i+1)); [ $i -lt 500 ] || { echo 'the watchdog does not start' >&2; exit 1; }; sleep 0.02
  done
}
unwatch() {
  alive || return 0
  kill "$pid"; i=0; while alive && [ $i -lt 100 ]; do sleep 0.02; i=$((i+1)); done
  ! alive || kill -9 "$pid"; true
} 2> /dev/null
"""
_WATCHDOG = (
    "# undoes what a run of vpnmesh made here once its controller has been silent for too long\n"
    + _WORDS
    + """
exec 2> /dev/null
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"; export PATH
trap '[ -z "$!" ] || kill "$!"; exit 0' TERM INT
echo $$ | put pid
seen=; silent=0
while read -r renewed < "$d/renewed" && read -r seconds < "$d/seconds"; do
  [ "$renewed" = "$seen" ] || { seen="$renewed"; silent=0; }
  if [ "$silent" -ge "$seconds" ]; then
    lock 3600 || exit 0
    # a renewal may have come before the lock
    read -r renewed < "$d/renewed"; [ "$renewed" != "$seen" ] || break
    exec 9<&-; continue
  fi
  step=$((seconds / 30)); [ $step -ge 1 ] || step=1; [ $step -le 10 ] || step=10
  sleep "$step" & wait "$!"
  silent=$((silent + step))
done
[ -e "$d/renewed" ] || exit 0
trap '' TERM INT
# from here on it is nobody's, whatever becomes of this process
rm -f "$d/holder"; undo; removed
"""
)
_CLAIM = (
    _WORDS
    + """
umask 077; i=0
until (umask 022; mkdir -p "${d%/*}") && mkdir -p "$d" && lock "$8"; do
  i=$((i+1)); [ $i -lt 5 ] || answer busy; exec 9<&-
done
if held && { [ "$run" != "$3" ] || [ "$7" != again ]; }; then
  if alive || { read -r seconds < "$d/seconds" && [ "$(silent_s)" -lt "$seconds" ]; }; then answer other; fi
fi
undo
[ -e "$d/tables" ] || { [ -e /run/netns ] || : | put no-netns; nft list tables 2> /dev/null | put tables; }
printf '%s' "$9" | put watchdog && echo "$6" | put seconds && renewed_now \\
  && printf '%s\\n' "$2" "$3" "$4" "$5" | put holder || exit 1
alive || watch
answer mine
"""
)
_RENEW = (
    _WORDS
    + """
umask 077
lock "$3" || { [ -d "$d" ] && answer busy || answer none; }
held || answer none
[ "$token" = "$2" ] || answer other
[ "$4" != undo ] || put undo || exit 1
renewed_now || exit 1
alive || watch
answer mine
"""
)
_RELEASE = (
    _WORDS
    + """
lock "$3" || { [ -d "$d" ] && answer busy || answer none; }
if held && [ "$2" != any ] && [ "$token" != "$2" ]; then answer other; fi
unwatch; removed; answer none
"""
)
# it is watched until all is undone, and held: where this is cut, the watchdog or the next claim does it
_TAKE_AWAY = (
    _WORDS
    + """
lock "$2" || { [ -d "$d" ] && answer busy || answer none; }
undo; unwatch; removed; answer none
"""
)
_READ = _WORDS + "held || answer none; answer other"
_FENCE = 'read -r token < "$1/holder" && [ "$token" = "$2" ]'
_HOLDER_LINES = 4
ANY = "any"
"""In place of a token: whoever holds it."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What one session of a run claims: its run, where and since when it runs, and how long it may be silent.

    `token` is this session's own: one that goes on with the same run takes the lease from it.
    """

    run: str
    controller: str
    since: str
    token: str
    seconds: int = SECONDS


class LeaseState(StrEnum):
    """How a node answers; `busy` while it is undoing."""

    MINE = "mine"
    OTHER = "other"
    NONE = "none"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who holds a node: the run, its controller, since when, and for how many seconds it has been silent."""

    run: str
    controller: str
    since: str
    silent_s: int

    def __str__(self) -> str:
        return f"run {self.run} of {self.controller}, since {self.since}"


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """What a node says of its lease, and who holds it, if anybody does."""

    state: LeaseState
    holder: LeaseHolder | None = None


def claimed(lease: Lease, *, again: bool, folder: str = FOLDER) -> Fact[LeaseAnswer]:
    """Take the lease if nobody holds it, or if `again` and the same run does; what an ended session left is undone.

    One step on the node: of two that come at once, the second finds the first.
    """
    words = (lease.token, lease.run, lease.controller, lease.since, str(lease.seconds))
    take = "again" if again else ""
    argv = ("sh", "-c", _CLAIM, "sh", folder, *words, take, str(LOCK_S), _WATCHDOG)
    return _asked(Command(argv, timeout_s=UNDO_S + LOCK_S))


def renewed(token: str, undo: str | None = None, folder: str = FOLDER) -> Fact[LeaseAnswer]:
    """Start the time anew; with `undo`, this script replaces what the node would undo by itself."""
    argv = ("sh", "-c", _RENEW, "sh", folder, token, str(LOCK_S), "" if undo is None else "undo")
    return _asked(Command(argv, stdin=undo or "", timeout_s=LOCK_S + 10))


def released(token: str = ANY, folder: str = FOLDER) -> Fact[LeaseAnswer]:
    """End the lease and its watchdog without undoing anything; whoever's it is without a token.

    What scenarios kept is gone by then; the folder that it was in goes, too.
    """
    release = Command(("sh", "-c", _RELEASE, "sh", folder, token, str(LOCK_S)), timeout_s=LOCK_S + 10)
    return Fact((release, NO_EMPTY_FOLDER), lambda completed: _parse(completed[0]))


def taken_away(folder: str = FOLDER) -> Fact[LeaseAnswer]:
    """Undo at once what the node would undo by itself, and end the lease and its watchdog, whoever's they are."""
    argv = ("sh", "-c", _TAKE_AWAY, "sh", folder, str(LOCK_S))
    take = Command(argv, timeout_s=UNDO_S + LOCK_S)
    return Fact((take, NO_EMPTY_FOLDER), lambda completed: _parse(completed[0]))


def read_holder(folder: str = FOLDER) -> Fact[LeaseAnswer]:
    """Who holds the lease now; nothing changes."""
    return _asked(Command(("sh", "-c", _READ, "sh", folder)))


def fence(token: str, folder: str = FOLDER) -> Command:
    """A step that fails unless the lease is held by that session: nothing after it is done then."""
    return Command(("sh", "-c", _FENCE, "lease", folder, token))


def is_fence(argv: Sequence[str]) -> bool:
    """Whether it was the fence that failed."""
    return _FENCE in argv


def _asked(command: Command) -> Fact[LeaseAnswer]:
    return Fact((command,), lambda completed: _parse(completed[0]))


def _parse(completed: Completed) -> LeaseAnswer:
    state, *words = completed.stdout.splitlines() or [""]
    if state not in {*LeaseState}:
        said = completed.stderr.strip() or f"exit {completed.exit_code}"
        raise CheckError(STAGE, f"the node's answer cannot be read: {said}")
    holder = None
    if len(words) == _HOLDER_LINES:
        run, controller, since, silent = words
        holder = LeaseHolder(run, controller, since, int(silent))
    return LeaseAnswer(LeaseState(state), holder)
