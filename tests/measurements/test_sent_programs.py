"""A program is sent whole: no import of ours, and a node's Python runs it without any of our packages."""

import subprocess
from pathlib import Path

import pytest

from vpnmesh.tools import programs

NAMES = sorted(path.stem for path in Path(programs.__file__).parent.glob("*_program.py"))


def test_there_are_programs() -> None:
    assert len(NAMES) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_a_program_is_sent_with_all_that_it_names(name: str, tmp_path: Path) -> None:
    """Every name that its functions use is defined in the text itself or is Python's own."""
    text = programs.text_of(name)
    assert "import (" not in text
    assert "\nfrom vpnmesh" not in text
    look = (
        "import builtins, symtable, sys\n"
        "text = sys.stdin.read()\n"
        "exec(compile(text, 'sent', 'exec'), {'__name__': 'sent'})\n"
        "whole = symtable.symtable(text, 'sent', 'exec')\n"
        "def used(table):\n"
        "    found = {one.get_name() for one in table.get_symbols() if one.is_global() and one.is_referenced()}\n"
        "    return found.union(*map(used, table.get_children()))\n"
        "made = {one.get_name() for one in whole.get_symbols() if one.is_assigned() or one.is_imported()}\n"
        "print(sorted(used(whole) - made - set(dir(builtins)) - {'__name__'}))\n"
    )
    done = subprocess.run(
        ("python3", "-I", "-c", look), input=text, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
