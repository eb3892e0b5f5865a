"""The report of a run or of published results: `python -m workflows.report RUN`, `--paper`, or `--import-knb DIR`.

`--compare` and `--history` set two runs, or many, side by side. Exit codes: 0 also when rows were dropped and
reported, 1 when a gate fails or a history's newest run is worse, 2 when nothing is usable or the command line is wrong.
"""

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from vpnmesh.errors import InputError
from vpnmesh.frames.aggregate import unavailable
from vpnmesh.reference.data import paper_data
from vpnmesh.report import first_screen
from vpnmesh.report.health_words import sentences
from vpnmesh.report.history import By
from vpnmesh.report.judgement.advice import Advice
from vpnmesh.report.judgement.claim_verdicts import ClaimVerdict
from vpnmesh.report.judgement.ranking import Ranked
from vpnmesh.report.judgement.reproduction import matches
from vpnmesh.report.tables import Study
from workflows.reporting.answering import opening, show
from workflows.reporting.closing import then_and_now_tables
from workflows.reporting.comparing import compare as compare_runs
from workflows.reporting.fidelity import tell_fidelity
from workflows.reporting.headlines import headline_tables
from workflows.reporting.history import tell_history
from workflows.reporting.imported import write_import
from workflows.reporting.presenting import (
    Judged,
    judge,
    present,
    write_bundle,
    write_repetitions,
    write_tables,
)
from workflows.reporting.replaying import replay_study
from workflows.reporting.studies import study_from_imports, study_from_run, study_of
from workflows.run.options import bad_input_exits_2
from workflows.run.progress import make_console, result_tables
from workflows.run.terminal import say

_FOLDER = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class ReportSource:
    """What a report is made from: a run's directory, folders of published results, or the paper's own data."""

    run: Path | None
    knb: Path | None
    hey: Path | None
    paper: bool = False
    vpn_bench: Path | None = None
    k8s_netperf: Path | None = None

    def study(self) -> Study:
        """The study; InputError where nothing in the source is usable."""
        if self.run:
            return study_from_run(self.run)
        if self.paper:
            return study_of(paper_data())
        return study_from_imports(self.knb, self.hey, self.vpn_bench, self.k8s_netperf)

    def check(self, *, compared: bool = False) -> None:
        """InputError unless exactly one kind of source is named; two runs that are compared are one kind, too."""
        kinds = {
            "RUN": self.run is not None,
            "--import-...": bool(self.knb or self.hey or self.vpn_bench or self.k8s_netperf),
            "--paper": self.paper,
            "--compare or --fidelity": compared,
        }
        named = [name for name, given in kinds.items() if given]
        if len(named) > 1:
            raise InputError("command line", f"{' and '.join(named)} at once", "name one of them")
        if not named:
            way_out = "name RUN, --paper, --import-knb, -hey, -vpn-bench or -k8s-netperf"
            raise InputError("command line", "nothing to report on", way_out)

    def raw(self) -> tuple[tuple[str, Path], ...]:
        """The folders that the study came from, each with its name in an archive."""
        named = (
            ("run", self.run),
            ("raw/knb", self.knb),
            ("raw/hey", self.hey),
            ("raw/vpn-bench", self.vpn_bench),
            ("raw/k8s-netperf", self.k8s_netperf),
        )
        return tuple((name, folder) for name, folder in named if folder)

    def out(self, wanted: Path | None) -> Path:
        """Where the report goes: as asked, else beside the run, else `report`."""
        return wanted or (self.run / "report" if self.run else Path("report"))


