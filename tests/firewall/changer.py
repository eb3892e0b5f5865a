"""A process that changes a firewall and may be killed at it: forks one child per line of JSON that it reads.

Prints the child's pid at once and its exit status at the end; importing the driver once saves a second per change.
"""

import json
import os
import sys
from pathlib import Path

from inventory.load import load
from tasks.firewall.journal import Journal
from tasks.firewall.pfsense_api import PfsenseAccess, PfsenseApi
from tasks.firewall.pfsense_rest import PfsenseRest
from tasks.firewall.policy import change, take_back
from vpnmesh.firewall.pfsense_objects import Mark
from vpnmesh.firewall.policy import policy_named, resolve
from vpnmesh.firewall.session import ChangeOrigin
from vpnmesh.plan import Secret

TESTBED = load("lab")[1]


def work(job: dict[str, str]) -> None:
    """Change, or take back where the job names no policy."""
    access = PfsenseAccess("pf", job["url"], Secret(job["key"]), job["ca_file"])
    driver = PfsenseRest(PfsenseApi(access), TESTBED, Mark(job["run"]), lambda _text: None)
    journal = Journal(Path(job["journal"]))
    origin = ChangeOrigin(job["run"], "firewall", "pfsense-rest", job["url"])
    if job["policy"]:
        wanted = resolve(policy_named(job["policy"]), TESTBED)
        change(driver, wanted, origin, journal, dry_run=False)
    else:
        take_back(driver, origin, journal)


def main() -> None:
    """Serve jobs until the input ends."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            work(json.loads(line))
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


main()
