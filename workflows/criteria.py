"""Which VPNs meet the essential criteria of the paper's section 3.1 on a date, and why others do not; or try them live.

With --verify each criterion is tried on a testbed, the lab unless --inventory says otherwise, each with a control that
shows that the check could have failed. What was seen is kept as files, and `--verified` counts it from then on.

Exit codes: 0 done, whatever was found; 2 bad input, and nothing was touched; 130 and 143 ended by a signal.

\b
examples:
  python -m workflows.criteria                                       by what is known today
  python -m workflows.criteria --date 2023-06-17                     as the paper's authors saw it
  python -m workflows.criteria --date 2023-06-17 --basis verified --csv
  python -m workflows.criteria --verify headscale --plan             what would be tried, and how it could fail
  python -m workflows.criteria --verify headscale                    on the lab; evidence in criteria/headscale
  python -m workflows.criteria --verify netbird --only full-mesh,acl --inventory my-testbed
  python -m workflows.criteria --basis verified --verified criteria          with what was found there
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import click

from vpnmesh.criteria.catalogue import Basis, CriteriaCatalogue, Value
from vpnmesh.criteria.checks import checks_named
from vpnmesh.criteria.data import load, not_judged
from vpnmesh.criteria.evaluate import Verdict, evaluate, table
from vpnmesh.criteria.verified import with_verified
from vpnmesh.errors import InputError
from workflows.run.agreement import yes_option
from workflows.run.foreign import beside_option
from workflows.run.options import bad_input_exits_2, split

_FOLDER = click.Path(path_type=Path)
_WITH_VERIFY = ("only", "inventory", "out", "hold", "plan")


@click.command(help=__doc__)
@click.option("--date", "on", type=click.DateTime(["%Y-%m-%d"]), help="Judge by what was known then [today].")
@click.option(
    "--basis",
    type=click.Choice([str(basis) for basis in Basis]),
    default=str(Basis.CLAIMED),
    show_default=True,
    help="What documentation claims, or what was found by looking, where somebody looked.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Only CSV on stdout: a row per VPN.")
@click.option("--verified", type=_FOLDER, help="Count what --verify found in this folder as known, too.")
@click.option("--verify", metavar="SOLUTION", help="Try each criterion of this VPN live on a testbed.")
@click.option("--only", metavar="CHECK,...", help="With --verify: only these checks; --plan lists all.")
@click.option(
    "--inventory",
    default="lab",
    show_default=True,
    help="With --verify: a built-in one, a folder, netbox, or netbox:FILTERS.",
)
@click.option(
    "--out", type=_FOLDER, default="criteria", show_default=True, help="With --verify: where evidence goes."
)
@click.option(
    "--hold",
    type=click.FloatRange(5, 3600),
    default=20,
    show_default=True,
    help="With --verify: for how many seconds an outage is held, and what leaves is counted.",
)
@beside_option
@yes_option
@click.option("--plan", is_flag=True, help="With --verify: show what would be tried; nothing is touched.")
@click.pass_context
@bad_input_exits_2
def main(  # noqa: PLR0913 - click hands over each option by itself
    context: click.Context,
    on: datetime | None,
    basis: str,
    verified: Path | None,
    verify: str | None,
    *,
    only: str | None,
    inventory: str,
    out: Path,
    hold: float,
    as_csv: bool,
    plan: bool,
) -> None:
    """Parse, and show or check; see the module's docstring."""
    day = on.date() if on else datetime.now(UTC).date()
    catalogue = _known(verified)
    if verify is not None:
        sys.exit(_verify(catalogue, verify, only, inventory, out, hold, plan=plan))
    _refuse_without_verify(context)
    verdicts, others = evaluate(catalogue, day, Basis(basis)), not_judged(catalogue)
    if as_csv:
        click.echo(table(verdicts).write_csv(), nl=False)
    else:
        _show(verdicts, day, basis)
        for name in others:
            click.echo(f"{name} is not judged: nobody has stated anything of it; see docs/criteria.md.")


def _known(verified: Path | None) -> CriteriaCatalogue:
    """What is stated of each VPN, and what live checks found in that folder."""
    if verified is None:
        return load()
    from workflows.reporting.verifications import verifications_in  # noqa: PLC0415 - a page's code is behind it

    return with_verified(load(), verifications_in(verified))


def _refuse_without_verify(context: click.Context) -> None:
    given = click.core.ParameterSource.COMMANDLINE
    for name in _WITH_VERIFY:
        if context.get_parameter_source(name) is given:
            raise InputError(f"--{name}", "is of a live check", "give --verify SOLUTION, too")


def _verify(
    known: CriteriaCatalogue,
    solution: str,
    only: str | None,
    inventory: str,
    out: Path,
    hold_s: float,
    *,
    plan: bool,
) -> int:
    # what logs in to nodes is loaded by who wants to check something there
    from workflows.run import verify_command  # noqa: PLC0415

    name, checks = verify_command.known_solution(solution), checks_named(split(only or ""))
    if plan:
        verify_command.show_plan(name, checks)
        return 0
    return verify_command.verify_on(inventory, name, checks, out, hold_s, known)


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
