"""How many pairs may be measured at the same time: what the inventory declares, then what a measurement says to it.

Pairs of one turn share no member, but they may share a machine's cores, the firewall's link, or the relay.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vpnmesh.model import Node, NodeKind, Path, Scenario, Testbed

CORES_PER_PAIR = 2
"""One for each end: a stream through a VPN in userspace keeps one busy there."""
MARGIN = 0.02
"""How far figures may lie apart and still be alike, whatever their noise: the margin of equivalence of the study."""
MOST_NOISE = 0.10
"""Figures of one pair alone that scatter more than this cannot tell whether others disturb it."""
ALONE = 3
"""How often one pair is measured by itself, and then among others."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """So many pairs at the same time, and why not more, as a sentence."""

    count: int
    why: str


def declared(testbed: Testbed, scenario: Scenario, cores_here: int) -> AtOnce:
    """What the inventory allows among its members; one pair where it does not say what they have.

    `cores_here` are those of the machine that runs this: nodes of a lab share them, unless they declare their own.
    """
    if scenario.path is Path.RELAY:
        return AtOnce(1, "all pairs share the relay")
    limits = [AtOnce(len(testbed.k8s) // 2, "a member is in one pair at a time")]
    limits += [_by_cores(testbed.k8s, cores_here), _by_links(testbed)]
    return min(limits, key=lambda one: one.count)


def _by_cores(members: Sequence[Node], cores_here: int) -> AtOnce:
    silent = [node for node in members if node.cores is None]
    if all(node.kind is NodeKind.NETNS for node in silent):
        if not silent:
            return AtOnce(len(members), "every member has cores of its own")
        count = max(1, cores_here // CORES_PER_PAIR)
        return AtOnce(count, f"all nodes share this machine's {cores_here} cores, and a pair keeps two busy")
    name = next(node.name for node in silent if node.kind is not NodeKind.NETNS)
    return AtOnce(1, f"the inventory does not say how many cores {name} has (cores)")


def _by_links(testbed: Testbed) -> AtOnce:
    firewall, members = testbed.firewall, testbed.k8s
    speeds = [node.link_mbit_s for node in members]
    if firewall.link_mbit_s is None or None in speeds:
        if all(node.kind is NodeKind.NETNS for node in (firewall, *members)):
            return AtOnce(len(members), "the lab's firewall has a port for each member")
        lacking = next(node.name for node in (firewall, *members) if node.link_mbit_s is None)
        return AtOnce(1, f"the inventory does not say what the link of {lacking} carries (link_mbit_s)")
    fastest = max(speed for speed in speeds if speed is not None)
    count = max(1, int(firewall.link_mbit_s // fastest))
    return AtOnce(
        count, f"the firewall's {firewall.link_mbit_s:g} Mbit/s carry members of {fastest:g} Mbit/s"
    )


def disturbance(alone: Sequence[float], among: Sequence[float]) -> str:
    """Why a pair's figures among others are not those it has alone, as a sentence; "" where they are.

    The medians may lie apart by the spread of the pair's figures alone, or by `MARGIN` where these are closer.
    """
    if len(alone) < ALONE or len(among) < ALONE:
        return f"{len(alone)} figures alone and {len(among)} among others, {ALONE} of each are needed"
    middle, other = (sorted(figures)[len(figures) // 2] for figures in (alone, among))
    if middle <= 0:
        return f"alone it is {middle:g}"
    noise, apart = (max(alone) - min(alone)) / middle, other / middle - 1
    if noise > MOST_NOISE:
        return f"figures of one pair alone lie {noise:.0%} apart: too noisy to tell"
    if abs(apart) > max(noise, MARGIN):
        return f"among others it is {apart:+.1%}, with a noise of {noise:.1%} alone"
    return ""


def fewer(count: int) -> int:
    """The next smaller number to try: half as many pairs."""
    return max(1, count // 2)
