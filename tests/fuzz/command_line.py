"""The command line: whatever is typed ends in 0, 1, 2 or 3 and a sentence, before anything is touched.

Commands run in this process and in a folder of their own. Whatever would start a program, listen or open a connection
ends the case there: what was typed was good enough to act on.
"""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NoReturn
from unittest import mock

import click
from click.testing import CliRunner, Result

from tests.fuzz import mutation, runs
from tests.fuzz.documents import PROFILE_FILE, SCENARIO_FILE
from tests.fuzz.target import Case, Target
from workflows.__main__ import main

Argv = tuple[str, ...]
UNTOUCHED = {("lab", "up"), ("lab", "down"), ("lab", "shell"), ("repl",)}
"""What acts on this machine without a program or a connection, and what never ends."""
NOT_ASKED = {"paper", "install"}
"""Options that are right and take long."""
DEEP = Path("a/b/c/d/e")
"""So many folders down that no `../` of a case leaves the case's own folder."""
GOOD = {
    "scenarios": ("native-1450", "native-1450,headscale-direct", "netbird-quic"),
    "scenario": ("native-1450", "headscale-direct"),
    "scenario_file": ("mine.yaml",), "profile": ("quick", "paper", "./profile.yaml"),
    "conditions": ("none,loss-5pct", "delay-50ms+loss-1pct"), "condition": ("loss-5pct", "none"),
    "tests": ("tcp,udp", "ping"), "placement": ("underlay:both:1000", "pod"), "pairs": ("all", "worker1>worker2"),
    "inventory": ("lab", "baremetal", "lab-8", "netbox", "netbox:site=lab"), "policy": ("block-udp-k8s", "allow-all"),
    "cluster": ("kubernetes", "k3s", "pods"), "runs": ("run",), "run": ("run", "20260101-120000"),
    "folder": ("out", "lab"), "out": ("out",), "before": ("lab",), "after": ("baremetal",), "node": ("worker1",),
    "need": ("speed",), "gate": ("gate.yaml",), "compare": ("run",), "nodes": ("6", "12"), "members": ("3,6",),
}  # fmt: skip
ODD = tuple(
    one for one in mutation.HOSTILE if "\0" not in one and "\ud800" not in one and not one.startswith("/etc")
)
NUMBERS = (
    "0",
    "-1",
    "1",
    "2",
    "1.5",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "9" * 30,
    "0x10",
    "\u0661",
    "1_0",
    " 3 ",
    "007",
)
PLACES = (
    "nowhere",
    "run",
    "run/manifest.json",
    "/dev/null",
    "/proc/self/x",
    ".",
    "",
    "x" * 300,
    "\udcff",
    "~",
    "-",
)


class StoppedError(BaseException):
    """A command is about to act."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A command by the words that call it."""

    words: Argv
    command: click.Command


def entries(group: click.Group = main, words: Argv = ()) -> list[Entry]:
    """Every command below the group."""
    context = click.Context(group)
    found: list[Entry] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        path = (*words, name)
        found += entries(command, path) if isinstance(command, click.Group) else [Entry(path, command)]
    return [one for one in found if one.words not in UNTOUCHED]


def _value(rng: Random, parameter: click.Parameter) -> str:
    name = str(parameter.name)
    chance = rng.random()
    if chance < 0.45 and name in GOOD:
        return rng.choice(GOOD[name])
    if isinstance(parameter.type, click.Choice) and chance < 0.6:
        return str(rng.choice(list(parameter.type.choices)))
    if isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType) and chance < 0.85:
        return rng.choice(NUMBERS)
    if isinstance(parameter.type, click.Path) and chance < 0.85:
        return rng.choice(PLACES)
    return rng.choice([*ODD, *NUMBERS, rng.choice(GOOD.get(name, ("x",))) + rng.choice(ODD)])


