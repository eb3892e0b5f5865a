"""How a scenario looks in every figure: its solution's colour and marker, filled when direct, open when relayed.

Colours keep a contrast of 3:1 or more on white and on the dark page; markers, hatches and dashes carry the same
meaning, so that nothing is lost in grey.
"""

from dataclasses import dataclass

_SOLUTIONS = {
    "native": ("#767b82", "o"),
    "headscale": ("#3b7dd8", "s"),
    "netbird": ("#cc6a00", "^"),
    "zerotier": ("#178f62", "D"),
    "wireguard": ("#9657d6", "P"),
    "nebula": ("#c8453b", "X"),
    "netmaker": ("#b04a92", "v"),
}
_OTHERS = (("#8a6d1f", "p"), ("#3f8f9c", "h"), ("#7a6f9b", "*"), ("#a0694f", "d"))

_DASHES: dict[str, tuple[float, ...]] = {
    "direct": (1, 0),
    "1450": (1, 0),
    "relay": (4, 1.5),
    "1230": (4, 1.5),
    "relay-tcp": (1, 1.5),
}


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
    solution, _, path = scenario.partition("-")
    colour, marker = _SOLUTIONS.get(solution) or _OTHERS[sum(solution.encode()) % len(_OTHERS)]
    filled = path in {"", "direct", "1450"}
    hatch = "" if filled else "xxx" if path == "relay-tcp" else "////"
    return Look(colour, marker, filled, hatch, _DASHES.get(path, (4, 1.5)))


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
