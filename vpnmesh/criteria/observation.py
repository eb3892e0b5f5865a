"""What a live check saw, and what that says of a criterion: met, unmet, or unknown with the reason.

A check is a list of observations. At least one of them is a control: it shows that the same means would have seen
the opposite. Without one that held, a check that finds nothing wrong has proven nothing, and its answer is unknown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from vpnmesh.criteria.catalogue import Value

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Part(StrEnum):
    """What an observation is for: it decides, it shows that the check can fail, or it is only told."""

    DECIDES = "decides"
    CONTROL = "control"
    TOLD = "told"


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing that was tried: what, what comes of it where the criterion is met, and what came of it.

    `text` is what the nodes themselves said; it is kept as a file of evidence, whose name is `file`.
    """

    what: str
    wanted: str
    seen: str
    holds: bool
    part: Part = Part.DECIDES
    text: str = field(default="", repr=False)
    file: str = ""

    def __str__(self) -> str:
        """In one line, as a reason."""
        return f"{self.what}: {self.seen}" + ("" if self.holds else f", wanted {self.wanted}")


@dataclass(frozen=True, slots=True)
class Check:
    """A live check: the topic that it proves (a criterion of Table 1, or a matter of usability), and how.

    `asks` says what it asks of the nodes, `control` what shows that it can fail.
    """

    id: str
    title: str
    asks: str
    control: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a check; `scenarios` are those that stood meanwhile."""

    check: str
    value: Value
    reason: str
    seconds: Amount
    observations: tuple[Observation, ...] = ()
    scenarios: tuple[str, ...] = ()


def judge(observations: Sequence[Observation]) -> tuple[Value, str]:
    """The value that these observations prove, and why.

    A control that failed, or none at all, leaves it unknown: then the means were wrong, whatever the rest says.
    """
    controls = [one for one in observations if one.part is Part.CONTROL]
    deciding = [one for one in observations if one.part is Part.DECIDES]
    if broken := [one for one in controls if not one.holds]:
        return Value.UNKNOWN, f"the check could not have failed: {broken[0]}"
    if not controls or not deciding:
        return Value.UNKNOWN, "nothing was seen that could have decided it"
    if failed := [one for one in deciding if not one.holds]:
        return Value.UNMET, _joined(failed)
    told = [one for one in observations if one.part is Part.TOLD]
    return Value.MET, _joined([*deciding, *told])


def _joined(observations: Iterable[Observation]) -> str:
    return "; ".join(map(str, observations))