def typed(rng: Random, entry: Argv) -> Argv:
    """The command with arguments and options, right and wrong, some twice, some unknown."""
    command = next(one.command for one in entries() if one.words == entry)
    words: list[str] = []
    for one in command.params:
        if isinstance(one, click.Argument):
            words += [_value(rng, one) for _ in range(rng.choice([1, 1, 1, 0, 2]))]
        elif one.name not in NOT_ASKED and rng.random() < 0.25:
            flag = isinstance(one, click.Option) and one.is_flag
            words += [one.opts[0]] if flag else [one.opts[0], _value(rng, one)]
    if entry == ("matrix",):
        words.append("--plan")
    if rng.random() < 0.1:
        words.insert(rng.randint(0, len(words)), rng.choice([*ODD, "--nonsense", "-x", "--", "--help"]))
    if words and rng.random() < 0.1:
        words.pop(rng.randrange(len(words)))
    return (*entry, *words)


def _stop(*_arguments: object, **_parameters: object) -> NoReturn:
    raise StoppedError


@contextlib.contextmanager
def _harmless(place: Path, argv: Argv) -> Iterator[None]:
    """No program, no connection, nobody who listens, and a folder of its own for everything else."""
    before = Path.cwd()
    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    environment = {
        "VPNMESH_LAB_DIR": f"{place}/lab", "VPNMESH_STATE_DIR": f"{place}/state", "HOME": str(place),
        "XDG_CONFIG_HOME": str(place), "XDG_CACHE_HOME": str(place), "XDG_STATE_HOME": str(place), "TERM": "dumb",
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, environment))
        stack.enter_context(mock.patch.object(subprocess, "Popen", _stop))
        stack.enter_context(mock.patch.object(socket.socket, "connect", _stop))
        stack.enter_context(mock.patch.object(os, "fork", _stop))
        if argv[:1] == ("workers",):  # not for the others: Dask takes a second to import
            stack.enter_context(mock.patch("inventory.across.serving.Scheduler", _stop))
            stack.enter_context(mock.patch("inventory.across.serving.Worker", _stop))
        os.chdir(place / DEEP)
        try:
            yield
        finally:
            os.chdir(before)
            for one, handler in handlers.items():
                signal.signal(one, handler)


def _furnished(place: Path) -> None:
    """A run, a file of scenarios, a profile and a gate in the folder that the command is called in."""
    here = place / DEEP
    (here / "run").mkdir(parents=True)
    runs.folder({"journal.jsonl": runs.journal(), "manifest.json": runs.manifest()}, str(here / "run"))
    (here / "mine.yaml").write_bytes(SCENARIO_FILE)
    (here / "profile.yaml").write_bytes(PROFILE_FILE)
    (here / "gate.yaml").write_bytes(b"margin_pct: 10\ncertainty: 0.95\n")


def called(argv: Argv) -> Result | None:
    """The command, in this process; None where it was about to act."""
    with tempfile.TemporaryDirectory() as place:
        _furnished(Path(place))
        with _harmless(Path(place), argv):
            try:
                return CliRunner().invoke(main, argv)
            except StoppedError:
                return None


def _judge(_case: Case[Argv], found: Result | None) -> str:
    """An exit code that is documented, no traceback, and at most one sentence where something is wrong."""
    if found is None:
        return ""
    error = found.exception
    if error is not None and not isinstance(error, SystemExit):
        raise error
    if found.exit_code not in (0, 1, 2, 3):
        return f"exit code: {found.exit_code}"
    return _words_problem(found)


def _words_problem(found: Result) -> str:
    # what click itself says of an argument is what was typed
    ours = found.output.partition("Usage: ")[0]
    bad = [one for one in ours if not one.isprintable() and one not in "\n\t"]
    if bad:
        return f"not printable: {bad[0]!r} in {ours[-300:]!r}"
    wrong = [one for one in found.stderr.splitlines() if one.lower().startswith("error: ")]
    as_findings = found.stdout.lstrip().startswith("[")
    if found.exit_code == 2 and len(wrong) != 1 and not as_findings:
        return f"no one sentence: {found.stderr[-500:]!r}"
    return "Traceback: on the terminal" if "Traceback" in found.output else ""


def _seeds() -> Sequence[Argv]:
    return [one.words for one in entries()]


TARGETS: tuple[Target[Any], ...] = (Target("command line", _seeds, typed, called, _judge, 1.5),)
