"""A NAT grid as a picture per solution and as a page: the path that was found beside the one that is promised."""

from collections.abc import Container, Iterable, Mapping, Sequence
from functools import partial
from itertools import product

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from vpnmesh.firewall.nat_kinds import BEHAVIOURS, NatKind
from vpnmesh.reference.nat_promises import Promise, products
from vpnmesh.report import canvas
from vpnmesh.study.nat_grid import Found, NatPair, NatRecord

COLOURS: Mapping[Found, str] = {
    Found.DIRECT: "#2f8f5b",
    Found.RELAY: "#c98a1b",
    Found.NOTHING: "#c0392b",
    Found.UNPROVEN: "#8a8f98",
    Found.BROKEN: "#8a8f98",
    Found.UNAVAILABLE: "#8a8f98",
}
"""Of a cell's ground; its word stands in the cell, so that nothing hangs on the colour alone."""
_CELL_INCHES = (1.12, 0.62)
_LEFT_INCHES, _FOOT_INCHES, _HEAD_INCHES, _LEAST_INCHES = 1.4, 0.5, 0.7, 3.4
_GROUND = 0.28
_ROOM = 7
"""From so many kinds on there is room for words below the diagonal."""
_COLUMNS = (
    *("client", "server", "hole punched bare", "promised", "found", "as promised"),
    *("first packet s", "direct s", "Mbit/s", "why, or packets"),
)
_HOLES = {True: "a hole could be punched", False: "no hole possible", None: "no UDP"}
"""Whether the kinds themselves let UDP get both ways: what no product can change."""
_READING = (
    "A pair is tried in one order: a NAT does not know who is client.",
    "Seconds count from the start of both ends' programs.",
    "no hole possible: between these kinds UDP cannot get both ways, whoever tries.",
    "no UDP: one end lets none out, so that only a relay over TCP can carry the pair.",
    "Rates are of two seconds, once: they tell a path from another, no more.",
)
"""How to read the picture: said in its empty corner, where no pair stands."""
_SIGNS = {"direct": "direct", "relay": "relay", "some": "a path", "none": "no path"}


def figure(solution: str, records: Sequence[NatRecord]) -> str:
    """All pairs of one solution: the path, seconds to first packet and to direct, and whether it is as promised."""
    title = f"{solution}: which path is found behind which NATs"
    return canvas.draw(f"nat-grid-{solution}", title, partial(_figure, solution, records))


def kinds_of(records: Iterable[NatRecord]) -> tuple[NatKind, ...]:
    """The kinds that occur, in the order of the words."""
    found = {kind for one in records for kind in (one.client, one.server)}
    return tuple(kind for kind in NatKind if kind in found)


def promise_of(record: NatRecord) -> Promise | None:
    """What the product's own words say of the cell."""
    known = products().get(record.solution)
    return known.promise(record.client, record.server) if known else None


def kept(record: NatRecord) -> bool | None:
    """Whether what was found is what is promised; None where nothing is, or where the cell says nothing."""
    promise = promise_of(record)
    if promise is None or not record.counts:
        return None
    if promise.path == "some":
        return record.found is not Found.NOTHING
    wanted = {"direct": Found.DIRECT, "relay": Found.RELAY, "none": Found.NOTHING}[promise.path]
    return record.found is wanted


def tries_of(record: NatRecord) -> str:
    """How all tries ended, where there were several."""
    return f"{len(record.tries)} tries: {', '.join(record.tries)}" if record.tries else ""


def counted(solution: str, records: Sequence[NatRecord]) -> str:
    """How many cells ended how, and how many not as promised."""
    ended = [f"{sum(one.found is found for one in records)} {found}" for found in Found]
    told = ", ".join(one for one in ended if not one.startswith("0 "))
    other = sum(kept(one) is False for one in records)
    return f"{solution}: {len(records)} cells: {told}; {other} not as promised"


def page(records: Sequence[NatRecord]) -> str:
    """Every cell as a row of Markdown, with what is promised, its source, and what of it was seen."""
    lines = ["# NAT grid", "", "Seconds count from the start of both ends' programs.", ""]
    for solution in dict.fromkeys(one.solution for one in records):
        mine = [one for one in records if one.solution == solution]
        lines += [
            f"## {solution}",
            "",
            f"{counted(solution, mine)}.",
            "",
            f"![{solution}]({solution}.svg)",
            "",
        ]
        lines += _table(mine)
        lines += ["", *_sources(mine), ""]
    return "\n".join([*lines, "## Kinds", "", *_kinds(records), ""])


