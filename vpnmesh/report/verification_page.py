"""The page of one solution's live checks: claimed beside verified, and every observation with its evidence."""

from vpnmesh.criteria.catalogue import CriteriaCatalogue, Value
from vpnmesh.criteria.checks import CHECKS
from vpnmesh.criteria.observation import Finding, Part
from vpnmesh.criteria.verified import Line, Verification, side_by_side
from vpnmesh.report.formatting import TableCell
from vpnmesh.report.page import Block, Items, Page, Paragraph, Section, TableBlock

_PARTS = {Part.DECIDES: "decides", Part.CONTROL: "shows that it can fail", Part.TOLD: "told beside it"}


def verification_page(catalogue: CriteriaCatalogue, found: Verification) -> Page:
    """One solution: the table first, then a section per check."""
    lines = side_by_side(catalogue, found)
    counts = {value: sum(line.verified is value for line in lines) for value in Value}
    lead = (
        f"{len(found.findings)} live checks of {found.solution} on {found.date.isoformat()}: "
        f"{counts[Value.MET]} met, {counts[Value.UNMET]} unmet, {counts[Value.UNKNOWN]} unknown. "
        "A check counts only where its control shows that it could have failed."
    )
    facts = (
        ("programs", found.version),
        ("testbed", f"{found.testbed} ({found.substrate})"),
        ("date", found.date.isoformat()),
    )
    sections = (_table(catalogue, found), *(_section(one) for one in found.findings))
    return Page(f"Criteria of {found.solution}, verified", lead, sections, facts)


def _table(catalogue: CriteriaCatalogue, found: Verification) -> Section:
    rows = tuple(
        tuple(map(TableCell, (line.title, str(line.claimed), str(line.verified), line.reason)))
        for line in side_by_side(catalogue, found)
    )
    caption = "What is claimed, and what was found by trying; unknown is an answer of its own."
    columns = ("criterion", "claimed", "verified", "why")
    return Section("criteria", "Claimed and verified", (TableBlock("criteria", caption, columns, rows),))


def _section(found: Finding) -> Section:
    check = next(one for one in CHECKS if one.id == found.check)
    blocks: list[Block] = [
        Paragraph(f"{found.value}: {found.reason}"),
        Items("How", (f"asked: {check.asks}", f"control: {check.control}", *_stood(found))),
    ]
    if found.observations:
        columns = ("what", "wanted", "seen", "holds", "for", "evidence")
        rows = tuple(
            tuple(
                map(
                    TableCell,
                    (
                        one.what,
                        one.wanted,
                        one.seen,
                        "yes" if one.holds else "no",
                        _PARTS[one.part],
                        one.file,
                    ),
                )
            )
            for one in found.observations
        )
        caption = "Every observation; the evidence is a text file beside this page."
        blocks.append(TableBlock(f"{found.check}-seen", caption, columns, rows))
    return Section(found.check, check.title, tuple(blocks))


def _stood(found: Finding) -> tuple[str, ...]:
    stood = f"scenarios that stood: {', '.join(found.scenarios)}" if found.scenarios else "no scenario stood"
    return (stood, f"took {found.seconds:.1f} s")


def overview_page(catalogue: CriteriaCatalogue, all_found: tuple[Verification, ...]) -> Page:
    """All solutions beside each other: a row per topic, `claimed | verified` in every cell."""
    columns = ("criterion", *(one.solution for one in all_found))
    lines = {one.solution: side_by_side(catalogue, one) for one in all_found}
    titles = [line.title for line in next(iter(lines.values()))] if lines else []
    rows = tuple(
        tuple(map(TableCell, (title, *(_both(lines[one.solution][place]) for one in all_found))))
        for place, title in enumerate(titles)
    )
    caption = "claimed | verified; each solution's own page says why."
    table = TableBlock("overview", caption, columns, rows)
    facts = tuple(
        (one.solution, f"{one.version}, {one.date.isoformat()}, {one.testbed}") for one in all_found
    )
    section = Section("criteria", "Claimed and verified", (table,))
    return Page("Criteria, verified", "What live checks found of each solution.", (section,), facts)


def _both(line: Line) -> str:
    return f"{line.claimed} | {line.verified}"
