"""What the live tests of single solutions share."""

import pytest

import tasks
from vpnmesh.errors import UnavailableError
from vpnmesh.plan import Secret
from vpnmesh.scenarios import scenario_named
from vpnmesh.solutions.protocol import Mesh
from workflows.hosts import run_on
from workflows.provision import Site, require


def need(site: Site, scenario: str) -> None:
    """Skip with the reason where the scenario's programs, which no registry serves, are not on PATH."""
    try:
        require(site, scenario_named(scenario))
    except UnavailableError as error:
        pytest.skip(str(error))


def said(site: Site, node: str, script: str, *arguments: str) -> str:
    """What a shell script prints on a node."""
    argv = ("sh", "-c", script, "sh", *arguments)
    return str(run_on(site.nr, [node], tasks.run_command, argv=argv)[node].result)


def secrets_of(mesh: Mesh) -> list[str]:
    """Every secret that nodes told each other in this mesh."""
    return [value.reveal() for value in mesh.published.values() if isinstance(value, Secret)]


def files_with(site: Site, secrets: list[str]) -> dict[str, str]:
    """Where on the nodes the secrets lie, with the files' modes; nodes without any are left out."""
    script = (
        'for s in "$@"; do grep -rlF -e "$s" /var/lib/vpnmesh /run/vpnmesh /etc /root /tmp 2> /dev/null; done'
        " | sort -u | while read -r f; do stat -c '%a %n' \"$f\"; done; true"
    )
    found = {node: said(site, node, script, *secrets) for node in site.all_nodes}
    return {node: text for node, text in found.items() if text}
