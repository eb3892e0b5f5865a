"""Programs that run on nodes without being there: their text is sent, and a node's own Python runs it.

Only their text is used here. What they have in common is `program_frame.py`, whose text takes the place of their
import of it.
"""

import re
from importlib import resources

READY = "ready"
"""What a program prints that listens."""
FAILED = "failed: "
"""What a program's last line begins with that could not do its part."""
START_S = 20.0
"""How long it may take until a program listens, on a busy node."""
_FRAME = re.compile(r"^from vpnmesh\.tools\.program_frame import (?:\([^)]*\)|[^(\n]*)\n", re.MULTILINE)
_FUTURE = "from __future__ import annotations\n"


def text_of(name: str) -> str:
    """The text of a program beside this file, whole: with the frame that it imports before it."""
    program, imports = _FRAME.subn("", _read(name))
    # of a `__future__` import nothing but a docstring may stand before it
    return f"{_read('program_frame')}\n\n{program.replace(_FUTURE, '')}" if imports else program


def called(program: str, *words: str) -> tuple[str, ...]:
    """How a node runs a program's text."""
    return ("python3", "-I", "-u", "-c", program, *words)


def last_line(text: str) -> str:
    """What a program said at its end; empty if it said nothing."""
    return (text.strip().splitlines() or [""])[-1]


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(f"{name}.py").read_text(encoding="utf-8")
