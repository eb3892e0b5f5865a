"""Steps as one shell script that tells where each of them ends, and what came back cut at these marks; pure."""

import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath

from vpnmesh.errors import CheckError
from vpnmesh.plan import Command, Completed, Secret, Step, WriteFile, reveal


def ok_codes(step: Step) -> tuple[int, ...]:
    """The exit codes that count as success."""
    return step.ok if isinstance(step, Command) else (0,)


def argv_of(step: Step) -> tuple[str, ...]:
    """What a step is called where it fails."""
    return step.argv if isinstance(step, Command) else ("write", step.path)


def timeout_s(step: Step) -> float:
    """How long it may take on the node."""
    return step.timeout_s if isinstance(step, Command) else 5.0


def rendered(step: Step, mark: str, *, stop: bool) -> str:
    """One step as script lines; `printf` is the shell's own, so contents are in no process's argv."""
    line = _write(step) if isinstance(step, WriteFile) else _command(step)
    end = f"{line}\nrc=$?; printf '\\n{mark} %d\\n' $rc; printf '\\n{mark}\\n' >&2\n"
    codes = "|".join(str(code) for code in ok_codes(step))
    return end + (f"case $rc in {codes}) ;; *) exit 1;; esac\n" if stop else "")


def unattended(steps: Sequence[Step]) -> str:
    """The steps as a script that a node carries out when nobody looks: each is tried, whatever became of the others.

    Raises CheckError where a step holds a secret: such a script lies on the node.
    """
    for step in steps:
        text = step.content if isinstance(step, WriteFile) else step.stdin
        if isinstance(text, Secret):
            raise CheckError("lease", f"{' '.join(argv_of(step)[:4])} needs a secret, which no node keeps")
    return "".join(f"{_write(step) if isinstance(step, WriteFile) else _command(step)}\n" for step in steps)


def _command(command: Command) -> str:
    line = shlex.join(("timeout", "-k", "2", f"{command.timeout_s:g}", *command.argv))
    text = reveal(command.stdin)
    return f"printf %s {shlex.quote(text)} | {line}" if text else f"{line} < /dev/null"


def _write(file: WriteFile) -> str:
    path, temporary = shlex.quote(file.path), shlex.quote(f"{file.path}.vpnmesh-new")
    folder = shlex.quote(str(PurePosixPath(file.path).parent))
    content = shlex.quote(reveal(file.content))
    return (
        f"(umask 077; mkdir -p {folder} && printf %s {content} > {temporary}"
        f" && chmod {file.mode:o} {temporary} && mv -f {temporary} {path})"
    )


def ended(steps: Sequence[Step], mark: str, stdout: str, stderr: str) -> list[Completed]:
    """The steps whose end was seen; either stream may have been cut off anywhere."""
    parts = stdout.split(f"\n{mark} ")
    errors = stderr.split(f"\n{mark}\n")
    completed = []
    text = parts[0]
    for index, part in enumerate(parts[1:]):
        code, end, rest = part.partition("\n")
        if not end:
            break
        error = errors[index] if index < len(errors) else ""
        completed.append(Completed(argv_of(steps[index]), int(code), text, error))
        text = rest
    return completed
