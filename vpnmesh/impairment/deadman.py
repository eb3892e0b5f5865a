"""The timer on the node that lifts an impairment whose controller died, and the folder that both live in."""

import shlex
from collections.abc import Sequence

from vpnmesh.plan import Command, Completed, Step, WriteFile

FOLDER = "/run/vpnmesh/impairment"
ARMED = "deadman armed"
_SHELL = "/bin/sh"
_START_S = 20
# constant script; the folder is its argument. A timer's script undoes after the line that ends its waiting
_LIFT = r"""
for script in "$1"/*.deadman.sh; do
  [ -e "$script" ] || continue
  start-stop-daemon --stop --oknodo --retry TERM/5/KILL/2 --pidfile "${script%.sh}.pid" --exec /bin/sh
  undo=$(sed '1,/^trap - TERM INT$/d' "$script"); sh -c "$undo" < /dev/null
done > /dev/null 2>&1
true
"""
_UNTIL = 'until "$@"; do sleep 0.05; done'


def path(name: str, suffix: str) -> str:
    """A file of the impairment called `name`."""
    return f"{FOLDER}/{name}.{suffix}"


def make_folder() -> Command:
    """The folder for root alone; nothing happens where it is."""
    return Command(("mkdir", "-p", "-m", "0700", FOLDER))


def arm(name: str, undo: Sequence[Command], seconds: int) -> tuple[Step, ...]:
    """Start a process on the node that runs `undo` after `seconds`, and wait until it does.

    Debian's start-stop-daemon detaches it, and comes back before the process is the shell that it will be; on a busy
    machine who asks at once would find none.
    """
    script = path(name, "deadman.sh")
    start = ("start-stop-daemon", "--start", "--background", "--make-pidfile", *_process(name))
    there = Command(
        ("timeout", f"{_START_S}", "sh", "-c", _UNTIL, "sh", *_status(name)), timeout_s=_START_S + 5
    )
    return (WriteFile(script, _script(name, undo, seconds)), Command((*start, "--", script)), there)


def disarm(name: str) -> Command:
    """Stop that process, and wait until it is gone; nothing happens where there is none."""
    argv = ("start-stop-daemon", "--stop", "--oknodo", "--retry", "TERM/5/KILL/2", *_process(name))
    return Command(argv)


def lift_all() -> Command:
    """Lift every impairment of the node now, as its timer would later."""
    return Command(("sh", "-c", _LIFT, "sh", FOLDER), timeout_s=60)


def ask_armed(name: str) -> Command:
    """Exit code 0 when the process runs."""
    return Command(_status(name))


def ask_files() -> Command:
    """The names in the folder; a missing folder is an answer."""
    return Command(("ls", "-1A", FOLDER))


def files_of(name: str, listing: Completed) -> tuple[str, ...]:
    """Which files of that impairment the folder holds."""
    return tuple(sorted(file for file in listing.stdout.split() if file.startswith(f"{name}.")))


def remove_files(name: str, suffixes: Sequence[str]) -> tuple[Command, ...]:
    """Remove the impairment's files, then the folders if nobody else uses them."""
    files = [path(name, suffix) for suffix in (*suffixes, "deadman.sh", "deadman.pid")]
    folders = (FOLDER, FOLDER.rpartition("/")[0])
    empty = Command(("rmdir", "--ignore-fail-on-non-empty", *folders), ok=(0, 1))
    return (Command(("rm", "-f", *files)), empty)


def _status(name: str) -> tuple[str, ...]:
    return ("start-stop-daemon", "--status", *_process(name))


def _process(name: str) -> tuple[str, ...]:
    return ("--pidfile", path(name, "deadman.pid"), "--exec", _SHELL)


def _script(name: str, undo: Sequence[Command], seconds: int) -> str:
    """The sleep is a child of its own, so that a TERM takes both away at once."""
    commands = "\n".join(shlex.join(command.argv) for command in undo)
    return (
        f"# lifts the impairment {name} when its controller has not done so in time\n"
        'trap \'[ -z "$!" ] || kill "$!"; exit 0\' TERM INT\n'
        f'sleep {seconds} &\nwait "$!"\ntrap - TERM INT\n{commands}\n'
    )
