"""How a scenario looks in every figure: its solution's colour and marker, filled when direct, open when relayed.

Colours keep a contrast of 3:1 or more on white and on the dark page; markers, hatches and dashes carry the same
meaning, so that nothing is lost in grey.
"""

from dataclasses import dataclass

from vpnmesh.frames.order import BASELINES
from vpnmesh.model import Path
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.study.scenarios import SCENARIOS, path_of, solution_of

_OTHERS = (("#8a6d1f", "p"), ("#3f8f9c", "h"), ("#7a6f9b", "*"), ("#a0694f", "d"))

_SOLID, _DASHED, _DOTTED = (1.0, 0.0), (4.0, 1.5), (1.0, 1.5)
_LARGER_MTU = BASELINES[0]


@dataclass(frozen=True, slots=True)
class Look:
    """Colour, marker, fill, hatch and dashes of one scenario."""

    colour: str
    marker: str
    filled: bool
    hatch: str
    dashes: tuple[float, ...]

    @property
    def face(self) -> str:
        """The fill of a marker: the colour, or none for what is relayed."""
        return self.colour if self.filled else "none"


def look(scenario: str) -> Look:
    """The look of a scenario, known or not; the same in every figure of every report."""
    solution = solution_of(scenario)
    colour, marker = _solution_style(solution)
    smaller_mtu = scenario in BASELINES and scenario != _LARGER_MTU
    if path_of(scenario) is not Path.RELAY and not smaller_mtu:
        return Look(colour, marker, filled=True, hatch="", dashes=_SOLID)
    hatch, dashes = ("xxx", _DOTTED) if _second_relay(scenario) else ("////", _DASHED)
    return Look(colour, marker, filled=False, hatch=hatch, dashes=dashes)


def _solution_style(name: str) -> tuple[str, str]:
    """Colour and marker as the solution's module states them, else one of a few, chosen by its name."""
    colour, marker = _OTHERS[sum(name.encode()) % len(_OTHERS)]
    solution = SOLUTIONS.get(name)
    return (solution.colour or colour, solution.marker or marker) if solution else (colour, marker)


def _second_relay(scenario: str) -> bool:
    """Whether its solution has another relayed scenario before it, from which it has to be told apart."""
    relayed = [
        one.name for one in SCENARIOS if one.path is Path.RELAY and one.solution == solution_of(scenario)
    ]
    return scenario in relayed[1:]


def condition_title(condition: str) -> str:
    """A condition as a person says it: `undisturbed`, `loss 5 %`, `delay 50 ms`."""
    if condition == "none":
        return "undisturbed"
    parts = []
    for part in condition.split("+"):
        kind, _, figure = part.partition("-")
        unit = "%" if figure.endswith("pct") else "ms"
        parts.append(f"{kind} {figure.removesuffix('pct').removesuffix('ms')} {unit}")
    return " + ".join(parts)
