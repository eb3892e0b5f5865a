"""Answers in words: the order under each condition, what is open in it, and what it would cost to know more."""

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from vpnmesh.report.answer_costs import (
    LONG_MIN,
    Ask,
    Cost,
    ask,
    budget_min,
    can_be_continued,
    command,
    continued,
    cost,
)
from vpnmesh.report.answers import ConditionAnswer, Group, PairAnswer, Within, answers, together
from vpnmesh.report.identity import cluster_of
from vpnmesh.report.page import AnswerRow, Answers, Further, Kind, Words
from vpnmesh.report.style import condition_title
from vpnmesh.report.tables import Study
from vpnmesh.report.verdicts import NOTHING
from vpnmesh.stats.sequential import PairVerdict

READING = (
    "Fastest first. A > B: A is decided to be faster, by the ratio of the two means next to the sign (95 % interval; "
    "of an adaptive run, one that holds for all pairs and all its looks at once). "
    "A = B: equal within {margin:g} %. An order is told only where every pair across the sign is decided; names with a "
    "comma between them are in no order."
)
_TIMES_FROM = 1.5
"""A ratio is told in percent up to here, and as so many times from there on."""
_FINE, _NEXT_TO_NOTHING = 10, 0.1
_WITHOUT_END = 100
"""An upper limit of a ratio from here on says only that there is none yet."""
_HOURS_FROM_MIN, _DAYS_FROM_H = 100, 48
_WORDY = 160
"""What is open in a group is named up to so many letters, and counted beyond."""


def told(study: Study, run: str = "RUN") -> Answers:
    """All answers of a study, with what to do about the open ones; `run` is what the command calls the run."""
    found = answers(study)
    margin = found[0].margin_pct if found else 0.0
    return Answers(
        summary=tuple(_summary(found)),
        further=(*_further(study, found, run), *_careful(study)),
        rows=tuple(_merged(_row(one) for one in found)),
        reading=READING.format(margin=margin),
    )


def _summary(found: Sequence[ConditionAnswer]) -> Iterator[str]:
    """A line per test: how many pairs are decided, and how."""
    for test in dict.fromkeys(one.test for one in found):
        mine = [one for one in found if one.test == test]
        pairs = sum(len(one.pairs) for one in mine)
        differ, equal, still = (sum(one.count(verdict) for one in mine) for verdict in _ORDER)
        if not pairs:
            continue
        yield (
            f"{test.upper()}: {differ + equal} of {pairs} pairs decided"
            f" ({differ} differ, {equal} equal within {mine[0].margin_pct:g} %), {still} open."
        )


_ORDER = (PairVerdict.DIFFER, PairVerdict.EQUIVALENT, PairVerdict.UNDECIDED)


def _further(study: Study, found: Sequence[ConditionAnswer], run: str) -> Iterator[Further]:
    """What deciding the open pairs would take, and the command for it."""
    costs = [cost(one) for one in found]
    soon = sum(len(one.soon) for one in costs)
    if soon and can_be_continued(study):
        minutes = budget_min(costs, cluster_of(study.provenance))
        still = sum(len(one.open_pairs) for one in found)
        promise = f"About {minutes} min more would likely decide {_of(soon, still)}"
        yield Further(promise, continued(run, minutes))
    elif asked := ask(study, found):
        yield Further(_promise(asked, sum(len(one.open_pairs) for one in found)), command(study, asked))
    if later := [(one, pair) for one, each in zip(found, costs, strict=True) for pair in each.later]:
        answer, pair = max(later, key=lambda each: each[1].minutes_more or 0.0)
        where = f"{answer.test.upper()}, {condition_title(answer.condition)}"
        longest = minutes_text(pair.minutes_more or 0.0)
        told_of = f"{pair.faster} and {pair.slower} ({where}) {longest}"
        several = (
            f"{len(later)} open pairs would take more than {LONG_MIN:g} min each; the longest, {told_of}."
        )
        yield Further(several if len(later) > 1 else f"One open pair would take long: {told_of}.")


def _careful(study: Study) -> Iterator[Further]:
    """How many of the figures above have something that a reader must know: the overview of the page says what."""
    cells = study.tables["throughput"].filter(pl.col("attempted") > 0)
    if count := cells["warning"].count():
        why = "failed repetitions, drift, dependence, slow start or a full queue"
        yield Further(
            f"{count} of {cells.height} cells are to be read with care ({why}): the overview names them."
        )


def _promise(asked: Ask, still: int) -> str:
    """What a run made anew would likely decide."""
    run = f"A run of about {minutes_text(asked.minutes)}" if asked.minutes else "A longer run"
    if not asked.decides:
        past = " and is past slow start" if asked.duration_s else ""
        return f"{run} has the figures that a verdict needs at least{past}"
    return f"{run} would likely decide {_of(asked.decides, still)}"


def _of(some: int, still: int) -> str:
    if still == 1:
        return "the open pair"
    return f"all {still} open pairs" if some == still else f"{some} of the {still} open pairs"


def _pairs(count: int) -> str:
    return "pair" if count == 1 else "pairs"


def _row(answer: ConditionAnswer) -> AnswerRow:
    return AnswerRow(
        answer.test.upper(),
        (condition_title(answer.condition),),
        tuple(_order(answer)),
        f"{answer.decided} of {len(answer.pairs)}",
        _rest(cost(answer)),
    )


