"""Whether a run leaves every node as it found it: read before and after, compared, and said."""

import contextlib
from collections.abc import Iterator

from vpnmesh.errors import VpnmeshError
from vpnmesh.study.manifest import NodeFootprints
from workflows.run import provenance, sessions
from workflows.run.interrupts import to_its_end
from workflows.run.progress import RunProgress
from workflows.run.site import Site
from workflows.run.store import Store


@contextlib.contextmanager
def leaves_nodes_as_found(site: Site, store: Store, progress: RunProgress) -> Iterator[None]:
    """Compare every node after the run with before, and say what differs; both are kept in the manifest.

    Before is before the first of the sessions after which nobody cleaned up: a later one found what that one left.
    """
    earlier = (one.footprint_before for one in store.manifest().not_left_clean)
    before = next(filter(None, earlier), None) or provenance.footprint(site)
    sessions.note(store, footprint_before=before)
    try:
        yield
    finally:
        to_its_end(lambda: _compare(site, store, progress, before))


def _compare(site: Site, store: Store, progress: RunProgress, before: NodeFootprints) -> None:
    try:
        after = provenance.footprint(site)
    except VpnmeshError as error:
        progress.say(f"what is left on the nodes could not be read: {error}")
        return
    differences = provenance.compare_footprints(before, after)
    sessions.note(store, footprint_after=after, footprint_differences=differences)
    store.update_manifest(footprint_after=after, footprint_differences=differences)
    for difference in differences:
        progress.say(f"not as it was found: {difference}")