def _table(records: Sequence[NatRecord]) -> list[str]:
    head = "| " + " | ".join(_COLUMNS) + " |"
    rows = [head, "| --- " * len(_COLUMNS) + "|"]
    for one in _ordered(records):
        promise, as_promised = promise_of(one), kept(one)
        packets = f"[packets]({one.capture})" if one.capture else ""
        note = "; ".join(part for part in (tries_of(one), one.reason, packets) if part)
        cells = (
            one.client,
            one.server,
            _yes_no(one.punched),
            _SIGNS[promise.path] if promise else "",
            one.found,
            _yes_no(as_promised),
            _number(one.first_packet_s),
            _number(one.direct_s),
            _number(one.rate_mbit_s),
            note.replace("|", "\\|"),
        )
        rows.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return rows


def _ordered(records: Sequence[NatRecord]) -> list[NatRecord]:
    order = list(NatKind)
    return sorted(records, key=lambda one: (order.index(one.client), order.index(one.server)))


def _sources(records: Sequence[NatRecord]) -> list[str]:
    found = dict.fromkeys(promise for one in _ordered(records) if (promise := promise_of(one)))
    return [f"- {' and '.join(one.between)}: {_SIGNS[one.path]}. [{one.source}]({one.url})" for one in found]


def _kinds(records: Sequence[NatRecord]) -> list[str]:
    lines = ["| kind | what it does |", "| --- | --- |"]
    words = {kind: BEHAVIOURS[kind].words for kind in kinds_of(records) if kind in BEHAVIOURS}
    return [*lines, *(f"| {kind} | {text} |" for kind, text in words.items())]


def _yes_no(value: bool | None) -> str:  # noqa: FBT001 - what is told is the value itself
    return "" if value is None else "yes" if value else "no"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _figure(solution: str, records: Sequence[NatRecord]) -> Figure:
    kinds = kinds_of(records)
    width, height = (inches * len(kinds) for inches in _CELL_INCHES)
    # the legend and the title need their room however few kinds there are
    size = (max(width, _LEAST_INCHES) + _LEFT_INCHES + 0.1, height + _FOOT_INCHES + _HEAD_INCHES)
    drawn = Figure(figsize=size)
    place = (_LEFT_INCHES / size[0], _FOOT_INCHES / size[1], width / size[0], height / size[1])
    axes = drawn.add_axes(place)
    _frame(axes, kinds)
    cells = {one.pair: one for one in records}
    for (row, client), (column, server) in product(enumerate(kinds), repeat=2):
        if record := cells.get(NatPair(client, server)):
            _cell(axes, row, column, record)
    if len(kinds) >= _ROOM and all(kinds.index(one.client) <= kinds.index(one.server) for one in records):
        # below the diagonal no pair stands
        axes.text(
            -0.45, len(kinds) - 0.55, "\n".join(_READING), ha="left", va="bottom", fontsize=7, linespacing=1.6
        )
    title = f"{solution}: path found, by the kinds of NAT of client (rows) and server"
    drawn.suptitle(title, x=0.02, ha="left", fontsize=9.5)
    _legend(drawn, {one.found for one in records})
    return drawn


def _legend(drawn: Figure, found: Container[Found]) -> None:
    used = [one for one in Found if one in found]
    handles = [Patch(facecolor=COLOURS[one], alpha=_GROUND, label=str(one)) for one in used]
    handles.append(
        Patch(facecolor="none", edgecolor=COLOURS[Found.NOTHING], linewidth=1.6, label="not as promised")
    )
    drawn.legend(handles=handles, loc="lower center", ncols=len(handles))


def _frame(axes: Axes, kinds: Sequence[NatKind]) -> None:
    axes.set_xlim(-0.5, len(kinds) - 0.5)
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.set_xticks(range(len(kinds)), [str(kind) for kind in kinds])
    axes.set_yticks(range(len(kinds)), [str(kind) for kind in kinds])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=7.5)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _cell(axes: Axes, row: int, column: int, record: NatRecord) -> None:
    corner, size = (column - 0.47, row - 0.46), (0.94, 0.92)
    axes.add_patch(Rectangle(corner, *size, facecolor=COLOURS[record.found], alpha=_GROUND, linewidth=0))
    if kept(record) is False:
        edge = COLOURS[Found.NOTHING]
        axes.add_patch(Rectangle(corner, *size, facecolor="none", edgecolor=edge, linewidth=1.6))
    figures = [
        _HOLES[record.punched] if record.found is not Found.DIRECT and record.counts else "",
        f"first packet {_number(record.first_packet_s)} s" if record.first_packet_s is not None else "",
        f"direct after {_number(record.direct_s)} s" if record.direct_s is not None else "",
        f"{record.rate_mbit_s:.0f} Mbit/s" if record.rate_mbit_s is not None else "",
        f"in {len(record.tries)} tries" if record.tries else "",
    ]
    axes.text(column, row - 0.26, str(record.found), ha="center", va="center", fontsize=8, weight="bold")
    axes.text(
        column, row + 0.14, "\n".join(one for one in figures if one), ha="center", va="center", fontsize=5.8
    )
