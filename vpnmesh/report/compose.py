"""Puts a study, its figures, the claims and the advice together as one page, section by section.

Sections that only some studies have are made elsewhere: `advice_section`, and `run_sections` for what a run alone has.
"""

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from vpnmesh.report import health_section, mesh, origin_section, ramp_section, run_sections, version_sections
from vpnmesh.report.advice_section import advice_section
from vpnmesh.report.answer_section import answer_blocks, verdict_section
from vpnmesh.report.api_paper import MARKS, api_words
from vpnmesh.report.first_screen import facts
from vpnmesh.report.judgement.advice import Advice
from vpnmesh.report.judgement.claim_verdicts import ClaimVerdict
from vpnmesh.report.judgement.claims import Claim
from vpnmesh.report.judgement.claims import table as claims_table
from vpnmesh.report.mesh_tables import MESH
from vpnmesh.report.page import Block, FigureBlock, Items, Page, Paragraph, Section, table_block
from vpnmesh.report.tables import CRITERIA, PAIRWISE, TABLES, Study
from vpnmesh.report.throughput import BEYOND, columns
from vpnmesh.stats.drift import FEWEST_FOR_TREND
from vpnmesh.stats.intervals import fewest_for_interval

_THROUGHPUT_FIGURES = {
    "fig{means}-{test}-means": "Figure {means}. Mean {name} throughput per condition, with the standard deviation. "
    "Hatched: relayed, or the smaller MTU. In brackets: repetitions measured of attempted, where not all were. "
    "\"slow start\": TCP's figure there, not the VPN's.",
    "fig{cpu}-{test}": "Figure {cpu}. {name} throughput against the CPU of the client and, beside it, the server; "
    "every repetition with readings of at least 0{rule}. Upper left is better.",
    "distribution-{test}": "Distribution of {name} throughput: every measured repetition, the median as a line. "
    "(Above 2,000 repetitions: the middle half and the middle 90 %.)",
    "drift-{test}": "Drift. Each cell's {name} repetitions in the order they were taken, around the cell's mean. "
    "A triangle marks cells whose repetitions depend on each other (lag-1 autocorrelation beyond the 99 % limit) or "
    "follow a trend (Mann-Kendall, p < 0.01).",
}

_FIGURES_KEEP = ", as in the authors' notebook (the tables keep those above 0)"
_MANY = 10
_HINT = "Tables round; the files beside this page carry every digit. A click on a heading sorts."

_BEYOND_PAPER = {
    "unseen-netem-cap": "The queue of netem holds 1000 packets unless told otherwise, so a delay lets through at most "
    "limit * packet / delay, whatever the VPN could do. Right of the dashed line a mean tells more of the queue than "
    "of the VPN; means at the same share under three delays are one finding, not three.",
    "unseen-placement": "What is kept of the undisturbed throughput under loss. A relay over TCP repairs loss that is "
    "put below the VPN and cannot repair loss that is put inside it: curves far above the baselines' show where the "
    "impairment sat. Put elsewhere, the ranking under loss would be another.",
    "unseen-failed": "Repetitions that gave no figure. Left out in silence they make a cell look better than it was; "
    "here every mean shows what was attempted.",
    "unseen-replication": "Requests of one run share a moment of one machine. The thick bar is the 95 % interval of "
    "the mean if all requests were independent; the points are the means of the runs. Where runs lie outside it, a "
    "test over requests finds differences that a further run could undo.",
}

_NOT_DRAWN = {
    "unseen-netem-cap": "no cell with a delay and a netem queue of fixed size",
    "unseen-placement": "no scenario with both lossy and undisturbed cells",
    "unseen-failed": "no throughput repetitions",
    "unseen-replication": "no API requests",
}


