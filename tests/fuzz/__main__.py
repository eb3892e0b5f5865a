"""`python -m tests.fuzz`: thousands of wrong inputs to every reader; exit code 1 where one of them is a mistake."""

import sys

import click

from tests.fuzz.running import Tally, run, tally
from tests.fuzz.targets import TARGETS


@click.command()
@click.option("--cases", default=20_000, show_default=True, type=click.IntRange(1), help="How many in all.")
@click.option("--seed", default=0, show_default=True, help="Another seed is other inputs.")
@click.option("--only", multiple=True, help="This target only; more than once for several.")
@click.option("--number", type=int, help="One case by its number, of the one target named with --only.")
def main(cases: int, seed: int, only: tuple[str, ...], number: int | None) -> None:
    """Read thousands of inputs that are wrong, and tell of every one that ends as it should not."""
    targets = [one for one in TARGETS if not only or one.name in only]
    if unknown := [name for name in only if name not in {one.name for one in TARGETS}]:
        raise click.UsageError(
            f"unknown target '{unknown[0]}'; known are: {', '.join(t.name for t in TARGETS)}"
        )
    tallies = [tally(targets[0], [number])] if number is not None else run(targets, cases, seed)
    sys.exit(_shown(tallies))


def _shown(tallies: object) -> int:
    total, findings, seconds = 0, 0, 0.0
    click.echo(f"{'target':28} {'cases':>7} {'seconds':>8} findings")
    for one in tallies:  # type: ignore[attr-defined]
        assert isinstance(one, Tally)
        click.echo(f"{one.target:28} {one.cases:7} {one.seconds:8.1f} {len(one.findings)}")
        for finding in one.findings:
            click.echo(
                f"  {finding.target} --number {finding.number}: {finding.key}\n{finding.told.rstrip()}"
            )
            click.echo(f"  input: {ascii(finding.value)[:1500]}")
        total, findings, seconds = total + one.cases, findings + len(one.findings), seconds + one.seconds
    click.echo(f"{'all':28} {total:7} {seconds:8.1f} {findings}")
    return 1 if findings else 0


if __name__ == "__main__":
    main()
