"""The API requests of a run beside the paper's: its Figure 3, and what it shows and does not show (section 4.3)."""

from collections.abc import Mapping, Sequence

import polars as pl

from vpnmesh.frames.requests import HEY, OPEN_LOOP, ApiCell, api_cells
from vpnmesh.reference.data import paper_requests
from vpnmesh.report.page import Paragraph
from vpnmesh.report.pairwise import API_RUNS_TEST
from vpnmesh.stats.intervals import fewest_for_interval

PAPER = "the paper's, hey"
"""The mode of the paper's requests where they stand beside a run's."""
PAPER_TABLE: dict[str, pl.DataType] = {"paper_mean_s": pl.Float64(), "paper_rps": pl.Float64()}
_WORKERS = 100
_UNDISTURBED = "none"


def with_papers(api: pl.LazyFrame, scenarios: Sequence[str]) -> pl.LazyFrame:
    """The requests of a run, and the paper's of the same scenarios as a mode of their own."""
    papers = paper_requests().filter(pl.col("scenario").is_in(list(scenarios)))
    names = api.collect_schema().names()
    return pl.concat([api, papers.with_columns(mode=pl.lit(PAPER)).select(names)])


def beside_papers(table: pl.DataFrame) -> pl.DataFrame:
    """The table of a run with the paper's mean and rate behind what was asked as in the paper."""
    if table.filter(mode=HEY, condition=_UNDISTURBED).is_empty():
        return table.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in PAPER_TABLE.items())
    papers = _papers(table["scenario"].unique().to_list())
    rows = [(one.scenario, HEY, _UNDISTURBED, one.pooled.summary().mean, one.achieved_rps) for one in papers]
    keys = {"scenario": pl.String(), "mode": pl.String(), "condition": pl.String()}
    known = pl.DataFrame(rows, schema={**keys, **PAPER_TABLE}, orient="row")
    return table.join(known, on=list(keys), how="left", maintain_order="left")


def api_words(table: pl.DataFrame, pairs: pl.DataFrame) -> tuple[Paragraph, ...]:
    """Where a run's requests contradict the paper's Figure 3, and why; nothing for what is no run."""
    calm = table.filter(pl.col("condition") == _UNDISTURBED, pl.col("requests") > pl.col("failed"))
    if "paper_mean_s" not in table.columns or calm.is_empty():
        return ()
    by_hey, by_clock = calm.filter(mode=HEY), calm.filter(mode=OPEN_LOOP)
    said = (_rates(by_hey), _waiting(by_hey, by_clock), _order(by_clock, pairs))
    return tuple(Paragraph(text) for text in said if text)


def _papers(scenarios: Sequence[str]) -> list[ApiCell]:
    return api_cells(paper_requests().filter(pl.col("scenario").is_in(scenarios)))


def _rates(by_hey: pl.DataFrame) -> str:
    """That hey's limit was not reached, here and in the paper, and what a response time then is."""
    if by_hey.is_empty():
        return ""
    rates, papers = by_hey["achieved_rps"].drop_nulls(), by_hey["paper_rps"].drop_nulls()
    if rates.is_empty():
        return ""
    full = int(by_hey["saturated"].fill_null(value=False).sum())
    text = (
        "hey -c 100 -q 10, the paper's command, is no limit of 10 requests a second, but one of 10 for each of 100"
        f" workers. Here it had {_span(rates, 0)} answers a second; in {full} of {by_hey.height} scenarios all its"
        " workers were waiting nearly all the time."
    )
    if papers.is_empty():
        return text
    quickest, slowest = (1000 * _WORKERS / float(one) for one in (papers.max(), papers.min()))  # type: ignore[arg-type]
    return (
        f"{text} The paper's published files have {_span(papers, 0)} a second for these scenarios, far below 1,000 too."
        f" With {_WORKERS} workers waiting, the mean response time is {_WORKERS} over that rate, {quickest:.0f} to"
        f" {slowest:.0f} ms: Figure 3 shows how fast a server answers that is always asked, and of the network only"
        " what it takes of that."
    )


def _waiting(by_hey: pl.DataFrame, by_clock: pl.DataFrame) -> str:
    """How much of a response time under hey is waiting: the same list, asked ten times a second in all."""
    both = by_clock.select("scenario", "p50_s").join(by_hey.select("scenario", hey_s="p50_s"), on="scenario")
    both = both.filter(pl.col("hey_s") > pl.col("p50_s"))
    if both.is_empty():
        return ""
    share = both.select(pct=100 * (1 - pl.col("p50_s") / pl.col("hey_s")))["pct"]
    return (
        "Asked by the clock, ten times a second in all, the same server gives the same list in a median of"
        f" {_span(1000 * both['p50_s'], 1)} ms, against {_span(1000 * both['hey_s'], 0)} ms under hey:"
        f" {_span(share, 0)} % of what hey measures is waiting that its own load makes."
    )


def _order(by_clock: pl.DataFrame, pairs: pl.DataFrame) -> str:
    """Which pairs are the other way round than in Figure 3, where there are runs enough to say so."""
    papers = {one.scenario: one.pooled.summary().mean for one in _papers(by_clock["scenario"].to_list())}
    if len(papers) < 2:  # noqa: PLR2004 - a pair needs two
        return ""
    fewest = fewest_for_interval()
    runs = by_clock.filter(pl.col("scenario").is_in(list(papers)))["runs"]
    if int(runs.min()) < fewest:  # type: ignore[arg-type]
        return (
            "Whether scenarios are in another order than in the paper's Figure 3 is not said here: that needs"
            f" {fewest} runs of each by the clock, and there are {_span(runs, 0)}."
        )
    told = pairs.filter(
        pl.col("test") == API_RUNS_TEST, pl.col("condition") == _UNDISTURBED, pl.col("mode") == OPEN_LOOP
    )
    turned = [row for row in told.to_dicts() if row["reject_holm"] and _turned(row, papers)]
    named = "; ".join(f"{row['a']} and {row['b']}" for row in turned)
    return (
        f"By the clock {len(turned)} of {told.height} pairs differ the other way round than in the paper's Figure 3"
        f"{f': {named}' if named else ''}."
    )


def _turned(row: Mapping[str, object], papers: Mapping[str, float | None]) -> bool:
    ours, a, b = row["ratio"], papers.get(str(row["a"])), papers.get(str(row["b"]))
    return isinstance(ours, float) and a is not None and b is not None and (ours > 1) != (a > b)


def _span(values: pl.Series, decimals: int) -> str:
    """`310 to 385`, or one number where both are the same."""
    low, high = (f"{float(one):,.{decimals}f}" for one in (values.min(), values.max()))  # type: ignore[arg-type]
    return low if low == high else f"{low} to {high}"
