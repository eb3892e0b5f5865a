"""Run the commands of a step; neighbouring `ip` and `tc` commands share a process, since each start takes time."""

import subprocess
from collections.abc import Iterable, Iterator
from itertools import groupby

from vpnmesh.lab.errors import LabError
from vpnmesh.lab.topology import Argv, Step

_TIMEOUT_S = 60.0
_BATCH_FAILED = "Command failed -:"


def run_step(step: Step) -> None:
    """Run a step's commands in order; LabError names the step and the command that was refused."""
    for prefix, commands in batches(step.commands):
        if len(commands) == 1:
            _run(step.name, commands[0], "")
        else:
            lines = "".join(" ".join(command[len(prefix) :]) + "\n" for command in commands)
            _run(step.name, (*prefix, "-batch", "-"), lines)


def batches(commands: Iterable[Argv]) -> Iterator[tuple[Argv, tuple[Argv, ...]]]:
    """Neighbours that share one process, with the words that they share; a word with a space stays alone."""
    indexed = enumerate(commands)
    for key, group in groupby(indexed, lambda pair: _batch_key(*pair)):
        prefix = key if isinstance(key, tuple) else ()
        yield prefix, tuple(command for _, command in group)


def _batch_key(index: int, command: Argv) -> Argv | int:
    """What commands must have in common to share a process; their own index where none may share."""
    if command[0] not in ("ip", "tc") or any(" " in word for word in command):
        return index
    return command[:3] if command[1] == "-n" else command[:1]


def _run(step: str, argv: Argv, stdin: str) -> None:
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise LabError(step, f"{argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise LabError(step, f"{' '.join(argv)}: no answer in {_TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.strip().splitlines() if not line.startswith(_BATCH_FAILED)]
        message = " | ".join(said[:3]) or "no message"
        command = _refused(argv, stdin, done.stderr)
        raise LabError(step, f"{' '.join(command)}: exit {done.returncode}: {message}")


def _refused(argv: Argv, stdin: str, stderr: str) -> Argv:
    """The command itself, or that line of a batch which `Command failed -:N` points at."""
    lines = stdin.splitlines()
    for line in stderr.splitlines():
        number = line.removeprefix(_BATCH_FAILED)
        if number != line and number.isdigit() and 0 < int(number) <= len(lines):
            return (*argv[:-2], lines[int(number) - 1])
    return argv
