"""What a session does first that goes on after one that was killed: take away what that one left on the nodes."""

from collections.abc import Callable

from vpnmesh.impairment.engine import Engine
from workflows.run.site import Site
from workflows.run.store import Store
from workflows.run.teardown import Left, sweep


def clean_up(site: Site, store: Store, engine: Engine, say: Callable[[str], object]) -> None:
    """Clean all nodes where an earlier session of the run did not, and say what was there; else ask nothing.

    A VPN that was left would be beside the next one, whose checks would refuse every repetition. The nodes' own kernel
    settings are put back at the end of this session, from what the manifest says of the earlier one.
    """
    if not store.manifest().not_left_clean:
        return
    for removal in sweep(site, Left(site.firewall, engine), dry_run=False):
        if told := removal.told(dry_run=False):
            say(f"left by an earlier session: {told.partition(chr(10))[0]}")
