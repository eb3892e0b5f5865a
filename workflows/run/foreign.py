"""Other people's VPNs and clusters on the nodes: they stop a run by name, before anything is changed.

With `--beside-foreign` a run goes on beside them: they are neither used, changed nor removed, and scenarios of the same
product are left out by name where interfaces, rules or ports of both would have the same names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import click

import tasks
from vpnmesh.cluster.foreign import ENGINES
from vpnmesh.errors import InputError
from vpnmesh.host.foreign import FoundForeign
from workflows.run.hosts import run_on
from workflows.run.site import Site
from workflows.run.terminal import say

_BESIDE = "vpnmesh.beside_foreign"


def _keep(context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's call
    context.meta[_BESIDE] = value


beside_option = click.option(
    "--beside-foreign",
    is_flag=True,
    expose_value=False,
    callback=_keep,
    help="go on beside VPNs and clusters on the nodes that are not of vpnmesh's making; they are left alone, and"
    " scenarios of the same product are left out",
)
"""The option of every command that sets VPNs up on nodes."""


class ForeignError(InputError):
    """Somebody else's VPN or cluster is on a node; nothing was changed."""


@dataclass(frozen=True, slots=True)
class ForeignThings:
    """What is not ours, by node: VPNs, and words of a Kubernetes."""

    vpns: Mapping[str, tuple[FoundForeign, ...]] = field(default_factory=dict)
    clusters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(self.vpns.values()) or any(self.clusters.values())

    def sentences(self) -> list[str]:
        """Each thing with its node, and how its owner ends it."""
        said = [
            f"{node}: {one.product}: {one.what}"
            + (f" (its owner's way to end it: {one.stop})" if one.stop else "")
            for node, found in self.vpns.items()
            for one in found
        ]
        return said + [
            f"{node}: Kubernetes: {word}" for node, words in self.clusters.items() for word in words
        ]

    def by_solution(self) -> dict[str, str]:
        """The solutions that cannot be beside what is there, with the reasons."""
        why = "two of one product would share interfaces and rules"
        return {
            one.solution: f"{one.product} is on {node} already, {one.what}: {why}"
            for node, found in self.vpns.items()
            for one in found
            if one.shares
        }


def find_foreign(site: Site, *, resumed: bool = False) -> ForeignThings:
    """Ask every node; of engines of containers alone nothing is said, for they run without a cluster, too.

    Where a run is gone on with, folders of a cluster may be what it left itself, and only processes count.
    """
    vpns = {name: one.result for name, one in run_on(site.nr, site.all_nodes, tasks.read_foreign).items()}
    said = run_on(site.nr, site.k8s, tasks.read_other_clusters)
    clusters = {
        name: tuple(word for word in one.result if _counts(word, resumed=resumed))
        for name, one in said.items()
    }
    return ForeignThings(
        {name: found for name, found in vpns.items() if found},
        {name: words for name, words in clusters.items() if words},
    )


def _counts(word: str, *, resumed: bool) -> bool:
    kind, _, name = word.partition(" ")
    return name not in ENGINES and (kind == "process" or not resumed)


def refuse_foreign(site: Site, *, resumed: bool = False) -> None:
    """ForeignError names what is not ours, unless it was asked to go on beside it.

    The site then knows of which solutions, so that their scenarios are unavailable, and no check takes the interfaces
    for what a scenario left.
    """
    there = find_foreign(site, resumed=resumed)
    if there and not _asked():
        raise ForeignError(
            "; ".join(there.sentences()),
            "not of vpnmesh's making, and nothing was changed",
            "let its owner end it, leave the node out, or go on beside it with --beside-foreign",
        )
    for sentence in there.sentences():
        say(f"goes on beside {sentence}", err=True)
    site.foreign = there.by_solution()


def _asked() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(_BESIDE))
