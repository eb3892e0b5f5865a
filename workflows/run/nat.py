"""Nodes put behind kinds of NAT on the firewall, and the proof by packets that they are."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import tasks
from tasks.firewall.registry import driver_of
from tasks.nat import NO_FAMILIES
from vpnmesh.errors import CheckError, InputError, UnavailableError
from vpnmesh.firewall.nat_kinds import NatKind, shown_addresses
from vpnmesh.firewall.nat_proof import NatSeen, can_punch, disproofs
from vpnmesh.firewall.nftables import is_linux_router
from vpnmesh.host import dual_stack, roaming
from vpnmesh.host.dual_stack import IPV4_ALONE, Address, Families, addresses
from vpnmesh.model import Testbed
from vpnmesh.plan import Plan
from workflows.run.hosts import run_on
from workflows.run.lab import emulated
from workflows.run.provision import carried_out
from workflows.run.site import Site

WAIT_S, PATIENT_S = 1.2, 8.0
"""How long probes wait for what does not come, and how long where that contradicts the kind: a machine may be slow."""


@dataclass(frozen=True, slots=True)
class NatProof:
    """What the probes of both ends showed, and what of it is not the kinds that were set."""

    seen: Mapping[str, NatSeen]
    disproofs: tuple[str, ...]

    @property
    def punched(self) -> bool | None:
        """Whether a bare hole could be punched between the ends; None where UDP does not pass at one of them."""
        tried = [one.punched for one in self.seen.values() if one.punched is not None]
        return any(tried) if tried else None


def refuse_without_router(site: Site) -> None:
    """UnavailableError where the firewall is no Linux router: kinds of NAT are namespaces and nftables on it."""
    firewall = site.nr.inventory.hosts[site.testbed.firewall.name]
    if not is_linux_router(firewall.get("firewall_driver")):
        raise UnavailableError(
            f"{firewall.name}: {driver_of(firewall).name} cannot make kinds of NAT, nftables can"
        )


def refuse_cut_off(testbed: Testbed, names: Iterable[str]) -> None:
    """InputError names a node of these that is logged in to on the way that a router would close."""
    for name in names:
        if why := roaming.cannot_roam(testbed.node(name)):
            raise InputError(
                "--inventory", f"{why}, and is put behind NAT", "give it another management_interface"
            )


def refuse_taken(site: Site, names: Iterable[str]) -> None:
    """CheckError where somebody answers at an address that a router of these nodes would show.

    To be asked while there is no router. In a lab nobody but its nodes is there; and where no address is free, the
    cells themselves say so.
    """
    if emulated(site.testbed):
        return
    firewall = site.testbed.firewall.name
    with contextlib.suppress(UnavailableError):
        for name, shown in shown_addresses(site.testbed, dict.fromkeys(names, NatKind.FULL_CONE)).items():
            done = run_on(site.nr, [firewall], tasks.ping_address, address=str(shown), count=2)
            if done[firewall].result.received:
                raise CheckError("nat", f"somebody has {shown} already, which {name}'s router would show")


def set_kinds(site: Site, kinds: Mapping[str, NatKind]) -> dict[str, Address]:
    """Put these nodes behind fresh routers; returns by which address others see those that are hidden."""
    # what no router makes is refused before anything is touched
    shown = shown_addresses(site.testbed, kinds)
    run_on(site.nr, [site.testbed.firewall.name], tasks.set_nat_kinds, testbed=site.testbed, kinds=kinds)
    return shown


def set_families(site: Site, families: Mapping[str, Families]) -> None:
    """Have these nodes' addresses in the underlay be of these families, until `ipv4_again` ends."""
    run_on(site.nr, list(families), tasks.set_families, testbed=site.testbed, families=families)


def go_home(site: Site) -> dict[str, Plan]:
    """What each node undoes of that by itself when its run falls silent."""
    return {name: Plan((dual_stack.go_home(),)) for name in site.all_nodes}


@contextlib.contextmanager
def ipv4_again(site: Site) -> Iterator[None]:
    """Take IPv6 out of the underlay when what is inside has ended, however it ended."""
    try:
        yield
    finally:
        if interrupt := carried_out(site, lambda: run_on(site.nr, site.all_nodes, tasks.restore_families)):
            raise interrupt


@contextlib.contextmanager
def routers_removed(site: Site) -> Iterator[None]:
    """Take the routers away when what is inside has ended, however it ended."""
    try:
        yield
    finally:
        firewall = site.testbed.firewall.name
        if interrupt := carried_out(site, lambda: run_on(site.nr, [firewall], tasks.clear_nat_kinds)):
            raise interrupt


def prove_kinds(
    site: Site, kinds: Mapping[str, NatKind], families: Mapping[str, Families] = NO_FAMILIES
) -> NatProof:
    """Probe both ends; where packets contradict a kind, once more with more patience, for silence may be slowness.

    `families` are those of the ends' addresses where the underlay has both.
    """
    proof = _probe(site, kinds, families, WAIT_S)
    return proof if not proof.disproofs else _probe(site, kinds, families, PATIENT_S)


def require_proof(proof: NatProof) -> None:
    """CheckError says what of the kinds is not so."""
    if proof.disproofs:
        raise CheckError("nat", "; ".join(proof.disproofs))


def _probe(
    site: Site, kinds: Mapping[str, NatKind], families: Mapping[str, Families], wait_s: float
) -> NatProof:
    ends = tuple(kinds)
    bed = site.testbed
    results = run_on(
        site.nr,
        ends[:1],
        tasks.probe_nat,
        testbed=bed,
        ends=ends,
        others=site.nr.inventory.hosts,
        wait_s=wait_s,
        punch=_udp_passes(kinds),
        families=families,
    )
    seen: dict[str, NatSeen] = results[ends[0]].result
    own = {name: addresses(bed, bed.node(name), families.get(name, IPV4_ALONE))[0] for name in ends}
    shown = own | shown_addresses(bed, kinds)
    return NatProof(seen, disproofs(kinds, seen, shown))


def _udp_passes(kinds: Mapping[str, NatKind]) -> bool:
    return all(can_punch(kind, NatKind.NONE) for kind in kinds.values())
