"""A node's shell that stays: scripts go to it one after the other, and it tells where each answer begins and ends.

Each script runs in a subshell, so nothing of it (a folder, a variable, an `exit`) is left for the next.
"""

from collections.abc import Callable

Receive = Callable[[int], bytes]


def framed(script: str, mark: str) -> str:
    """The script as a standing shell is given it: both streams say the mark before it and after it."""
    # `:`, for a subshell without a command is none
    return f"{_said(mark, ':')}(:\n{script})\n{_said(mark, '.')}"


def _said(mark: str, sign: str) -> str:
    # printf is the shell's own: no process is started for it
    return f"printf '\\n{mark}{sign}\\n'; printf '\\n{mark}{sign}\\n' >&2\n"


def read_answer(receive: Receive, mark: str) -> tuple[bytes, bool]:
    """What one stream had between the marks, and whether the last one came; without it the stream has ended.

    What came before the first mark was said by something that a former script left running, and is thrown away. Where
    not even the first one came, it is all that there was: sudo's refusal, say.
    """
    end = f"\n{mark}.\n".encode()
    seen, looked = bytearray(), 0
    while (place := seen.find(end, looked)) < 0:
        looked = max(0, len(seen) - len(end))
        chunk = receive(1 << 16)
        if not chunk:
            break
        seen += chunk
    told = bytes(seen if place < 0 else seen[:place])
    before, begun, answer = told.partition(f"\n{mark}:\n".encode())
    return (answer if begun else before), place >= 0
