"""What is fuzzed, declared: seeds, how they are made wrong, who reads them, and what may come of it.

Whatever is read ends in one of two ways: a value that the judge finds nothing wrong with, or one of the project's own
errors with a place or a tool in it, in one line. Anything else is a finding.
"""

import contextlib
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Generic, TypeVar

from vpnmesh.errors import CheckError, InputError, ToolError, VpnmeshError

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 20.0
"""CPU time that one small input may cost; what takes longer is as good as a hang."""
LONGEST_WAIT_S = 300.0
"""The same by the clock, for what waits without end; long, since the machine may be busy with other things."""
LONGEST_SENTENCE = 4000


@dataclass(frozen=True, slots=True)
class Case(Generic[T]):
    """One input: what it was before, what it is now."""

    before: T
    value: T


@dataclass(frozen=True, slots=True)
class Target(Generic[T]):
    """One reader. `judge` says in words what is wrong with a value that was read, "" for nothing.

    `share` is how many cases it gets beside the others; slow readers get fewer.
    """

    name: str
    seeds: Callable[[], Sequence[T]]
    mutate: Callable[[Random, T], T]
    call: Callable[[T], Any]
    judge: Callable[[Case[T], Any], str]
    share: float = 1.0

    def case(self, number: int) -> Case[T]:
        """The case of that number: the same in every process."""
        rng = Random(f"{self.name}:{number}")
        before = rng.choice(_seeds(self))
        return Case(before, self.mutate(rng, before))


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of an input that should not have; `key` is the same for the same mistake."""

    target: str
    number: int
    key: str
    told: str
    value: object = field(repr=False)


@cache
def _seeds(target: Target[Any]) -> Sequence[Any]:
    found = target.seeds()
    if not found:
        raise LookupError(f"{target.name} has no seeds")
    return found


def look(target: Target[T], case: Case[T], number: int) -> Finding | None:
    """Read one input and judge what comes of it."""
    try:
        with _in_time():
            told = target.judge(case, target.call(case.value))
        key = f"judge: {told.partition(':')[0]}"
    except VpnmeshError as error:
        key, told = "sentence", _sentence_problem(error)
    # what a Rust library throws in a panic is no Exception
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        key, told = _where(error), "".join(traceback.format_exception(error)[-6:])
    return Finding(target.name, number, key, told, case.value) if told else None


class HungError(BaseException):
    """An input that costs more than any may."""


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """HungError in the middle of whatever takes too much of the processor: an endless loop ends there."""

    def end(*_: object) -> None:
        raise HungError(f"more than {LONGEST_S:.0f} s of CPU, or {LONGEST_WAIT_S:.0f} s by the clock")

    limits = (
        (signal.SIGVTALRM, signal.ITIMER_VIRTUAL, LONGEST_S),
        (signal.SIGALRM, signal.ITIMER_REAL, LONGEST_WAIT_S),
    )
    before = [signal.signal(number, end) for number, _, _ in limits]
    try:
        for _, timer, limit_s in limits:
            signal.setitimer(timer, limit_s)
        yield
    finally:
        for (number, timer, _), handler in zip(limits, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def _sentence_problem(error: VpnmeshError) -> str:
    """What an error lacks that people are to act on."""
    said = str(error)
    if not said.isprintable():
        return f"no line that only prints: {said[:200]!r}"
    if not said.strip() or len(said) > LONGEST_SENTENCE:
        return f"a sentence of {len(said)} characters: {said[:200]!r}"
    if isinstance(error, InputError) and not (error.place.strip() and error.problem.strip()):
        return f"no place or no problem in it: {said!r}"
    if isinstance(error, ToolError) and not (error.tool and error.reason.strip()):
        return f"no tool or no reason in it: {said!r}"
    if isinstance(error, CheckError) and not (error.stage and error.reason.strip()):
        return f"no stage or no reason in it: {said!r}"
    return ""


def _where(error: BaseException) -> str:
    """The error's type and the line of the project that it came through last."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if Path(one.filename).is_relative_to(ROOT) and ".venv" not in one.filename]
    last = ([one for one in ours if "/tests/fuzz/" not in one.filename] or ours or list(frames))[-1]
    return f"{type(error).__name__} at {'/'.join(last.filename.split('/')[-3:])}:{last.lineno}"
