"""What live tests of clusters share: a lab whose nodes can be Kubernetes', and what is left on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tasks
from inventory.load import load
from tests.live.conftest import place_for_a_lab
from tests.needs import missing
from vpnmesh.cluster.leaving import left
from vpnmesh.cluster.protocol import Installer
from vpnmesh.errors import InputError
from vpnmesh.lab.lifecycle import up
from vpnmesh.model import Testbed
from workflows.run.hosts import run_on
from workflows.run.requirements import lacking_for, lacking_words
from workflows.run.site import Site


@contextmanager
def site_of_a_cluster(testbed: Testbed, installer: Installer, directory: Path) -> Iterator[Site]:
    """A lab of its own for clusters of this installer; the test is skipped where its programs are missing."""
    with place_for_a_lab(directory):
        try:
            lab = up(testbed, kubernetes=True, owned=True)
        except InputError as error:
            missing("kubernetes", str(error))
        with lab:
            site = Site(*load("lab"), installer=installer)
            if lacking := list(lacking_for(site, installer)):
                missing("kubernetes", lacking_words(lacking))
            yield site
            site.nr.close_connections()
            gone = lab.close()
            assert gone == ()


def left_on(site: Site) -> dict[str, str]:
    """What is left of a cluster on each node beside files: shims, processes, mounts, control groups."""
    found = run_on(site.nr, site.k8s, tasks.run_command, argv=left().argv)
    return {name: one.result for name, one in found.items() if one.result.strip()}
