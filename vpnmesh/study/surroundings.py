"""Whether a run that goes on later is still the same run: what it was begun on and with, against what is there now.

Figures of another kernel, engine, program or testbed belong into another run: nothing could tell them apart later.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from vpnmesh.doctor.likeness import NOT_KNOWN, answers_compared
from vpnmesh.study.manifest import JsonObject, Surroundings

_SHOWN = 4
_CONGESTION = "tcp_congestion"
Facts = Mapping[tuple[str, str], str]
"""A value by what it is of, and by whom it was said."""


def facts_of(met: Surroundings) -> dict[tuple[str, str], str]:
    """All that must stay the same while a run goes on, as texts; what the record does not have is left out."""
    known = met.model_fields_set
    found = {
        (what, ""): value
        for what, name, value in (
            ("vpnmesh", "vpnmesh", str(met.vpnmesh)),
            ("impairment engine", "engine", str(met.engine)),
            ("lab", "lab", _lab(met.lab)),
            ("cluster", "cluster", met.cluster),
        )
        if name in known
    }
    found |= {
        (name, "controller"): met.controller[name] for name in ("kernel", "machine") if name in met.controller
    }
    for node, answers in met.nodes.items():
        found |= {(what, node): value for what, value in answers_compared(answers)}
        # of the settings that figures depend on, the one that a run leaves as it is
        found |= {(_CONGESTION, node): answers[_CONGESTION]} if _CONGESTION in answers else {}
    testbed = leaves(met.testbed) if "testbed" in known else ()
    return found | {(f"testbed {where}", ""): value for where, value in testbed}


def changes(before: Facts, now: Facts) -> list[str]:
    """One phrase for everything that both know and that differs, with what it was, what it is, and whose it is.

    What only one of them knows is no change: a program that was installed since then has measured nothing before.
    """
    told: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (what, who), old in before.items():
        new = now.get((what, who))
        if new is not None and new != old and not _untold(old) and not _untold(new):
            told[what, old, new].append(who)
    return [
        f"{what} was {old}, is {new}" + (f" ({', '.join(who)})" if any(who) else "")
        for (what, old, new), who in told.items()
    ]


def _untold(value: str) -> bool:
    """A node that did not say, or a value that was masked, of which no two can be compared."""
    return value.startswith(NOT_KNOWN) or "<secret" in value


def in_one_sentence(phrases: Sequence[str]) -> str:
    """The phrases, of many only the first."""
    more = len(phrases) - _SHOWN
    return "; ".join(phrases[:_SHOWN]) + (f"; and {more} more differences" if more > 0 else "")


def leaves(value: object, where: str = "") -> Iterator[tuple[str, str]]:
    """Every single value below, by its place in words: `worker1 legs 1 interface`. A list of words is one value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{where} {key}".strip())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from _items(value, where)
    else:
        yield where, str(value)


def _items(values: Sequence[object], where: str) -> Iterator[tuple[str, str]]:
    named = [value for value in values if isinstance(value, Mapping)]
    if len(named) < len(values) or not values:
        # sets come in any order
        yield where, ", ".join(sorted(map(str, values))) or "none"
        return
    labels = [str(value.get("name") or value.get("vid") or index + 1) for index, value in enumerate(named)]
    yield where, ", ".join(labels)
    for label, value in zip(labels, named, strict=True):
        yield from leaves(value, f"{where} {label}".strip())


def _lab(lab: JsonObject | None) -> str:
    if not lab:
        return "none, real machines"
    rate = lab.get("port_rate_mbit_s")
    return "ports unshaped" if rate is None else f"ports at {rate:g} Mbit/s"
