"""A prompt with a testbed in it.

IPython where it is installed, else Python's own prompt. Nothing is read from or written to a node until you run a
task. Everything at the prompt is what a script would import; docs/repl.md is a tour.

\b
examples:
  python -m workflows.repl                              the lab
  python -m workflows.repl --inventory my-testbed
  python -m workflows.repl --inventory netbox:site=lab
  python -m workflows.repl --inventory my-fleet --hosts-only      any hosts, without the roles of a testbed
  python -m workflows.repl --scenario-file my-scenarios.yaml      then scenarios.named("mine")
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import code
import importlib
import importlib.util
from collections.abc import Mapping, Sequence

import click
from nornir.core import Nornir
from nornir.core.filter import F
from nornir_utils.plugins.functions import print_result

import tasks
from inventory.load import load, load_hosts
from vpnmesh.impairment.engine import impairment_for
from vpnmesh.measurements import measurement_named
from vpnmesh.measurements.protocol import Question
from vpnmesh.model import Condition, Placement
from vpnmesh.solutions import solution_named
from vpnmesh.solutions.protocol import Mesh
from workflows.run.hosts import run_on, within
from workflows.run.impair import choose_engine
from workflows.run.options import KnownScenarios, bad_input_exits_2, scenario_file
from workflows.run.provision import provisioned
from workflows.run.site import Site

BANNER = """\
{count} hosts of {inventory} in `nr`; the typed testbed in `testbed`, both in `site`.
`tasks`, `F` and `print_result` as in Nornir, for example:
  workers = nr.filter(F(groups__contains="role__k8s-worker"))
  print_result(workers.run(task=tasks.ping_address, address=str(testbed.relay.underlay)))
For tasks that want them: Mesh, scenarios.named, solution_named, Condition, Placement, impairment_for, choose_engine,
measurement_named, Question, provisioned.
"""


BANNER_HOSTS = """\
{count} hosts of {inventory} in `nr`; no testbed.
`tasks`, `F` and `print_result` as in Nornir, `run_on` where all must answer, `within` for deadlines, for example:
  run_on(within(nr, 60), nr.inventory.hosts, tasks.run_command, argv=("uname", "-r"))
"""


def namespace_of_hosts(inventory: str) -> dict[str, object]:
    """What the prompt knows of hosts that are no testbed; InputError where the inventory cannot be read."""
    return {"nr": load_hosts(inventory), **_FOR_ANY_HOSTS}


_FOR_ANY_HOSTS: dict[str, object] = {
    "tasks": tasks,
    "F": F,
    "print_result": print_result,
    "run_on": run_on,
    "within": within,
}


def namespace(inventory: str, scenario_files: Sequence[str] = ()) -> dict[str, object]:
    """What the prompt knows; InputError where the inventory, or a file of scenarios, is wrong."""
    known = KnownScenarios.of_files(scenario_files)
    nr, testbed = load(inventory)
    return {
        "nr": nr,
        "testbed": testbed,
        "site": Site(nr, testbed),
        **_FOR_ANY_HOSTS,
        "Mesh": Mesh,
        "scenarios": known.catalogue,
        "solution_named": solution_named,
        "Condition": Condition,
        "Placement": Placement,
        "impairment_for": impairment_for,
        "choose_engine": choose_engine,
        "measurement_named": measurement_named,
        "Question": Question,
        "provisioned": provisioned,
    }


def prompt(names: Mapping[str, object], banner: str) -> None:
    """Hand the terminal over, until it is left."""
    if importlib.util.find_spec("IPython"):
        shell = importlib.import_module("IPython.terminal.embed")
        shell.InteractiveShellEmbed(banner1=banner)(local_ns=dict(names))
        return
    known = dict(names)
    if importlib.util.find_spec("readline"):
        completer = importlib.import_module("rlcompleter").Completer(known)
        readline = importlib.import_module("readline")
        readline.set_completer(completer.complete)
        readline.parse_and_bind("tab: complete")
    code.interact(banner=banner, local=known, exitmsg="")


@click.command(help=__doc__)
@click.option(
    "--inventory",
    default="lab",
    show_default=True,
    help="a built-in one, a folder, netbox, or netbox:FILTERS",
)
@click.option(
    "--hosts-only", is_flag=True, help="Any hosts: the inventory needs no roles, and there is no testbed."
)
@scenario_file
@bad_input_exits_2
def main(inventory: str, scenario_files: tuple[str, ...], *, hosts_only: bool) -> None:
    """See the module's docstring."""
    names = namespace_of_hosts(inventory) if hosts_only else namespace(inventory, scenario_files)
    nr = names["nr"]
    assert isinstance(nr, Nornir)
    banner = BANNER_HOSTS if hosts_only else BANNER
    try:
        prompt(names, banner.format(count=len(nr.inventory.hosts), inventory=inventory))
    finally:
        nr.close_connections()


if __name__ == "__main__":
    main()
