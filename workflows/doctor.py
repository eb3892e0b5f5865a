"""What stands in the way, said before it does: `python -m workflows.doctor --firewall`.

Connects to the firewall of the inventory as the driver would, reads only, and compares what its API shows (schema,
version, privileges as far as reading shows them) with what the driver needs. Exit code 0 when all is there, 1 when
something is missing that the driver cannot do without.
"""

import sys

import click
from nornir.core.inventory import Host

from inventory.testbed import load
from tasks.firewall_drivers import access, driver_name
from tasks.pfsense_api import Api, ApiError
from vpnmesh.errors import CheckError
from vpnmesh.firewall import pfsense_rest as rest
from vpnmesh.firewall.pfsense_needs import SCHEMA, lacks, package_lack, privileges
from workflows.options import bad_input_exits_2

HEALTHY, ILL = 0, 1


@click.command(help=__doc__)
@click.option("--firewall", "firewall", is_flag=True, help="look at the firewall's API")
@click.option("--inventory", default="lab", show_default=True, help="a folder, or a built-in one")
@bad_input_exits_2
def main(inventory: str, *, firewall: bool) -> None:
    """Parse and look."""
    nr, testbed = load(inventory)
    if not firewall:
        raise click.UsageError("say what to look at: --firewall")
    sys.exit(look_at_firewall(nr.inventory.hosts[testbed.firewall.name]))


def look_at_firewall(host: Host) -> int:
    """Say line by line what the firewall's driver will find."""
    name = driver_name(host)
    click.echo(f"{host.name}: driver {name}")
    if name != "pfsense-rest":
        click.echo("nothing to compare: this driver uses no API")
        return HEALTHY
    api = Api(access(host))
    try:
        for request in rest.OBSERVE:
            api.send(request)
            click.echo(f"ok: {request.why}")
        return _compare(api)
    except CheckError as error:
        click.echo(str(error), err=True)
        click.echo(f"least privileges: {', '.join(privileges())}", err=True)
        return ILL


def _compare(api: Api) -> int:
    package = _version(api, rest.PACKAGE, "current_version")
    click.echo(f"pfSense: {_version(api, rest.VERSION, 'version')}")
    click.echo(f"REST API package: {package}")
    try:
        document = api.send(rest.Request("GET", SCHEMA, why="read the API's schema")).data
    except ApiError as error:
        click.echo(f"the schema cannot be compared: {error}", err=True)
        return ILL
    found = lacks(document if isinstance(document, dict) else {})
    for lack in found:
        click.echo(f"{'MISSING' if lack.fatal else 'without'}: {lack.text}")
    if old := package_lack(package):
        click.echo(f"{'WRONG' if old.fatal else 'note'}: {old.text}")
        found = (*found, old)
    click.echo(f"least privileges: {', '.join(privileges())}")
    return ILL if any(lack.fatal for lack in found) else HEALTHY


def _version(api: Api, path: str, key: str) -> str:
    try:
        data = api.send(rest.Request("GET", path, why="read the version")).data
    except ApiError as error:
        return f"unknown ({error})"
    return str(data.get(key)) if isinstance(data, dict) else "unknown"


if __name__ == "__main__":
    main()
