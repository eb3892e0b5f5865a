"""How an attempt ended: with samples, or with the stage and the reason it failed at; never with a stand-in number."""

import math
from dataclasses import dataclass

from vpnmesh.errors import ToolError
from vpnmesh.frames.schemas import FIGURE_COLUMNS

_ALL_PCT = 100


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of a repetition; the unit is the end of its name (`rate_mbit_s`, `lost_pct`)."""

    name: str
    value: float


def figure_problem(name: str, value: float) -> str:
    """What a figure that has a column of its own cannot be, in words; "" for a good one, and for any other figure."""
    if name not in FIGURE_COLUMNS:
        return ""
    if value < 0 or (name == "lost_pct" and value > _ALL_PCT):
        return "no such thing can be measured"
    return "what measured nothing has failed" if name == "rate_mbit_s" and not value else ""


@dataclass(frozen=True, slots=True)
class Measured:
    """A repetition that gave figures; refuses to be empty, and refuses what is not a finite number.

    `carried_bytes` is how much crossed from one pod to the other where the test counts that: no figure of its own, but
    what the relay's counter is compared with.
    """

    samples: tuple[Sample, ...]
    carried_bytes: float | None = None

    def __post_init__(self) -> None:
        """Raise ToolError where a figure is missing, NaN or infinite."""
        if not self.samples:
            raise ToolError("outcome", "no samples")
        for sample in self.samples:
            if not math.isfinite(sample.value):
                raise ToolError("outcome", f"{sample.name} is {sample.value}")
            if problem := figure_problem(sample.name, sample.value):
                raise ToolError("outcome", f"{sample.name} is {sample.value}: {problem}")

    def get(self, name: str) -> float | None:
        """The figure of that name, None if the tool gave none."""
        return next((sample.value for sample in self.samples if sample.name == name), None)


@dataclass(frozen=True, slots=True)
class Failed:
    """A repetition without a figure; `stage` is where (path, impairment, tool, node, ...), `reason` what it said."""

    stage: str
    reason: str


UNAVAILABLE = "unavailable"
"""The stage of a row that stands for a cell which this machine cannot attempt."""

Outcome = Measured | Failed
