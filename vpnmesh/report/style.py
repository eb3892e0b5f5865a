"""How a scenario looks in every figure: its solution's colour and marker, filled when direct, open when relayed.

Colours keep a contrast of 3:1 or more on white and on the dark page; markers, hatches and dashes carry the same
meaning, so that nothing is lost in grey.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from vpnmesh.errors import InputError
from vpnmesh.model import Condition, Path
from vpnmesh.solutions import SOLUTIONS
from vpnmesh.study.scenarios import Catalogue

_OTHERS = (("#8a6d1f", "p"), ("#3f8f9c", "h"), ("#7a6f9b", "*"), ("#a0694f", "d"))

_SOLID, _DASHED, _DOTTED = (1.0, 0.0), (4.0, 1.5), (1.0, 1.5)
_VARIANT_MARKERS = ("<", ">", "p", "h", "d", "*")
_VARIANT_HATCH = "...."


@dataclass(frozen=True, slots=True)
class ScenarioLook:
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


def looks(found: Iterable[str], catalogue: Catalogue) -> dict[str, ScenarioLook]:
    """The look of each scenario that was found, in the order of every figure."""
    return {name: look(name, catalogue) for name in catalogue.in_order(found)}


def look(scenario: str, catalogue: Catalogue) -> ScenarioLook:
    """The look of a scenario, declared or not; the same in every figure of every report with that catalogue.

    A variant has the colour of the scenario that it varies, with a marker, hatch and dashes of its own.
    """
    found = _look(scenario, catalogue)
    declared = catalogue.get(scenario)
    if declared is None or not declared.variant_of:
        return found
    place = catalogue.variants()[declared.variant_of].index(scenario) % len(_VARIANT_MARKERS)
    return replace(
        found, marker=_VARIANT_MARKERS[place], hatch=found.hatch + _VARIANT_HATCH, dashes=(2.0 + place, 1.0)
    )


def _look(scenario: str, catalogue: Catalogue) -> ScenarioLook:
    solution = catalogue.solution_of(scenario)
    colour, marker = _solution_style(solution)
    smaller_mtu = scenario in catalogue.baselines[1:]
    if catalogue.path_of(scenario) is not Path.RELAY and not smaller_mtu:
        return ScenarioLook(colour, marker, filled=True, hatch="", dashes=_SOLID)
    hatch, dashes = ("xxx", _DOTTED) if _second_relay(scenario, catalogue) else ("////", _DASHED)
    return ScenarioLook(colour, marker, filled=False, hatch=hatch, dashes=dashes)


def _solution_style(name: str) -> tuple[str, str]:
    """Colour and marker as the solution's module states them, else one of a few, chosen by its name."""
    colour, marker = _OTHERS[sum(name.encode()) % len(_OTHERS)]
    solution = SOLUTIONS.get(name)
    return (solution.colour or colour, solution.marker or marker) if solution else (colour, marker)


def _second_relay(scenario: str, catalogue: Catalogue) -> bool:
    """Whether its solution has another relayed scenario before it, from which it has to be told apart."""
    solution = catalogue.solution_of(scenario)
    relayed = [one.name for one in catalogue.scenarios if one.path is Path.RELAY and one.solution == solution]
    return scenario in relayed[1:]


def condition_title(condition: str) -> str:
    """A condition as a person says it: `undisturbed`, `loss 5 %`, `delay 50 ms`; another tool's own name as it is."""
    try:
        found = Condition.parse(condition)
    except InputError:
        return condition
    if found.network:
        return found.network
    parts = _way_title(found)
    back = f"back: {' + '.join(_way_title(found.back))}" if found.back else ""
    return " + ".join([*parts, *([back] if back else [])]) or "undisturbed"


def capped_by(condition: str) -> str:
    """What limits a cell that is near its cap: netem's queue, or the rate that the condition lets through."""
    try:
        found = Condition.parse(condition)
    except InputError:
        return "netem's queue"
    return "the condition's rate" if found.rate_mbit_s else "netem's queue"


def _way_title(way: Condition) -> list[str]:
    """The parts of one way, with their units."""
    bursts = f" in bursts of {way.burst_packets:g}" if way.burst_packets else ""
    parts = (
        (way.delay_ms, f"delay {way.delay_ms:g} ms"),
        (way.jitter_ms, f"jitter {way.jitter_ms:g} ms"),
        (way.reorder_pct, f"reordering {way.reorder_pct:g} %"),
        (way.loss_pct, f"loss {way.loss_pct:g} %{bursts}"),
        (way.rate_mbit_s, f"rate {way.rate_mbit_s or 0:g} Mbit/s"),
    )
    return [words for figure, words in parts if figure]