_EXAMPLES = """
\b
examples:
  python -m workflows.report runs/20260101-120000                          report.html beside the run
  python -m workflows.report runs/20260101-120000 --advise --bundle        with advice, and an archive to share
  python -m workflows.report --paper --out paper                           the study itself, from the data in the box
  python -m workflows.report --paper --replay                              what sequential stopping would have cost
  python -m workflows.report --import-knb knb --import-hey hey --out theirs   published files of your own
  python -m workflows.report --import-vpn-bench bench/18.12.2025 --out theirs   or --import-k8s-netperf DIR
  python -m workflows.report --compare runs/A runs/B --gate gate.yaml      exit code 1 where B got slower
  python -m workflows.report --fidelity runs/REAL runs/TWIN                how like the real one its twin was
  python -m workflows.report --fidelity real.json twin.json                the same of two files of --record-paths
  python -m workflows.report --history runs --by version --junit out.xml   all of runs/; 1 where the newest is worse
"""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", type=_FOLDER, nargs=-1, metavar="[RUN]...")
@click.option(
    "--import-knb", "knb", type=_FOLDER, help="Folder of k8s-bench-suite JSON, a folder per scenario."
)
@click.option(
    "--import-hey", "hey", type=_FOLDER, help="Folder of `hey -o csv` files, a folder per scenario."
)
@click.option("--import-vpn-bench", "vpn_bench", type=_FOLDER, help="Folder of one benchmark of vpn-bench.")
@click.option(
    "--import-k8s-netperf",
    "k8s_netperf",
    type=_FOLDER,
    help="Folder of k8s-netperf's JSON or result-*.csv, a folder per scenario.",
)
@click.option("--paper", is_flag=True, help="The paper's data, which ship with vpnmesh; --advise is then on.")
@click.option("--out", type=_FOLDER, help="Where the report goes; made if missing.")
@click.option("--advise", is_flag=True, help="Also say which VPN for which need, and why (advice.json).")
@click.option("--need", "needs", metavar="ID,...", help="With --advise: only these needs.")
@click.option(
    "--verified",
    type=_FOLDER,
    help="Count what `criteria --verify` found in this folder before what is claimed.",
)
@click.option(
    "--bundle", is_flag=True, help="Also write bundle.zip: raw, tables, provenance, without secrets."
)
@click.option("--replay", "replayed", is_flag=True, help="What sequential stopping would have cost.")
@click.option(
    "--orders", default=1000, show_default=True, type=click.IntRange(1, 100_000), help="Orders to replay."
)
@click.option("--seed", default=1, show_default=True, help="Seed of the orders.")
@click.option(
    "--fidelity",
    type=(_FOLDER, _FOLDER),
    help="A run (or recorded paths) of a real testbed and of its twin: both figures, and the interval of their ratio.",
)
@click.option(
    "--compare", type=(_FOLDER, _FOLDER), help="Two runs: which cells changed from the first to the second."
)
@click.option(
    "--gate",
    type=_FOLDER,
    help="With --compare or --history: YAML with margin_pct and certainty; exit 1 if slower.",
)
@click.option("--history", "row", is_flag=True, help="All RUNs in a row; a folder counts as the runs in it.")
@click.option(
    "--by",
    type=click.Choice([by.value for by in By]),
    help="With --history: order by date (default) or by the program's version.",
)
@click.option("--junit", type=_FOLDER, help="With --history or --gate: the verdicts as JUnit XML.")
@bad_input_exits_2
def main(  # noqa: PLR0913 - click hands over each option by itself
    runs: tuple[Path, ...],
    knb: Path | None,
    hey: Path | None,
    out: Path | None,
    compare: tuple[Path, Path] | None,
    gate: Path | None,
    needs: str | None,
    *,
    vpn_bench: Path | None,
    k8s_netperf: Path | None,
    row: bool,
    by: str | None,
    junit: Path | None,
    fidelity: tuple[Path, Path] | None,
    paper: bool,
    advise: bool,
    verified: Path | None,
    bundle: bool,
    replayed: bool,
    orders: int,
    seed: int,
) -> None:
    """Report on RUN, on results that others published, or on the paper's."""
    check_row(runs, by, gate, junit, row=row, compared=compare is not None)
    source = ReportSource(runs[0] if runs and not row else None, knb, hey, paper, vpn_bench, k8s_netperf)
    source.check(compared=compare is not None or fidelity is not None or row)
    if fidelity:
        sys.exit(_tell_twin(fidelity, alone=not (compare or row)))
    if row:
        sys.exit(tell_history(runs, out or Path("history"), By(by or By.DATE), gate, junit))
    if compare:
        sys.exit(compare_runs(*compare, gate, out, junit))
    _report(
        source,
        source.out(out),
        needs,
        advise=advise,
        verified=verified,
        bundle=bundle,
        orders=orders if replayed else 0,
        seed=seed,
    )


