"""Secrets of hosts: where each comes from is in the inventory, the secret itself never is.

    data:
      ssh_password: {env: EDGE_PASSWORD}
      sudo_password: {command: [pass, show, edge/sudo]}
      enable_password: {prompt: enable password of the switches}

An SSH agent needs no word here: it is asked first. A command is an argv that is run without a shell, and the first
line that it prints is the secret. A prompt is shown at the terminal, and the answer is not echoed. Each command and
prompt is asked once a process, whoever needs it, and what it gave is masked in all that is kept (`learned`).
"""

import getpass
import os
import shlex
import signal
import subprocess
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from nornir.core.inventory import Host

from vpnmesh.errors import InputError
from vpnmesh.plan import Secret

COMMAND_S = 60.0
"""What a command may take that gives a secret: whoever unlocks a key for it may have to type."""
MOST = 64 * 1024
"""Characters of a secret: whatever prints more is something else."""
WAY_OUT = (
    "write where it comes from: {env: NAME}, {command: [PROGRAM, ARGUMENT]} or {prompt: TEXT}"
    " (docs/own-machines.md)"
)


class Way(StrEnum):
    """How a secret is asked for."""

    ENV = "env"
    COMMAND = "command"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a secret comes from: `words` are a variable's name, a command's argv, or the text of a prompt."""

    way: Way
    words: tuple[str, ...]

    def __str__(self) -> str:
        # a command's arguments are names of entries, but nobody can know
        return f"{self.way} {self.words[0]}"


learned: set[Secret] = set()
"""What any source has given in this process, to be masked in all that is kept of it."""


class _Answers:
    """What each source gave, or why it gave nothing: a prompt that was left is not shown again."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_source: dict[Source, Secret | InputError] = {}

    def of(self, source: Source, place: str) -> Secret:
        if source.way is Way.ENV:
            return learn(_from_env(source, place))
        with self.lock:
            if source not in self.by_source:
                self.by_source[source] = _answer(source, place)
            answer = self.by_source[source]
        if isinstance(answer, InputError):
            raise InputError(place, answer.problem, answer.way_out)
        return answer


_answers = _Answers()


def is_source(value: object) -> bool:
    """Whether a value of an inventory says where a secret comes from."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return False
    way, words = next(iter(value.items()))
    if way == Way.COMMAND:
        return isinstance(words, list) and bool(words) and all(_is_text(word) for word in words)
    return way in (Way.ENV, Way.PROMPT) and _is_text(words)


def source_of(value: object, place: str) -> Source:
    """The source that an inventory's value names; InputError where it names none, which does not repeat it."""
    if not is_source(value):
        raise InputError(place, "does not say where the secret comes from", WAY_OUT)
    way, words = next(iter(cast("Mapping[str, str | list[str]]", value).items()))
    return Source(Way(way), (words,) if isinstance(words, str) else tuple(words))


def secret_from(source: Source, place: str) -> Secret:
    """What the source gives, asked once a process; InputError says in one sentence why it gave nothing."""
    return _answers.of(source, place)


def secret_of(host: Host, key: str) -> Secret | None:
    """A secret of the host's data, None where no source is named.

    A text is what a process put there that has asked already: files with one are refused when they are read.
    """
    value = host.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return learn(value)
    place = f"{host.name}: {key}"
    return secret_from(source_of(value, place), place)


def command_source(line: str, place: str) -> Source:
    """The source in an environment variable that holds a command; it is split as a shell does, and none is run."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InputError(place, f"is no command: {error}", "write PROGRAM ARGUMENT ...") from error
    if not words:
        raise InputError(place, "is empty", "write PROGRAM ARGUMENT ...")
    return Source(Way.COMMAND, tuple(words))


def forget() -> None:
    """Ask every source again when it is next needed."""
    _answers.by_source.clear()


def learn(text: str) -> Secret:
    """A secret that is masked from now on in all that is kept."""
    secret = Secret(text)
    learned.add(secret)
    return secret


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value


def _answer(source: Source, place: str) -> Secret | InputError:
    try:
        return learn(_ASK[source.way](source, place))
    except InputError as error:
        return error


def _from_env(source: Source, place: str) -> str:
    name = source.words[0]
    if not (found := os.environ.get(name)):
        raise InputError(place, f"the environment has no {name[:80]}", f"export {name[:80]} before you start")
    return found


def _from_command(source: Source, place: str) -> str:
    """The first line that the command prints; what it says on stderr is not shown, for it may be secret, too."""
    program, hand = source.words[0], "try it by hand in the shell that you start from"
    try:
        process = subprocess.Popen(
            source.words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise InputError(place, f"the command {program} does not start: {error.strerror}", hand) from error
    with process:
        try:
            printed, _ = process.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired as error:
            # its children hold the pipe, too
            os.killpg(process.pid, signal.SIGKILL)
            problem = f"the command {program} gave nothing within {COMMAND_S:g} s"
            raise InputError(place, problem, hand) from error
    if process.returncode:
        raise InputError(place, f"the command {program} failed (exit code {process.returncode})", hand)
    if not (line := _first_line(printed)):
        raise InputError(place, f"the command {program} printed no text", hand)
    return line


def _first_line(printed: bytes) -> str:
    """Empty where it is no text."""
    try:
        return printed[:MOST].decode().split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError:
        return ""


def _from_prompt(source: Source, place: str) -> str:
    _refuse_without_terminal(place)
    with warnings.catch_warnings():
        # without this, getpass would go on and show what is typed
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            typed = getpass.getpass(f"{source.words[0]}: ")
        except (getpass.GetPassWarning, EOFError, OSError) as error:
            raise InputError(
                place, "the terminal cannot be asked without showing the answer", _NO_PROMPT
            ) from error
    if not typed:
        raise InputError(place, "nothing was typed", "start again, or name another source")
    return typed


_NO_PROMPT = "use {env: NAME} or {command: [PROGRAM, ARGUMENT]} there"


def _refuse_without_terminal(place: str) -> None:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        raise InputError(place, "there is no terminal to ask at", _NO_PROMPT) from error


_ASK = {Way.COMMAND: _from_command, Way.PROMPT: _from_prompt}
