"""The section with the advice: a ranking for each need, what every sentence rests on, and what using a VPN takes."""

from collections.abc import Sequence

from vpnmesh.report.formatting import cell
from vpnmesh.report.judgement.advice import Advice
from vpnmesh.report.judgement.sentences import NeedAdvice
from vpnmesh.report.judgement.usability import UsabilityNote
from vpnmesh.report.page import Block, Heading, Items, Paragraph, Section, TableBlock


def advice_section(advice: Advice) -> Section:
    """The advice as a section; every sentence keeps the evidence that it cites."""
    blocks: list[Block] = [
        Paragraph(
            f"Facts as of {advice.on.isoformat()}, {advice.basis}. Solutions share a rank where scores lie within "
            "5 %; 1.00 is the best in every cell of the need. Ranks go by means alone, also where the first screen "
            "leaves pairs open; the sentences say how many are decided. Every sentence names what it rests on."
        ),
        _ranking_table(advice.needs),
    ]
    for need in advice.needs:
        blocks += _need(need)
    if advice.usability:
        blocks += [Heading("Living with it"), _usability_table(advice.usability)]
    blocks.append(Heading("What the paper concludes (section 5), held against these data"))
    for claim in advice.conclusions:
        why = (claim.because, *(evidence.text for evidence in claim.evidence))
        blocks.append(Items(f"{claim.claim} Verdict: {claim.verdict}.", why, folded=True))
    if advice.excluded:
        blocks.append(
            Items(f"{len(advice.excluded)} VPNs do not qualify on that date", advice.excluded, folded=True)
        )
    return Section("advice", "Advice", tuple(blocks))


def _ranking_table(needs: Sequence[NeedAdvice]) -> TableBlock:
    rows = []
    for need in needs:
        places = [
            f"{found.rank}. {found.solution}"
            + (f" ({found.score:.2f})" if found.score is not None else "")
            + ("" if found.qualifies else f" - fails {', '.join(found.fails)}")
            for found in need.ranking
        ]
        rows.append(
            (cell("need", need.need), cell("q", need.question), cell("r", "; ".join(places) or "undecided"))
        )
    return TableBlock(
        "advice", "The ranking for each need.", ("need", "when", "ranking"), tuple(rows), "advice.json"
    )


def _usability_table(findings: Sequence[UsabilityNote]) -> TableBlock:
    rows = tuple(
        (
            cell("solution", found.solution),
            cell("topic", found.topic),
            cell("finding", found.text),
            cell("known by", "this run" if found.measured else "dated fact"),
            cell("evidence", "" if found.measured else found.evidence.text),
        )
        for found in findings
    )
    columns = ("solution", "topic", "finding", "known by", "evidence")
    caption = "Set-up and fallback as this run measured them, beside dated facts that nobody measured here."
    return TableBlock("usability", caption, columns, rows, "advice.json")


def _need(need: NeedAdvice) -> list[Block]:
    blocks: list[Block] = [Heading(f"{need.question} ({need.need})")]
    for sentence in need.sentences:
        cited = tuple(evidence.text for evidence in sentence.evidence)
        blocks.append(Items(sentence.text, cited, folded=True) if cited else Paragraph(sentence.text))
    return blocks
