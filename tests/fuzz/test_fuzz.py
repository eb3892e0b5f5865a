"""Some hundred wrong inputs to every reader, the same ones each time; thousands more: `make fuzz`."""

import threading
from collections.abc import Callable

import pytest

from tests.fuzz import target
from tests.fuzz.running import dealt, run
from tests.fuzz.target import Case, Target, look
from tests.fuzz.targets import TARGETS
from vpnmesh.errors import InputError, ToolError

CASES = 500
"""In an ordinary run of the tests, over all targets."""
SEED = 20261129
"""One for all runs: a test that fails for one fails for all. Other inputs are for `make fuzz`, nightly."""


@pytest.mark.slow
def test_every_wrong_input_is_refused_or_read_right() -> None:
    """No traceback, no figure that the input does not hold, and one sentence that says where and what."""
    tallies = list(run(TARGETS, CASES, SEED))
    found = [one for tally in tallies for one in tally.findings]
    told = "\n".join(
        f"{one.target} --number {one.number}: {one.key}: {one.told}\n{one.value!r:.800}" for one in found
    )
    assert not found, told
    assert sum(tally.cases for tally in tallies) >= CASES
    assert {tally.target for tally in tallies} == {one.name for one in TARGETS}


def test_cases_are_dealt_out_exactly_and_each_target_has_some() -> None:
    """As many as were asked for, by the targets' shares."""
    counts = dealt(TARGETS, 20_000)
    assert sum(counts.values()) == 20_000
    assert min(counts.values()) > 0
    assert len(counts) == len(TARGETS)


def _target(error: BaseException | None) -> Target[str]:
    def call(value: str) -> str:
        if error:
            raise error
        return value

    return Target("made up", lambda: ("seed",), lambda _rng, one: one, call, lambda _case, found: found[4:])


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (ValueError("x"), "ValueError at "),
        (RecursionError(), "RecursionError at "),
        (InputError("", "no place"), "sentence"),
        (InputError("a place", " "), "sentence"),
        (ToolError("ping", ""), "sentence"),
    ],
)
def test_what_is_no_sentence_with_its_place_is_found(error: BaseException, key: str) -> None:
    """Another exception than the project's own, and one of those that says too little."""
    finding = look(_target(error), Case("seed", "seed"), 1)
    assert finding is not None
    assert finding.key.startswith(key)


def test_good_ends_are_no_findings_and_a_judge_is_heard() -> None:
    """A sentence with its place, a value that is right, and one that is wrong."""
    assert look(_target(InputError("a.yaml: b", "is wrong")), Case("seed", "seed"), 1) is None
    assert look(_target(None), Case("seed", "seed"), 1) is None
    finding = look(_target(None), Case("seed", "seed wrong: so"), 1)
    assert finding is not None
    assert (finding.key, finding.told) == ("judge:  wrong", " wrong: so")


def test_the_same_number_is_the_same_input() -> None:
    """So that a finding can be run again anywhere."""
    for one in TARGETS[:20]:
        assert one.case(7).value == one.case(7).value


def spin(_value: str) -> None:
    """Without an end."""
    while True:
        pass


def wait(_value: str) -> None:
    """For what never comes."""
    threading.Event().wait()


@pytest.mark.parametrize(("forever", "limit"), [(spin, "LONGEST_S"), (wait, "LONGEST_WAIT_S")])
def test_what_never_ends_is_found(
    monkeypatch: pytest.MonkeyPatch, forever: Callable[[str], None], limit: str
) -> None:
    """Where it stands, after some seconds of the processor or minutes by the clock; nobody waits for it."""
    monkeypatch.setattr(target, limit, 0.1)
    made = Target("made up", lambda: ("seed",), lambda _rng, one: one, forever, lambda _case, _found: "")
    finding = look(made, Case("seed", "seed"), 1)
    assert finding is not None
    assert finding.key.startswith("HungError at ")
