"""How a page of commands is read, and that a command which prints something else is found."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.live.ladder_page import Step, steps_of, unlike

PAGE = """# A page

## 1 Begin

```console
$ one --with \\
  two
first ...
...
last
# cat > /x << 'END'
$ no command
END
```

## 2 End

```console
$ three
exit code 2
```
"""


def test_commands_are_read_with_what_follows_them(tmp_path: Path) -> None:
    """A command may go on, behind a backslash and in a here-document; its exit code is its own line."""
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    one, file, three = steps_of(page)
    assert (one.heading, one.command, one.on_nodes) == ("1 Begin", "one --with \\\n  two", False)
    assert one.lines == ("first ...", "...", "last")
    assert (file.command, file.on_nodes) == ("cat > /x << 'END'\n$ no command\nEND", True)
    assert (three.heading, three.exit_code, three.lines) == ("2 End", 2, ())


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("first 12\nlast", ""),
        ("first 12\n\nmore\n last\n", ""),
        ("second\nlast", "first ..."),
        ("first 12\nmore", "last"),
        ("first 12\nlast\nmore", "(nothing more) more"),
    ],
)
def test_a_line_that_is_not_there_is_found(said: str, wrong: str) -> None:
    """Lines come in their order; only where the page says so may others lie between or follow."""
    assert unlike(Step("", "x", on_nodes=False, expected=("first ...", "...", "last")), said) == wrong


def test_every_step_of_the_page_has_a_command_of_ours_or_of_debian() -> None:
    """The page for real machines is read to its end, and begins and ends with its user's own files."""
    steps = steps_of(ROOT / "docs" / "from-lab-to-your-machines.md")
    assert "inventory init" in steps[0].command
    assert steps[-1].command.startswith("rm ")
    assert sum(step.command.startswith("python -m workflows.") for step in steps) > 8
