"""A diagnosis as lines for a person, and as records for a file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vpnmesh.model import Pair
from vpnmesh.why.finding import Finding
from vpnmesh.why.state_of_path import PathState

NOTHING = "nothing is wrong that packets or nodes would show"
_WIDTH = 10


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A pair's findings, the worst first, and what its path was like."""

    pair: Pair
    state: PathState
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to say."""
        return not self.findings and self.state.as_wanted


def lines(found: Diagnosis) -> Iterator[str]:
    """The path, then each finding with what shows it and what to do."""
    yield f"{found.pair}: {found.state}"
    if found.healthy:
        yield NOTHING
    elif not found.findings:
        yield "no cause was found: read the daemons' logs in /run/vpnmesh on both ends"
    for one in found.findings:
        yield from finding_lines(one)


def finding_lines(one: Finding) -> Iterator[str]:
    """One finding: effect, cause, place and what was seen; the commands; the way out."""
    yield f"{one.effect:{_WIDTH}}{one.cause}: {one.where}: {one.said}"
    for shown in one.evidence:
        yield f"{'':{_WIDTH}}shown by {f'{shown.node}: ' if shown.node else ''}{shown.command} -> {shown.said}"
    yield f"{'':{_WIDTH}}do: {one.do}"


def plan_lines(findings: Iterable[Finding]) -> list[str]:
    """What `--try` would change, each line once."""
    return list(dict.fromkeys(line for one in findings if one.fix for line in one.fix.words))


def record(one: Finding) -> dict[str, object]:
    """A finding as JSON has it."""
    return {
        "cause": str(one.cause),
        "effect": str(one.effect),
        "where": one.where,
        "said": one.said,
        "do": one.do,
        "evidence": [{"node": e.node, "command": e.command, "said": e.said} for e in one.evidence],
        "can_be_tried": one.fix is not None,
    }


def diagnosis_record(found: Diagnosis) -> dict[str, object]:
    """A diagnosis as JSON has it."""
    return {
        "pair": str(found.pair),
        "path": str(found.state),
        "healthy": found.healthy,
        "findings": [record(one) for one in found.findings],
    }


def compared(before: Diagnosis, after: Diagnosis) -> Sequence[str]:
    """What trying has done: findings that are gone, that stay, that are new, and the path before and after."""
    old, new = _named(before), _named(after)
    return [
        f"before: {before.state}",
        f"after:  {after.state}",
        *(f"gone:   {name}" for name in old if name not in new),
        *(f"stays:  {name}" for name in old if name in new),
        *(f"new:    {name}" for name in new if name not in old),
    ]


def _named(found: Diagnosis) -> Mapping[str, Finding]:
    return {f"{one.cause}: {one.where}": one for one in found.findings}
