"""The nodes' kernel settings during a run: in the manifest before they change, set again by whoever ends it."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import tasks
from vpnmesh.errors import VpnmeshError
from vpnmesh.host.sysctls import OURS, PAPER_SYSCTLS
from vpnmesh.study.journal import TeardownProblem
from workflows.run import sessions
from workflows.run.hosts import run_on
from workflows.run.interrupts import to_its_end
from workflows.run.provision import taken_by_another
from workflows.run.site import Site
from workflows.run.store import Store
from workflows.run.undoing import promise_settings

Settings = dict[str, dict[str, str]]
"""Values by node and key."""


@contextlib.contextmanager
def sysctls_set(site: Site, store: Store) -> Iterator[None]:
    """Set the paper's kernel settings where the kernel has them, and set the nodes' own again at the end.

    What a killed session could not set again is set at the end of this one.
    """
    own = _own(settings_now(site), store.manifest().former_sysctls)
    try:
        sessions.note(store, sysctls_before=own, sysctls_restored=False)
        promise_settings(site, own)
        run_on(site.nr, site.k8s, tasks.set_sysctls, values=PAPER_SYSCTLS)
        yield
    finally:
        to_its_end(lambda: _put_back(site, store, own))


def settings_now(site: Site, keys: Iterable[str] = OURS) -> Settings:
    """These settings as the members have them."""
    found = run_on(site.nr, site.k8s, tasks.read_sysctls, keys=tuple(keys))
    return {name: one.result for name, one in found.items()}


def put_settings_back(site: Site, former: Settings) -> None:
    """Set these again where they are as we leave them; what could not be set becomes a complaint of the site."""
    try:
        run_on(site.nr, list(former), tasks.put_sysctls_back, former=former)
    except VpnmeshError as error:
        site.complaints.append(f"kernel settings: {error}")


def _put_back(site: Site, store: Store, own: Settings) -> None:
    if taken_by_another(site):
        # the nodes have set them back by themselves, and what they hold now is another run's
        return
    try:
        run_on(site.nr, list(own), tasks.put_sysctls_back, former=own)
    except VpnmeshError as error:
        store.note(TeardownProblem(problem=f"kernel settings: {error}"))
    else:
        sessions.note(store, sysctls_restored=True)


def _own(found: Settings, former: Mapping[str, Mapping[str, str]]) -> Settings:
    """What these nodes had by themselves: where one holds what we set, what it had before that is known from then."""
    return {
        node: {
            key: former.get(node, {}).get(key, value) if value == OURS[key] else value
            for key, value in values.items()
        }
        for node, values in found.items()
    }