@contextmanager
def _no_garbage_looked_for() -> Iterator[None]:
    """What a report leaves in cycles is figures, 16 MB for the whole paper; looking for it takes 0.2 s of 4.5."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _tell_twin(fidelity: tuple[Path, Path], *, alone: bool) -> int:
    if not alone:
        raise InputError("--fidelity", "goes with neither --compare nor --history", "name one of them")
    return tell_fidelity(*fidelity)


def _report(
    source: ReportSource,
    target: Path,
    needs: str | None,
    *,
    advise: bool,
    verified: Path | None,
    bundle: bool,
    orders: int,
    seed: int,
) -> None:
    """Report on one study; with `orders` only what sequential stopping would have cost in so many."""
    study = source.study()
    for note in study.notes:
        say(f"note: {note}", err=True)
    if orders:
        replay_study(study, target, orders, seed)
        return
    with _no_garbage_looked_for():
        judged = judge(study, _needs(needs, advise=advise or source.paper), verified)
        write_report(judged.study, target, source.run)
        present(judged, target)
    if source.paper:
        _tell_reproduced(judged)
    if judged.advice:
        _tell_advice(judged.advice)
    if bundle:
        _bundle(judged.study, target, source)


def check_row(
    runs: tuple[Path, ...],
    by: str | None,
    gate: Path | None,
    junit: Path | None,
    *,
    row: bool,
    compared: bool,
) -> None:
    """InputError where these options do not go together."""
    problems = {
        "--gate": (
            gate and not (compared or row),
            "there is nothing to hold it against",
            "name two runs with --compare",
        ),
        "--by": (by and not row, "goes with --history", ""),
        "--junit": (
            junit and not (row or (compared and gate)),
            "goes with --history, or with --compare and --gate",
            "",
        ),
        "--history": (row and not runs, "names no run", "name runs, or a folder of runs"),
        "command line": (row and compared, "--history and --compare at once", "name one of them"),
        "RUN": (
            len(runs) > 1 and not row,
            f"{len(runs)} runs at once",
            "name one, or put them in a row with --history",
        ),
    }
    for place, (wrong, problem, way_out) in problems.items():
        if wrong:
            raise InputError(place, problem, way_out)


def _needs(named: str | None, *, advise: bool) -> tuple[str, ...] | None:
    """The needs that advice is wanted for, none named = all; None where no advice is wanted."""
    found = tuple(name.strip() for name in (named or "").split(",") if name.strip())
    return found if advise or found else None


def write_report(study: Study, out: Path, run: Path | None = None) -> None:
    """Write the tables and the repetitions below `out`, and print how many there are."""
    write_tables(study.tables, out)
    write_repetitions(study.samples, out / "results.parquet")
    if study.provenance.get("kind") == "import":
        write_import(study, out)
    counts = study.samples.filter(~unavailable())["outcome"].value_counts().rows()
    told = ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts)) or "none"
    say(f"{out}: repetitions: {told}; requests: {study.tables['api']['requests'].sum()}")
    console = make_console()
    show(console, opening(study, run))
    if run:
        show(console, result_tables(study.samples, study.scenarios))
        show(console, headline_tables(study))
    show(console, then_and_now_tables(study))
    for text in sentences(study):
        say(f"cluster health: {text}")
    say(first_screen.line(study))


def _tell_reproduced(judged: Judged) -> None:
    """How much of what the paper prints its own data give, and what became of its claims."""
    for sentence in matches(judged.study.tables["throughput"], judged.study.tables["pairwise"]):
        say(sentence)
    counts = Counter(claim.verdict for claim in judged.claims)
    say("claims: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in ClaimVerdict if counts[verdict]))


def _tell_advice(advice: Advice) -> None:
    for need in advice.needs:
        places = ", ".join(place(found) for found in need.ranking) or "undecided"
        say(f"{need.need}: {places}")


def place(found: Ranked) -> str:
    """Rank and name, and for what does not qualify the criteria that it fails."""
    reason = "" if found.qualifies else f" (fails {', '.join(found.fails)})"
    return f"{found.rank}. {found.solution}{reason}"


def _bundle(study: Study, out: Path, source: ReportSource) -> None:
    packed = write_bundle(study, out, source.raw())
    masked, left_out = sum(entry.masked for entry in packed), [entry for entry in packed if entry.left_out]
    say(f"{out / 'bundle.zip'}: {len(packed) - len(left_out)} files, {masked} places masked")
    for entry in left_out:
        say(f"note: {entry.path}: left out of the bundle: {entry.left_out}", err=True)


if __name__ == "__main__":
    main()
