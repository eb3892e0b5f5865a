"""Print what the lab, the data path, the measuring and the report cost, as ratios taken within one run."""

import importlib
import importlib.util
import subprocess
import sys
import time
import traceback
from types import ModuleType

import click
from rich.console import Console

from vpnmesh.errors import UnavailableError, VpnmeshError
from workflows.progress import make_console

ORDER = ("lab", "datapath", "measuring", "impairment", "firewall", "report", "netbox")
"""All benchmarks, by the name of their module here; one that is not there is left out of the list."""


def known() -> dict[str, str]:
    """The benchmarks that are there, each with the first line of what it says of itself."""
    found = {}
    for name in ORDER:
        if importlib.util.find_spec(f"bench.{name}"):
            words = importlib.import_module(f"bench.{name}").__doc__ or ""
            found[name] = words.partition("\n")[0]
    return found


def _help() -> str:
    listed = "\n".join(f"  {name:11} {words}" for name, words in known().items())
    return f"{__doc__}\n\n\b\n{listed}\n\nNothing is judged: it exits with 1 only where a benchmark broke."


@click.command(help=_help())
@click.argument("names", nargs=-1, type=click.Choice(tuple(known())), metavar="[NAME]...")
def main(names: tuple[str, ...]) -> None:
    """Run the named benchmarks, or all."""
    console = make_console()
    broken = []
    for name in names or tuple(known()):
        console.rule(name)
        begun = time.monotonic()
        if not _run(console, name):
            broken.append(name)
        console.print(f"{name}: {time.monotonic() - begun:.0f} s", style="dim", highlight=False)
    if broken:
        console.print(f"broke: {', '.join(broken)}", style="red", highlight=False)
        sys.exit(1)


def _run(console: Console, name: str) -> bool:
    """Whether the benchmark came to its end, or cannot run here, which is said."""
    module = importlib.import_module(f"bench.{name}")
    try:
        _call(console, name, module)
    except UnavailableError as missing:
        console.print(f"{name}: skipped, not available here: {missing}", highlight=False)
    except (VpnmeshError, OSError, subprocess.SubprocessError):
        traceback.print_exc()
        return False
    return True


def _call(console: Console, name: str, module: ModuleType) -> None:
    """By its `run(console)`; a module without one is a program of its own."""
    run = getattr(module, "run", None)
    if run is not None:
        run(console)
    else:
        subprocess.run((sys.executable, "-m", f"bench.{name}"), check=True)


if __name__ == "__main__":
    main()
