"""The report of a run or of published results: `python -m workflows.report RUN`, `--paper`, or `--import-knb DIR ...
--out OUT`.

Exit codes: 0 also when rows were dropped and reported, 1 when a gate fails, 2 when nothing is usable or the
command line is wrong.
"""

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import polars as pl
from pydantic import TypeAdapter, ValidationError

from vpnmesh.documents.yaml_text import parse_yaml
from vpnmesh.errors import InputError, VpnmeshError
from vpnmesh.frames.aggregate import cell_samples, unavailable
from vpnmesh.frames.order import THROUGHPUT_TESTS
from vpnmesh.reference.data import paper_data
from vpnmesh.report import first_screen
from vpnmesh.report.changes import Gate, changes, gate_failures, lost_cells, unjudged_cells
from vpnmesh.report.judgement.advice import Advice
from vpnmesh.report.judgement.claim_verdicts import ClaimVerdict
from vpnmesh.report.judgement.ranking import Ranked
from vpnmesh.report.judgement.reproduction import matches
from vpnmesh.report.replay import Replay, replay
from vpnmesh.report.setting import notes
from vpnmesh.report.tables import Study
from workflows.reporting.presenting import Judged, judge, present, write_bundle
from workflows.reporting.studies import study_from_imports, study_from_run, study_of

REPETITION_S = 60.0
"""What one repetition of the paper measures for (section 3.3)."""

_FOLDER = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a study comes from: a run's directory, folders of published results, or the paper's own data."""

    run: Path | None
    knb: Path | None
    hey: Path | None
    paper: bool = False

    def study(self) -> Study:
        """The study; InputError when nothing, or more than one kind, is named."""
        self.check()
        if self.run:
            return study_from_run(self.run)
        if self.paper:
            return study_of(paper_data())
        return study_from_imports(self.knb, self.hey)

    def check(self, *, compared: bool = False, gate: Path | None = None) -> None:
        """InputError unless exactly one kind of source is named (two runs that are compared are one kind, too), or
        where a gate has nothing to hold against.
        """
        if gate and not compared:
            raise InputError("--gate", "there is nothing to hold it against", "name two runs with --compare")
        kinds = {
            "RUN": self.run is not None,
            "--import-...": bool(self.knb or self.hey),
            "--paper": self.paper,
            "--compare": compared,
        }
        named = [name for name, given in kinds.items() if given]
        if len(named) > 1:
            raise InputError("command line", f"{' and '.join(named)} at once", "name one of them")
        if not named:
            way_out = "name RUN, --paper, --import-knb or --import-hey"
            raise InputError("command line", "nothing to report on", way_out)

    def raw(self) -> tuple[tuple[str, Path], ...]:
        """The folders that the study came from, each with its name in an archive."""
        named = (("run", self.run), ("raw/knb", self.knb), ("raw/hey", self.hey))
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
  python -m workflows.report --compare runs/A runs/B --gate gate.yaml      exit code 1 where B got slower
"""


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=_FOLDER, required=False)
@click.option(
    "--import-knb", "knb", type=_FOLDER, help="Folder of k8s-bench-suite JSON, a folder per scenario."
)
@click.option(
    "--import-hey", "hey", type=_FOLDER, help="Folder of `hey -o csv` files, a folder per scenario."
)
@click.option("--paper", is_flag=True, help="The paper's data, which ship with vpnmesh; --advise is then on.")
@click.option("--out", type=_FOLDER, help="Where the report goes; made if missing.")
@click.option("--advise", is_flag=True, help="Also say which VPN for which need, and why (advice.json).")
@click.option("--need", "needs", metavar="ID,...", help="With --advise: only these needs.")
@click.option(
    "--bundle", is_flag=True, help="Also write bundle.zip: raw, tables, provenance, without secrets."
)
@click.option("--replay", "replayed", is_flag=True, help="What sequential stopping would have cost.")
@click.option("--orders", default=1000, show_default=True, type=click.IntRange(1), help="Orders to replay.")
@click.option("--seed", default=1, show_default=True, help="Seed of the orders.")
@click.option(
    "--compare", type=(_FOLDER, _FOLDER), help="Two runs: which cells changed from the first to the second."
)
@click.option(
    "--gate", type=_FOLDER, help="With --compare: YAML with margin_pct and certainty; exit 1 if slower."
)
def main(  # noqa: PLR0913 - click hands over each option by itself
    run: Path | None,
    knb: Path | None,
    hey: Path | None,
    out: Path | None,
    compare: tuple[Path, Path] | None,
    gate: Path | None,
    needs: str | None,
    *,
    paper: bool,
    advise: bool,
    bundle: bool,
    replayed: bool,
    orders: int,
    seed: int,
) -> None:
    """Report on RUN, on results that others published, or on the paper's."""
    origin = Origin(run, knb, hey, paper)
    try:
        origin.check(compared=compare is not None, gate=gate)
        if compare:
            sys.exit(_compare(*compare, gate, out))
        study = origin.study()
        for note in study.notes:
            click.echo(f"note: {note}", err=True)
        target = origin.out(out)
        if replayed:
            _replay(study, target, orders, seed)
            return
        names = tuple(name.strip() for name in (needs or "").split(",") if name.strip())
        judged = judge(study, names if advise or names or paper else None)
        write_report(judged.study, target)
        present(judged, target)
        if paper:
            _tell_reproduced(judged)
        if judged.advice:
            _tell(judged.advice)
        if bundle:
            _bundle(judged.study, target, origin)
    except VpnmeshError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)


def write_report(study: Study, out: Path) -> None:
    """Write the tables and the repetitions below `out`, and tell how many there are."""
    write_tables(study.tables, out)
    _write_parquet(study.samples, out / "results.parquet")
    counts = study.samples.filter(~unavailable())["outcome"].value_counts().rows()
    told = ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts)) or "none"
    click.echo(f"{out}: repetitions: {told}; requests: {study.tables['api']['requests'].sum()}")
    click.echo(first_screen.line(study))