def _merged(rows: Iterable[AnswerRow]) -> Iterator[AnswerRow]:
    """Conditions of one test with the very same answer as one row."""
    found: dict[tuple[object, ...], AnswerRow] = {}
    for row in rows:
        key = (row.test, row.order, row.decided, row.rest)
        before = found.get(key)
        conditions = (*before.conditions, *row.conditions) if before else row.conditions
        found[key] = AnswerRow(row.test, conditions, row.order, row.decided, row.rest)
    yield from found.values()


def _order(answer: ConditionAnswer) -> Iterator[Words]:
    for at, group in enumerate(answer.groups):
        if at:
            yield Words(" > ", Kind.SIGN)
            yield Words(f"({lead_text(answer.leads[at - 1])})", Kind.LEAD)
            yield Words(" ", Kind.NOTE)
        yield from _group(answer, group)
    if answer.nothing:
        yield Words(f"{'; ' if answer.groups else ''}{NOTHING}: {', '.join(answer.nothing)}", Kind.NOTE)


def _group(answer: ConditionAnswer, group: Group) -> Iterator[Words]:
    for at, name in enumerate(group.scenarios):
        if at:
            yield Words(" = ", Kind.SIGN) if group.within is Within.EQUAL else Words(", ", Kind.NOTE)
        yield Words(name, Kind.NAME)
    if group.within is Within.OPEN:
        yield Words(" (not decided)", Kind.NOTE)
    elif group.within is Within.MIXED:
        yield Words(f" ({_mixed(answer, group)})", Kind.NOTE)


def _inside(answer: ConditionAnswer, group: Group) -> list[PairAnswer]:
    return [pair for pair in answer.pairs if {pair.faster, pair.slower} <= set(group.scenarios)]


def _mixed(answer: ConditionAnswer, group: Group) -> str:
    """What of the group is decided, and how many pairs are open where that takes too many words."""
    inside = _inside(answer, group)
    vague = [
        (pair.faster, pair.slower) for pair in inside if pair.verdict is PairVerdict.DIFFER and not pair.leads
    ]
    count = sum(pair.verdict is PairVerdict.UNDECIDED for pair in inside)
    parts = [
        _leads(inside, group),
        _together("equal: ", inside, PairVerdict.EQUIVALENT, " = "),
        f"differ, but not shown in the mean: {_list(vague, ', ')}" if vague else "",
        "the rest is open" if count else "",
    ]
    text = "; ".join(filter(None, parts))
    return text if len(text) <= _WORDY else f"{count} of {len(inside)} pairs open"


def _together(title: str, inside: Sequence[PairAnswer], verdict: PairVerdict, sign: str) -> str:
    chosen = [(pair.faster, pair.slower) for pair in inside if pair.verdict is verdict]
    return f"{title}{_list(chosen, sign)}" if chosen else ""


def _list(pairs: Iterable[tuple[str, str]], sign: str) -> str:
    groups = together(pairs)
    return "; ".join(sign.join(names) if len(names) > 2 else _two(names, sign) for names in groups)  # noqa: PLR2004


def _leads(inside: Sequence[PairAnswer], group: Group) -> str:
    """Who is decided to be faster than whom in a group: `A > B, C`, or `A > all but B`."""
    parts = []
    for name in group.scenarios:
        beaten = [pair.slower for pair in inside if pair.faster == name and pair.leads]
        others = [other for other in group.scenarios if other != name and other not in beaten]
        if beaten:
            parts.append(
                f"{name} > {', '.join(beaten)}" if len(others) > 1 else f"{name} > all but {others[0]}"
            )
    return "; ".join(parts)


def _two(names: Sequence[str], sign: str) -> str:
    return (" and " if sign == ", " else sign).join(names)


def lead_text(pair: PairAnswer) -> str:
    """How far the first is ahead: `8.1 to 8.6 %`, `2.3 to 2.4 times`; without an interval only what the means say."""
    if pair.low is None or pair.high is None:
        return "too few figures for an interval"
    if pair.high >= _WITHOUT_END:
        return f"{pair.low:.{2 if pair.low < _FINE else 0}f} times or more"
    if pair.high >= _TIMES_FROM:
        return _span(pair.low, pair.high, 2 if pair.low < _FINE else 0, "times")
    low, high = (100 * (limit - 1) for limit in (pair.low, pair.high))
    # a lead of 0.0 % would look like none
    return _span(low, high, 2 if low < _NEXT_TO_NOTHING else 1 if low < _FINE else 0, "%")


def _span(low: float, high: float, places: int, unit: str) -> str:
    texts = dict.fromkeys(f"{limit:.{places}f}" for limit in (low, high))
    return f"{' to '.join(texts)} {unit}"


def _rest(found: Cost) -> str:
    """What the open pairs of a row would take, shortly."""
    parts = [f"{minutes_text(found.minutes)}" + _for(found.soon)] if found.soon else []
    if found.later:
        least = min(pair.minutes_more or 0.0 for pair in found.later)
        parts.append(f"{minutes_text(least)} or more{_for(found.later)}")
    parts += [
        f"{why}{f' ({count})' if parts or len(found.unknown) > 1 else ''}"
        for why, count in found.unknown.items()
    ]
    return "; ".join(parts)


def _for(pairs: Sequence[PairAnswer]) -> str:
    return f" ({len(pairs)} {_pairs(len(pairs))})"


def minutes_text(minutes: float) -> str:
    """A time that nobody knows to the second: minutes, then hours, then days."""
    if minutes < _HOURS_FROM_MIN:
        return f"{max(1, round(minutes))} min"
    hours = minutes / 60
    return f"{hours:.0f} h" if hours < _DAYS_FROM_H else f"{hours / 24:.0f} days"