def compose(
    study: Study,
    figures: Mapping[str, str],
    claims: Sequence[Claim] = (),
    advice: Advice | None = None,
    title: str = "Full-mesh VPNs under Kubernetes: results",
) -> Page:
    """The report as a value; `figures` as `vpnmesh.report.figures.figures` draws them."""
    sections = [
        _overview(study),
        *version_sections.versions(study),
        *([advice_section(advice)] if advice else []),
        _throughput(study, figures, "tcp", 1),
        _throughput(study, figures, "udp", 2),
        *ramp_section.ramp_section(study, figures),
        *mesh.mesh(study, figures),
        *version_sections.then_and_now(study, figures),
        *run_sections.variants(
            study, figures, {(pair.base, pair.variant) for pair in version_sections.pairs_of(study)}
        ),
        *origin_section.sections(study, figures),
        _api(study, figures),
        *health_section.health_section(study, figures),
        *verdict_section(study),
        _pairs(study),
        _resources(study),
        *run_sections.tests(study),
        *([_claims(claims)] if claims else []),
        *_further(study, ["claims"] if claims else []),
        _beyond_paper(figures),
        _criteria(study),
        _environment(study),
        _method(study),
    ]
    return Page(title, _lead(study), tuple(sections), facts(study), answer_blocks(study, figures))


def _lead(study: Study) -> str:
    throughput = study.tables["throughput"]
    requests = int(study.tables["api"]["requests"].sum() or 0)
    attempted, measured = (int(throughput[name].sum() or 0) for name in ("attempted", "measured"))
    parts = [f"{len(study.scenario_order)} scenarios"]
    parts += [f"{measured:,} of {attempted:,} throughput repetitions measured"] if attempted else []
    parts += [f"{requests:,} API requests"] if requests else []
    return ", ".join(parts) + "."


def _overview(study: Study) -> Section:
    throughput, api = study.tables["throughput"], study.tables["api"]
    blocks: list[Block] = [
        Paragraph(
            f"No {test.upper()} repetitions are in these data: its figures and rows are left out.",
            "warning",
        )
        for test in ("tcp", "udp")
        if throughput.filter(test=test).is_empty()
    ]
    # a run of the matrix sends none
    if api.is_empty() and study.provenance.get("kind") != "run":
        blocks.append(
            Paragraph("No API requests are in these data: Figure 3 and its rows are left out.", "warning")
        )
    # what could not be attempted is a note, once for all its cells
    warned = throughput.filter(pl.col("attempted") > 0).drop_nulls("warning").to_dicts()
    texts = [
        f"{row['scenario']}, {row['test'].upper()}, {row['condition']}: {row['warning']}" for row in warned
    ]
    if texts:
        blocks.append(Items(f"{len(texts)} cells to read with care", tuple(texts), folded=True))
    if study.notes:
        title = f"{len(study.notes)} notes on what was dropped, repaired or failed"
        blocks.append(Items(title, study.notes, folded=len(study.notes) > _MANY))
    return Section("overview", "Overview", (*blocks, Paragraph(_HINT)))


def _throughput(study: Study, figures: Mapping[str, str], test: str, number: int) -> Section:
    name = test.upper()
    rows = study.tables["throughput"].filter(test=test)
    if rows.is_empty():
        text = f"No {name} repetitions are in these data: Figures {number} and {number + 3}, distribution, drift "
        return Section(
            test, f"{name} throughput", (Paragraph(text + "and the rows of the table are left out."),)
        )
    blocks: list[Block] = []
    for pattern, caption in _THROUGHPUT_FIGURES.items():
        rule = _FIGURES_KEEP if study.provenance.get("kind") == "import" else ""
        words = {"means": number + 3, "cpu": number, "test": test, "name": name, "rule": rule}
        key, text = pattern.format(**words), caption.format(**words)
        few = f"no cell of {name} has the {FEWEST_FOR_TREND} repetitions that a trend can be seen in"
        why = few if key.startswith("drift") else f"no {name} repetitions with these readings"
        blocks.append(_figure(figures, key, text, why))
    paper = [one for one in columns(study.scenarios) if one != "test" and one not in BEYOND]
    # beside the paper's columns, where it is seen without scrolling
    shown = [*paper, "warning", *(one for one in BEYOND if one != "warning" and rows[one].count())]
    caption = (
        f"{name} throughput by cell; ratios are baseline mean / scenario mean, as in Tables A1 and A2. Beyond those: "
        f"the lowest and highest figure; the 95 % interval of the mean (from {fewest_for_interval()} figures), netem's "
        f"cap, the share in slow start, autocorrelation and trend (from {FEWEST_FOR_TREND}), where there are any."
    )
    blocks.insert(1, table_block(f"throughput-{test}", caption, rows, shown, "throughput"))
    return Section(test, f"{name} throughput", tuple(blocks))