def _tell_reproduced(judged: Judged) -> None:
    """How much of what the paper prints its own data give, and what became of its claims."""
    for sentence in matches(judged.study.tables["throughput"], judged.study.tables["pairwise"]):
        click.echo(sentence)
    counts = Counter(claim.verdict for claim in judged.claims)
    click.echo(
        "claims: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in ClaimVerdict if counts[verdict])
    )


def _tell(advice: Advice) -> None:
    for need in advice.needs:
        places = ", ".join(place(found) for found in need.ranking) or "undecided"
        click.echo(f"{need.need}: {places}")


def place(found: Ranked) -> str:
    """Rank and name, and why it stands behind what qualifies."""
    reason = "" if found.qualifies else f" (fails {', '.join(found.fails)})"
    return f"{found.rank}. {found.solution}{reason}"


def _bundle(study: Study, out: Path, origin: Origin) -> None:
    packed = write_bundle(study, out, origin.raw())
    masked, left_out = sum(entry.masked for entry in packed), [entry for entry in packed if entry.left_out]
    click.echo(f"{out / 'bundle.zip'}: {len(packed) - len(left_out)} files, {masked} places masked")
    for entry in left_out:
        click.echo(f"note: {entry.path}: left out of the bundle: {entry.left_out}", err=True)


def write_tables(tables: Mapping[str, pl.DataFrame], out: Path) -> None:
    """Each table as CSV with full float precision; header only where it is empty."""
    folder = out / "tables"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            table.write_csv(folder / f"{name}.csv")
    except OSError as error:
        raise InputError("--out", f"{folder} cannot be written: {error.strerror}") from error


def _write_parquet(samples: pl.DataFrame, path: Path) -> None:
    try:
        samples.write_parquet(path)
    except OSError as error:
        raise InputError("--out", f"{path} cannot be written: {error.strerror}") from error


def _replay(study: Study, out: Path, orders: int, seed: int) -> None:
    """Replay the undisturbed repetitions of each test; tables `replay-tcp`, `replay-udp` and their
    summaries.
    """
    cells = cell_samples(study.samples)
    done = 0
    for test in THROUGHPUT_TESTS:
        samples = {c.scenario: c.rates for c in cells.values() if (c.condition, c.test) == ("none", test)}
        if len(samples) < 2:  # noqa: PLR2004 - a pair
            continue
        result = replay(samples, orders=orders, seed=seed, seconds=REPETITION_S)
        write_tables({f"replay-{test}": result.pairs, f"replay-{test}-summary": result.summary()}, out)
        click.echo(_told(test, result))
        done += 1
    if not done:
        raise InputError("--replay", "no two scenarios have undisturbed repetitions")


def _told(test: str, result: Replay) -> str:
    orders, verdicts = result.wrong_orders, result.wrong_verdicts
    hard = result.pairs.sort("seconds", descending=True).head(2).select("a", "b", "seconds").rows()
    where = "; ".join(f"{a} and {b} {seconds:.0f} s" for a, b, seconds in hard)
    return (
        f"{test}: {result.orders} orders: {result.share_mean:.1%} of the measuring seconds"
        f" (median {result.share_median:.1%}, 90 % of orders below {result.share_p90:.1%});"
        f" a wrong verdict in {orders.estimate:.2%} of orders"
        f" (95 % interval {orders.low:.2%} to {orders.high:.2%}),"
        f" {verdicts.estimate:.3%} of verdicts; {result.undecided_verdicts} left open; dearest pairs: {where}"
    )


def _compare(before: Path, after: Path, gate: Path | None, out: Path | None) -> int:
    """Print what changed between two runs; 1 when a gate is given and a cell fails it."""
    a, b = study_from_run(before), study_from_run(after)
    rule = read_gate(gate) if gate else None
    table = changes(a, b)
    for note in (*notes(a, b), *lost_cells(a, b)):
        click.echo(f"note: {note}", err=True)
    for name, study in (("first", a), ("second", b)):
        click.echo(f"{name}: {first_screen.line(study)}")
    if out:
        write_tables({"changes": table}, out)
    for row in table.filter(pl.col("change").is_in(["faster", "slower"])).iter_rows(named=True):
        click.echo(
            f"{row['scenario']} {row['condition']} {row['test']}: {row['change']}: x{row['b_over_a']:.3f}"
            f" (95 % {row['low']:.3f} to {row['high']:.3f}), by {row['basis']}"
        )
    counts = ", ".join(f"{n} {change}" for change, n in sorted(table["change"].value_counts().rows()))
    click.echo(f"{table.height} cells: {counts}")
    return _hold(a, b, rule) if rule else 0


def _hold(a: Study, b: Study, gate: Gate) -> int:
    """Tell what fails the gate and what it could not judge; 1 where something fails."""
    for cell in unjudged_cells(a, b):
        click.echo(f"note: not judged by the gate: {cell}: too few figures, or no baseline", err=True)
    failures = gate_failures(a, b, gate)
    for failure in failures:
        click.echo(f"gate: {failure}")
    return 1 if failures else 0


def read_gate(path: Path) -> Gate:
    """The gate a YAML file states; InputError when it is none."""
    try:
        found = parse_yaml(path.read_bytes(), f"--gate: {path}")
        return TypeAdapter(Gate).validate_python(found if found is not None else {})
    except OSError as error:
        raise InputError("--gate", f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = f"{path}: {place or 'gate'}: {first['msg']}"
        raise InputError("--gate", problem, "write margin_pct and certainty") from error


if __name__ == "__main__":
    main()
