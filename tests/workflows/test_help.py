"""Every command's help has examples that can be copied: one a line, as written."""

from importlib import import_module

import click
import pytest
from click.testing import CliRunner

COMMANDS = [
    "workflows.full_matrix",
    "workflows.report",
    "workflows.reporting.reference",
    "workflows.criteria",
    "workflows.inventory",
    "workflows.firewall",
    "workflows.teardown",
    "workflows.repl",
    "workflows.doctor",
    "vpnmesh.lab.__main__",
]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples(name: str) -> None:
    """Lines begin with the command, and no mark of click's is left in the text."""
    main = import_module(name).main
    assert isinstance(main, click.Command)
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    called = f"  python -m {name.removesuffix('.__main__')}"
    assert [line for line in shown.output.splitlines() if line.strip().startswith(called.strip())]
    assert "\\b" not in shown.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    """No option without help, and no command under two names."""
    main = import_module(name).main
    commands = [main, *getattr(main, "commands", {}).values()]
    unexplained = [
        option.opts
        for command in commands
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert unexplained == []
    assert len({id(command) for command in commands}) == len(commands)
