"""The scenarios of the study as data: the paper's eight, then what goes beyond it (paper, section 3.3).

Their order here is the order of tables, pairs and figures everywhere.
"""

from vpnmesh.errors import UnknownNameError
from vpnmesh.model import Path, Scenario

TUNNEL_MTU = 1280
"""What every VPN of the paper uses on its interface, in bytes."""
VPN_POD_MTU = 1230
"""What is left for pods after the 50 bytes of VXLAN."""

DIRECT = Path.DIRECT
RELAY = Path.RELAY


def _native(pod_mtu: int) -> Scenario:
    return Scenario(f"native-{pod_mtu}", "native", DIRECT, pod_mtu, None, "allow-all", "underlay")


def _vpn(solution: str, path: Path, policy: str, data_path: str, name: str = "", **options: str) -> Scenario:
    return Scenario(
        name or f"{solution}-{path}", solution, path, VPN_POD_MTU, TUNNEL_MTU, policy, data_path, options
    )


SCENARIOS = (
    _native(1450),
    _native(1230),
    _vpn("headscale", DIRECT, "allow-all", "userspace WireGuard"),
    _vpn("headscale", RELAY, "block-udp", "DERP over TCP 443 on the relay node"),
    _vpn("netbird", DIRECT, "allow-all", "WireGuard, kernel where there is one"),
    _vpn("netbird", RELAY, "block-udp-k8s", "TURN over UDP (coturn) on the relay node", relay="turn"),
    _vpn("zerotier", DIRECT, "allow-all", "ZeroTier"),
    _vpn("zerotier", RELAY, "block-udp", "TCP proxy on the relay node"),
    _vpn("netbird", RELAY, "block-udp", "NetBird's own relay over TCP", "netbird-relay-tcp", relay="own"),
    _vpn("wireguard", DIRECT, "allow-all", "WireGuard, static full mesh"),
    _vpn("nebula", DIRECT, "allow-all", "Nebula"),
    _vpn("nebula", RELAY, "block-udp-k8s", "Nebula relay over UDP on the relay node"),
    _vpn("netmaker", DIRECT, "allow-all", "WireGuard, kernel where there is one"),
    _vpn("netmaker", RELAY, "block-udp-k8s", "Netmaker's gateway on the relay node"),
)

SCENARIO_ORDER = tuple(scenario.name for scenario in SCENARIOS)
PAPER_SCENARIOS = SCENARIO_ORDER[:8]


_BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def declared(name: str) -> Scenario | None:
    """The scenario of that name, None where it is none of ours (results of others may be named as they like)."""
    return _BY_NAME.get(name)


def solution_of(name: str) -> str:
    """Whose scenario it is; of one that nobody declared, what stands before `-direct` or `-relay` in its name."""
    if scenario := declared(name):
        return scenario.solution
    return next((name.removesuffix(f"-{path}") for path in Path if name.endswith(f"-{path}")), name)


def path_of(name: str) -> Path | None:
    """The scenario's path; of one that nobody declared, what its name ends in, None where that is no path."""
    if scenario := declared(name):
        return scenario.path
    return next((path for path in Path if name.endswith(f"-{path}")), None)


def scenario_named(name: str) -> Scenario:
    """The scenario of that name; UnknownNameError lists the known ones."""
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    raise UnknownNameError("--scenarios", "scenario", name, list(SCENARIO_ORDER))