def _figure(figures: Mapping[str, str], name: str, caption: str, missing: str) -> FigureBlock:
    if name in figures:
        return FigureBlock(name, caption, figures[name])
    return FigureBlock(name, f"{caption.split('.', maxsplit=1)[0]}. Not drawn: {missing}.", None)


def _api(study: Study, figures: Mapping[str, str]) -> Section:
    missing = "no API requests in these data"
    caption = "Figure 3. Response time of the Kubernetes API per scenario."
    if study.tables["api"].select("condition", "mode").n_unique() > 1:
        caption += f" Each panel is of one condition and one way to ask, with a scale of its own; {MARKS}."
    return Section(
        "api",
        "Kubernetes API",
        (
            _figure(figures, "fig3-api", caption, missing),
            table_block(
                "api",
                "API response times; runs pooled for mean and sd as in the paper, the spread of the runs' means beside "
                "it. Achieved rate and saturation show what load the servers really had.",
                study.tables["api"],
            ),
            *api_words(study.tables["api"], study.tables["pairwise"]),
            _figure(figures, "distribution-api", "Share of requests answered within a time.", missing),
        ),
    )


def _pairs(study: Study) -> Section:
    pairs = study.tables["pairwise"]
    tested = pairs.drop_nulls("p").height
    plain, holm = (int(pairs[name].fill_null(value=False).sum()) for name in ("reject", "reject_holm"))
    caption = (
        "Every pair of scenarios: two-sided Mann-Whitney U at 0.05; p (Holm) corrects over all pairs of its test and "
        "condition; Cliff's δ is positive where a is larger; ratio of means a/b with its 95 % interval. "
        "api takes requests as independent, as the paper; api-runs takes runs."
    )
    shown = [name for name in PAIRWISE if name != "reject"] + ["withheld"] * (pairs["withheld"].count() > 0)
    return Section(
        "pairs",
        "Pairs",
        (
            Paragraph(f"{plain} of {tested} tested pairs differ at 0.05, {holm} after Holm's correction."),
            table_block("pairwise", caption, pairs, shown),
        ),
    )


def _resources(study: Study) -> Section:
    unit = study.provenance.get("cpu_unit", "percent of one core, summed over the node")
    caption = (
        f"CPU ({unit}) and RAM while throughput was measured, or nothing (idle). The client's machine sends, the "
        "server's receives. The VPN's own: its processes at that end alone, so the rest is pods, tool and kernel; "
        "empty where the kernel carries the traffic, or where nobody recorded it."
    )
    return Section(
        "resources", "CPU and RAM", (table_block("resources", caption, study.tables["resources"]),)
    )


def _claims(claims: Sequence[Claim]) -> Section:
    frame = claims_table(claims)
    counts = {verdict: sum(claim.verdict is verdict for claim in claims) for verdict in ClaimVerdict}
    text = "Verdicts: " + ", ".join(f"{verdict} {count}" for verdict, count in counts.items())
    caption = (
        "What the paper says and what these data say to it, computed from the tables above. Claims about features rest "
        "on dated facts: 'as the paper says' where nothing but the paper's own word speaks for one."
    )
    columns = ["section", "claim", "verdict", "because"]
    return Section(
        "claims",
        "The paper's claims",
        (Paragraph(f"{text}."), table_block("claims", caption, frame, columns)),
    )


