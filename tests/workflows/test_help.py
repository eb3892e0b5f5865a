"""Every command's help has examples that can be copied, one a line as written, in both forms of the command."""

import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner, Result

from tests.conftest import ROOT
from workflows.__main__ import COMMANDS, as_grouped, main

ALONE = [entry.module for entry in COMMANDS.values()] + ["workflows.reporting.reference"]
HEAVY = {
    "polars",
    "scipy",
    "matplotlib",
    "nornir",
    "netmiko",
    "pydantic",
    "rich",
    "vpnmesh",
    "tasks",
    "inventory",
}


def command(module: str) -> click.Command:
    """The module's own command."""
    found = import_module(module).main
    assert isinstance(found, click.Command)
    return found


def grouped(*arguments: str) -> Result:
    """`vpnmesh` with these arguments."""
    return CliRunner().invoke(main, arguments, prog_name="vpnmesh")


def examples(help_text: str, called: str) -> list[str]:
    """The command lines that a help shows, without the word of explanation behind them."""
    lines = (line.strip() for line in help_text.splitlines())
    return [line.split("   ")[0] for line in lines if line.startswith(f"{called} ") or line == called]


@pytest.mark.parametrize("name", ALONE)
def test_help_shows_examples(name: str) -> None:
    """Lines begin with the command, and no mark of click's is left in the text."""
    shown = CliRunner().invoke(command(name), ["--help"])
    assert shown.exit_code == 0
    assert examples(shown.output, f"python -m {name.removesuffix('.__main__')}")
    assert "\\b" not in shown.output


@pytest.mark.parametrize("name", ALONE)
def test_every_option_is_explained(name: str) -> None:
    """No option without help, and no command under two names."""
    found = command(name)
    commands = [found, *getattr(found, "commands", {}).values()]
    unexplained = [
        option.opts
        for one in commands
        for option in one.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert unexplained == []
    assert len({id(one) for one in commands}) == len(commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_both_forms_show_the_same_help(name: str) -> None:
    """But for how they are called, in the usage line and in the examples."""
    entry = COMMANDS[name]
    alone = CliRunner().invoke(command(entry.module), ["--help"], prog_name=entry.called).output
    together = grouped(name, "--help").output
    assert together.splitlines()[0].startswith(f"Usage: vpnmesh {name} ")
    alone = alone.replace(entry.called, f"vpnmesh {name}", 1)
    assert words(str(as_grouped(alone))) == words(together)
    assert "python -m" not in together


def words(text: str) -> list[str]:
    """The words without their lines: a shorter name moves the breaks; and both ways to ask for help are one."""
    return text.replace("-h, --help", "--help").split()


def subcommands() -> Iterator[tuple[str, str]]:
    """Every subcommand with its command."""
    for name, entry in COMMANDS.items():
        commands: Mapping[str, click.Command] = getattr(command(entry.module), "commands", {})
        yield from ((name, sub) for sub in commands)


@pytest.mark.parametrize(("name", "sub"), list(subcommands()))
def test_a_subcommand_has_help_under_the_group(name: str, sub: str) -> None:
    """The usage line is the whole way to it."""
    shown = grouped(name, sub, "--help")
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: vpnmesh {name} {sub} ")


def shown_examples() -> Iterator[tuple[str, str]]:
    """Every example of every help, with what it is called by."""
    for module in ALONE:
        called = f"python -m {module.removesuffix('.__main__')}"
        yield from ((module, line) for line in examples(_help(command(module)), called))


def _help(found: click.Command) -> str:
    return f"{found.help}\n{found.epilog}"


@pytest.mark.parametrize(("module", "line"), list(shown_examples()))
def test_every_example_parses(module: str, line: str) -> None:
    """As far as click goes: nothing is run. An option that only shows something, as `--help` does, ends well."""
    with exit_codes() as codes:
        parses(command(module), shlex.split(line)[3:])
    assert codes in ([], [0])


@contextmanager
def exit_codes() -> Iterator[list[int]]:
    """The code that a command ends with while its options are read, if it does."""
    codes: list[int] = []
    try:
        yield codes
    except click.exceptions.Exit as ended:
        codes.append(ended.exit_code)


def test_the_examples_of_the_group_parse() -> None:
    """They name commands and options that there are."""
    lines = examples(str(main.epilog), "vpnmesh")
    assert len(lines) >= 5
    for line in lines:
        _, name, *rest = shlex.split(line)
        parses(command(COMMANDS[name].module), rest)


def parses(found: click.Command, arguments: list[str]) -> None:
    """Through the subcommand, where there is one."""
    with found.make_context("x", arguments) as context:
        rest = [*context._protected_args, *context.args]
        if isinstance(found, click.Group):
            _, sub, rest = found.resolve_command(context, rest)
            assert sub
            parses(sub, rest)


def test_the_groups_help_has_one_line_for_each_command() -> None:
    """Its summary, whole."""
    lines = grouped("--help").output.splitlines()
    for name, entry in COMMANDS.items():
        assert [line for line in lines if line.split() == [name, *entry.summary.split()]]


def test_the_groups_help_loads_nothing() -> None:
    """Neither numbers nor pictures nor network: it is there at once."""
    check = (
        "import sys; from workflows.__main__ import main\n"
        "try: main(['--help'], prog_name='vpnmesh')\n"
        "except SystemExit as done: assert not done.code\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run((sys.executable, "-c", check), cwd=ROOT, capture_output=True, text=True, check=True)
    assert "vpnmesh matrix" in done.stdout
    assert HEAVY & set(shlex.split(done.stderr.translate(dict.fromkeys(map(ord, "[],"), " ")))) == set()


def test_pyproject_names_a_callable() -> None:
    """`[project.scripts]` has one command, and what it names can be called."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert list(scripts) == ["vpnmesh"]
    module, _, name = scripts["vpnmesh"].partition(":")
    assert callable(getattr(import_module(module), name))


def test_version() -> None:
    """Of the installed package."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert grouped("--version").output == f"vpnmesh, version {wanted}\n"


def test_as_a_module() -> None:
    """`python -m workflows` is `vpnmesh`; what a command exits with is what the group exits with."""
    argv = (sys.executable, "-m", "workflows", "matrix", "--scenarios", "nonsense")
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --scenarios: unknown scenario 'nonsense'")
    assert grouped("nonsense").exit_code == 2


@pytest.mark.parametrize(
    ("typed", "offered"),
    [(["ma"], ["matrix"]), (["matrix", "--pla"], ["--placement", "--plan"]), (["lab", "u"], ["up"])],
)
def test_shells_complete_commands_and_options(typed: list[str], offered: list[str]) -> None:
    """By click's own completion."""
    complete = BashComplete(main, {}, "vpnmesh", "_VPNMESH_COMPLETE")
    found = complete.get_completions(typed[:-1], typed[-1])
    assert [one.value for one in found] == offered
