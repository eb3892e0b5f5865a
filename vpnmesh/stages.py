"""Deploying in stages: what each node lacks, then what it publishes for later stages (keys, tokens, addresses).

A VPN's mesh and a Kubernetes cluster are both deployed so; `tasks.join_stage` runs one stage on one node.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Generic, Protocol, Self, TypeVar

from vpnmesh.errors import CheckError
from vpnmesh.model import Node, Testbed
from vpnmesh.plan import Fact, Plan, Text

_AND = ", "
"""Between the names of stages that are run as one."""


class Deployment(Protocol):
    """What is deployed on a testbed, and what its nodes have published so far."""

    @property
    def testbed(self) -> Testbed:
        """The machines."""

    def with_published(self, found: Mapping[tuple[str, str], Text], /) -> Self:
        """The same deployment with these values, by node and key, published as well."""


def published_by(
    published: Mapping[tuple[str, str], Text], node: str, key: str, *, stage: str, dry_run: bool
) -> Text:
    """What that node published; CheckError of that stage names both when it did not. A dry run has a word for it."""
    try:
        return published[node, key]
    except KeyError:
        if dry_run:
            return f"<{node}'s {key}, made when applied>"
        raise CheckError(stage, f"{node} has not published its {key}") from None


D = TypeVar("D", bound=Deployment)


class HasStages(Protocol):
    """A solution or an installer: what can tell its stages."""

    def stages(self, deployment: Any, /) -> Sequence["Stage[Any]"]:
        """The stages of that deployment."""


def _publish_nothing(_deployment: Any, _node: Node) -> Fact[dict[str, Text]]:
    return Fact((), lambda _: {})


# without slots: an instance made by an alias, `Stage[Mesh](...)`, could not be frozen then (python/cpython#90562)
@dataclass(frozen=True)
class Stage(Generic[D]):
    """One step of joining, run on its nodes in parallel: what each of them lacks, then what it publishes.

    One that is `beside` needs nothing of the stage before it: both run at once where they have no node in common.
    From the first that is `joining` on it is the members who join, and their time is the join's; without one that is
    the last stage.

    `origin` is what it can be had from again by its name: another process cannot be given the functions in it.
    """

    name: str
    nodes: tuple[str, ...]
    plan: Callable[[D, Node], Fact[Plan]]
    publish: Callable[[D, Node], Fact[dict[str, Text]]] = _publish_nothing
    beside: bool = False
    joining: bool = False
    origin: tuple[HasStages, Deployment] | None = field(default=None, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its name and where it is from; one that does not say that is refused."""
        if self.origin is None:
            raise TypeError(f"stage {self.name} does not say whose it is")
        return stage_named, (*self.origin, self.name)


def stages_of(owner: HasStages, deployment: D) -> tuple[Stage[D], ...]:
    """The stages of a deployment, each with its origin."""
    return tuple(replace(stage, origin=(owner, deployment)) for stage in owner.stages(deployment))


def stage_named(owner: HasStages, deployment: Deployment, name: str) -> Stage[Any]:
    """The stage of that name, alone or joined with those that may run beside it."""
    known = {stage.name: stage for stage in stages_of(owner, deployment)}
    parts = name.split(_AND)
    if lacking := [part for part in parts if part not in known]:
        raise CheckError("provision", f"no stage {lacking[0]!r}; known are: {', '.join(known)}")
    return reduce(_joined, (known[part] for part in parts))


def side_by_side(stages: Sequence[Stage[D]]) -> tuple[Stage[D], ...]:
    """The stages with those joined into one that may run at once."""
    found: list[Stage[D]] = []
    for stage in stages:
        if found and stage.beside and not set(stage.nodes) & set(found[-1].nodes):
            found[-1] = _joined(found[-1], stage)
        else:
            found.append(stage)
    return tuple(found)


def _joined(first: Stage[D], second: Stage[D]) -> Stage[D]:
    """One stage that is the first on its nodes, and the second on the others."""

    def of(node: Node) -> Stage[D]:
        return first if node.name in first.nodes else second

    return Stage(
        f"{first.name}{_AND}{second.name}",
        first.nodes + second.nodes,
        lambda deployment, node: of(node).plan(deployment, node),
        lambda deployment, node: of(node).publish(deployment, node),
        origin=first.origin,
    )
