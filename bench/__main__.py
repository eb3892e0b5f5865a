"""Print what the lab, the data path, the measuring and the report cost, as ratios taken within one run."""

import importlib
import sys
import time
import traceback
from collections.abc import Callable

import click
from rich.console import Console

from bench.figures import Figure, Size, summary
from vpnmesh.errors import UnavailableError
from workflows.run.progress import make_console

NAMES = (
    "lab",
    "datapath",
    "cluster",
    "measuring",
    "impairment",
    "firewall",
    "report",
    "netbox",
    "peers",
    "hosts",
)
"""All benchmarks, by the name of their module here: each has `run(console, size)`."""

Run = Callable[[Console, Size], list[Figure]]


def _help() -> str:
    docs = {name: importlib.import_module(f"bench.{name}").__doc__ or "" for name in NAMES}
    listed = "\n".join(f"  {name:11} {text.partition(chr(10))[0]}" for name, text in docs.items())
    return f"{__doc__}\n\n\b\n{listed}\n\nNothing is judged: it exits with 1 only where a benchmark broke."


@click.command(help=_help(), context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[NAME]...")
@click.option(
    "--smoke", is_flag=True, help="The least of everything: proves that it runs, its figures say nothing."
)
def main(names: tuple[str, ...], *, smoke: bool) -> None:
    """Run the named benchmarks, or all; one that breaks does not keep the others from running."""
    console, size = make_console(), Size.SMOKE if smoke else Size.FULL
    figures: list[tuple[str, Figure]] = []
    broken = []
    for name in names or NAMES:
        console.rule(name)
        begun = time.monotonic()
        found = _run(console, name, size)
        if found is None:
            broken.append(name)
        figures += [(name, figure) for figure in found or ()]
        console.print(f"{name}: {time.monotonic() - begun:.0f} s", style="dim", highlight=False)
    console.rule()
    console.print(summary(figures))
    if broken:
        console.print(f"broke: {', '.join(broken)}", style="red", highlight=False)
        sys.exit(1)


def _run(console: Console, name: str, size: Size) -> list[Figure] | None:
    """What the benchmark found, nothing where it cannot run here, which is said; None where it broke."""
    run: Run = importlib.import_module(f"bench.{name}").run
    try:
        return run(console, size)
    except UnavailableError as missing:
        console.print(f"{name}: skipped, not available here: {missing}", highlight=False)
        return [Figure("skipped", f"not available here: {missing}")]
    except Exception:  # noqa: BLE001 - whatever broke one, the others still run, and the exit code says so
        traceback.print_exc()
        return None


if __name__ == "__main__":
    main()