def _further(study: Study, shown: Iterable[str]) -> list[Section]:
    """The study's other tables, each with a caption; `shown` are those with a section of their own."""
    elsewhere = {
        *TABLES,
        *shown,
        *run_sections.TABLES,
        MESH,
        *ramp_section.TABLES,
        *health_section.TABLES,
        *version_sections.TABLES,
        *origin_section.TABLES,
        *run_sections.tests_shown(study),
    }
    blocks = [
        table_block(name, _FURTHER.get(name, name.replace("_", " ").capitalize() + "."), frame)
        for name, frame in study.tables.items()
        if name not in elsewhere and not frame.is_empty()
    ]
    return [Section("further", "Further tables", tuple(blocks))] if blocks else []


_FURTHER = {
    "why": "Why pairs failed, were relayed or did not come up: asked of the nodes while the scenario stood. down and "
    "relayed say what a finding does to the path, slow that it works with less, later that it shows once the direct "
    "path is lost.",
    "failures": "Failed repetitions by stage and reason.",
    "setup": "What standing each scenario up took, measured by this run: steps are changes of nodes, seconds run from "
    "the first step until every pair stood on the scenario's path; then the seconds of each phase.",
    "convergence": "How long paths took to change, measured by this run: to the relay once UDP was blocked, back to "
    "direct, and after the client's daemons were killed; an outage is the longest silence meanwhile. What never "
    "settled is attempted and not measured.",
    "ping": "Round trips between the pods, measured by this run.",
    "published": "These results beside the published Tables A1 and A2, as ratios to each one's own baseline, since the "
    "machines differ. Rows whose data plane differs (kernel, userspace) compare two things: no ranking is drawn there.",
}


def _beyond_paper(figures: Mapping[str, str]) -> Section:
    blocks = [_figure(figures, name, text, _NOT_DRAWN[name]) for name, text in _BEYOND_PAPER.items()]
    return Section("unseen", "What the paper could not see", tuple(blocks))


def _criteria(study: Study) -> Section:
    frame = study.tables["criteria"]
    shown = [name for name in frame.columns if not name.endswith("_evidence")]
    caption = (
        "Table 1: the essential criteria of section 3.1; unknown is no failure. The file has the evidence."
    )
    reasons = [
        f"{row['name']}: {row['failed'].replace(';', ', ')}"
        for row in frame.select(*CRITERIA).to_dicts()
        if row["failed"]
    ]
    blocks: list[Block] = [table_block("criteria", caption, frame, shown)]
    return Section(
        "criteria", "Criteria", (*blocks, *([Items("Excluded for", tuple(reasons))] if reasons else []))
    )


def _environment(study: Study) -> Section:
    block = table_block(
        "environment", "Table 2: what these data were measured on.", study.tables["environment"]
    )
    return Section("environment", "Environment", (block,))


_COUNTS = {
    "import": "A repetition counts as measured only with its rate and all CPU and RAM readings above 0.",
    "run": "A repetition counts as measured only where the tool gave its figure and every check before and after it "
    "held: the path, the impairment, the pods' MTU; a load that could not be read is left empty.",
}
"""What makes a repetition a measurement, by where the results come from."""


def _method(study: Study) -> Section:
    limit = study.provenance.get("netem_limit")
    cap = f"netem's queue: {limit} packets. " if limit else ""
    return Section(
        "method",
        "Method",
        (
            Paragraph(
                f"{cap}{_COUNTS.get(str(study.provenance.get('kind')), _COUNTS['run'])} "
                "Standard deviations are of samples. Intervals of a ratio are Fieller's unless a table says so. "
                f"An interval is shown from {fewest_for_interval()} figures on, a trend from {FEWEST_FOR_TREND}. A "
                "pair gets a p-value where both samples are as large as a test needs that can reject after Holm's "
                "correction over all pairs of the condition, and where neither is slow start; otherwise the column "
                "withheld says why."
            ),
            Paragraph(
                "The paper: Kjorveziroski V, Bernad C, Gilly K, Filiposka S. Full-mesh VPN performance evaluation for "
                "a secure edge-cloud continuum. Softw Pract Exper 2024, doi 10.1002/spe.3329."
            ),
        ),
    )
