"""`vpnmesh`: every command under one name. A command's code is loaded when it is called, so help comes at once.

`python -m workflows` is the same, and `python -m workflows.full_matrix` the same as `vpnmesh matrix`.
"""

import copy
import re
from dataclasses import dataclass
from importlib import import_module

import click
from click.shell_completion import CompletionItem

_EXAMPLES = """
\b
examples:
  vpnmesh doctor                                 would a run work here? what is to be done?
  vpnmesh matrix                                 the quick profile on the lab, at most 10 minutes
  vpnmesh report runs/20260101-120000            tables, figures and verdicts of a run
  vpnmesh impair loss-5pct --for 60              break the network by hand, for a minute
  vpnmesh lab up                                 the emulated testbed alone

\b
exit codes of every command: 0 done, 1 failed or not as wanted, 2 bad input, 128 + N ended by signal N;
more are in the command's own help and in docs/commands.md
"""


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command: the module whose `main` it is, and what it is for, in one line."""

    module: str
    summary: str

    @property
    def called(self) -> str:
        """How the command is called without the group."""
        return f"python -m {self.module.removesuffix('.__main__')}"


COMMANDS = {
    "matrix": CommandEntry("workflows.full_matrix", "Run the whole study: scenarios x conditions x tests."),
    "report": CommandEntry(
        "workflows.report", "Make the report of a run, of published results, or of the paper."
    ),
    "doctor": CommandEntry("workflows.doctor", "Find out whether a run would work, and what to do."),
    "inventory": CommandEntry("workflows.inventory", "Show, check and compare inventories; YAML and NetBox."),
    "firewall": CommandEntry("workflows.firewall", "Show, set and prove a firewall policy."),
    "switch": CommandEntry("workflows.switch", "Show, plan, set and take back the VLANs of switch ports."),
    "impair": CommandEntry("workflows.impair", "Set loss and delay by hand, and prove them by packets."),
    "nat-grid": CommandEntry(
        "workflows.nat_grid", "Find out which path each VPN finds behind every pair of NATs."
    ),
    "growth": CommandEntry(
        "workflows.growth", "Find out what a mesh costs as it grows: join time, control plane."
    ),
    "cluster": CommandEntry(
        "workflows.cluster", "Bring a Kubernetes cluster over a VPN up, look at it, take it down."
    ),
    "teardown": CommandEntry("workflows.teardown", "Take away what a killed run left on the nodes."),
    "workers": CommandEntry(
        "workflows.workers", "Run tasks from other sites, by Dask workers that are there."
    ),
    "criteria": CommandEntry(
        "workflows.criteria", "Show which VPNs meet the essential criteria, or try them live."
    ),
    "repl": CommandEntry("workflows.repl", "Open a Python prompt with the testbed in it."),
    "lab": CommandEntry("vpnmesh.lab.__main__", "Bring the emulated testbed up and down, and look into it."),
}


class LazyGroup(click.Group):
    """A group that imports the module of a command only when that command is called or completed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which they are shown."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, whose examples show it as it was called; None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        command: click.Command = copy.copy(import_module(COMMANDS[cmd_name].module).main)
        command.help, command.epilog = as_grouped(command.help), as_grouped(command.epilog)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names and options that begin so, without loading any command."""
        names = [
            CompletionItem(name, help=entry.summary)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line each, without loading any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


def as_grouped(text: str | None) -> str | None:
    """A help text in which every command is called through the group."""
    for name, entry in COMMANDS.items() if text else ():
        text = re.sub(rf"{re.escape(entry.called)}(?![\w.])", f"vpnmesh {name}", text or "")
    return text


@click.command(cls=LazyGroup, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vpnmesh", prog_name="vpnmesh")
def main() -> None:
    """Which full-mesh VPN can carry an edge-cloud Kubernetes cluster: testbed, measurements, report."""


def run() -> None:
    """The console command."""
    main(prog_name="vpnmesh")


if __name__ == "__main__":
    run()
