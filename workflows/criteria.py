"""`python -m workflows.criteria`: which VPNs meet the essential criteria on a date, and why others do not."""

from collections.abc import Iterable
from datetime import UTC, date, datetime

import click

from vpnmesh.criteria.catalogue import Basis, Value
from vpnmesh.criteria.data import load, not_judged
from vpnmesh.criteria.evaluate import Verdict, evaluate, table
from workflows.run.options import bad_input_exits_2

_EXAMPLES = """
\b
examples:
  python -m workflows.criteria                                       by what is known today
  python -m workflows.criteria --date 2023-06-17                     as the paper's authors saw it
  python -m workflows.criteria --date 2023-06-17 --basis verified --csv
"""


@click.command(epilog=_EXAMPLES)
@click.option("--date", "on", type=click.DateTime(["%Y-%m-%d"]), help="Judge by what was known then [today].")
@click.option(
    "--basis",
    type=click.Choice([str(basis) for basis in Basis]),
    default=str(Basis.CLAIMED),
    show_default=True,
    help="What documentation claims, or what was found by looking, where somebody looked.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Only CSV on stdout: a row per VPN.")
@bad_input_exits_2
def main(on: datetime | None, basis: str, *, as_csv: bool) -> None:
    """Apply the essential criteria of the paper's section 3.1 to the VPNs of its Table 1."""
    day = on.date() if on else datetime.now(UTC).date()
    catalogue = load()
    verdicts, others = evaluate(catalogue, day, Basis(basis)), not_judged(catalogue)
    if as_csv:
        click.echo(table(verdicts).write_csv(), nl=False)
    else:
        _show(verdicts, day, basis)
        for name in others:
            click.echo(f"{name} is not judged: nobody has stated anything of it; see docs/criteria.md.")


def _show(verdicts: tuple[Verdict, ...], day: date, basis: str) -> None:
    # only who looks at the table pays for what draws it; the report needs the catalogue alone
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(markup=False)
    grid = Table(
        "VPN", "qualifies", "fails", "unknown", "optional", title=f"Table 1 on {day.isoformat()}, as {basis}"
    )
    for verdict in verdicts:
        met = [a.criterion.id for a in verdict.answers if not a.criterion.essential and a.value is Value.MET]
        grid.add_row(
            verdict.product.name,
            Text("yes", style="green") if verdict.qualifies else "no",
            _listed(answer.criterion.id for answer in verdict.failed),
            _listed(answer.criterion.id for answer in verdict.unknown),
            _listed(met),
        )
    console.print(grid)
    for verdict in verdicts:
        console.print(verdict.explain(), markup=False, highlight=False)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


if __name__ == "__main__":
    main()
