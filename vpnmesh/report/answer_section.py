"""The first screen of the page: the answers, one picture of them, and further down the table that they come from."""

from collections.abc import Mapping

from vpnmesh.report.answer_costs import can_be_continued
from vpnmesh.report.answer_words import told
from vpnmesh.report.page import Block, FigureBlock, Section, table_block
from vpnmesh.report.shares import FIGURE, baseline
from vpnmesh.report.tables import Study
from vpnmesh.report.verdicts import VERDICTS
from vpnmesh.stats.compare import ALPHA

_PICTURE = (
    "Mean throughput in % of {base}'s (the line), with the 95 % interval of the ratio. "
    "Faint: not decided against {base}."
)
_TABLE = (
    "What is decided of every pair: differ, equivalent (within the margin), or undecided, and why. {how} The ratio is "
    "mean a / mean b with its interval, each pair by itself. Minutes are a forecast: they take the difference seen for "
    "the true one."
)
_FIXED = (
    f"By the fixed rule: differ where Mann-Whitney rejects at {ALPHA:g} after Holm's correction over the pairs of the "
    "condition, equivalent where the 90 % interval of the difference lies within the margin."
)
_OWN = "A run that measures until pairs are decided has them from its sequential rules."


def answer_blocks(study: Study, figures: Mapping[str, str]) -> tuple[Block, ...]:
    """What a reader came for; nothing where no throughput was compared."""
    if study.tables["verdicts"].is_empty():
        return ()
    picture = figures.get(FIGURE)
    caption = _PICTURE.format(base=baseline(study))
    return (told(study), *([FigureBlock(FIGURE, caption, picture)] if picture else []))


def verdict_section(study: Study) -> list[Section]:
    """Every pair with its verdict."""
    table = study.tables["verdicts"]
    if table.is_empty():
        return []
    caption = _TABLE.format(how=_OWN if can_be_continued(study) else _FIXED)
    return [
        Section("verdicts", "What is decided", (table_block("verdicts", caption, table, list(VERDICTS)),))
    ]
