"""Which scenarios a VPN carries, over which relays, and which the paper measured: asked of a catalogue."""

from vpnmesh.firewall.policy import Policy, Protocol, policy_named
from vpnmesh.model import K8S_ROLES, Path, Scenario
from vpnmesh.study.scenarios import Catalogue


def has_tunnel(catalogue: Catalogue, name: str) -> bool:
    """Whether a VPN carries the scenario, as far as is known.

    A scenario that nobody declared (results of others) has no tunnel where its name begins with a solution that
    never has one: `native-9000` is a baseline, `other-direct` is taken for a VPN's.
    """
    if scenario := catalogue.get(name):
        return scenario.tunnel_mtu is not None
    return not any(f"{name}-".startswith(f"{solution}-") for solution in _without_tunnel(catalogue))


def _without_tunnel(catalogue: Catalogue) -> set[str]:
    """The solutions of which no scenario has a tunnel."""
    solutions = {one.solution for one in catalogue.scenarios}
    return solutions.difference(one.solution for one in catalogue.scenarios if one.tunnel_mtu is not None)


def is_tcp_relay(catalogue: Catalogue, name: str) -> bool:
    """Whether the scenario is relayed over TCP, since its firewall lets no UDP pass; False for an undeclared one."""
    scenario = catalogue.get(name)
    return (
        scenario is not None and scenario.path is Path.RELAY and _stops_all_udp(policy_named(scenario.policy))
    )


def _stops_all_udp(policy: Policy) -> bool:
    """Whether the Kubernetes nodes reach nobody over UDP, the relay included."""
    blocked = any(block.protocol is Protocol.UDP and block.between >= K8S_ROLES for block in policy.blocks)
    return policy.tcp_443_only >= K8S_ROLES or (blocked and not policy.allow_to)


def paper_tunnels(catalogue: Catalogue) -> tuple[Scenario, ...]:
    """The paper's scenarios that a VPN carries, in order."""
    return tuple(one for one in catalogue.scenarios if one.paper and one.tunnel_mtu is not None)


def paper_solutions(catalogue: Catalogue) -> tuple[str, ...]:
    """The VPNs that the paper measured, in order."""
    return tuple(dict.fromkeys(one.solution for one in paper_tunnels(catalogue)))


def paper_scenarios_by_solution(catalogue: Catalogue, path: Path) -> dict[str, str]:
    """The name of each of the paper's VPNs' scenario with that path, by solution."""
    return {one.solution: one.name for one in paper_tunnels(catalogue) if one.path is path}
