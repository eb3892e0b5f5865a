"""The live checks, in the order in which they are made and shown: the paper's section 3.1, and what goes with it."""

from vpnmesh.criteria.observation import Check
from vpnmesh.errors import UnknownNameError

CHECKS = (
    Check(
        "full-mesh",
        "Full mesh",
        "every pair's path as both ends name it, and what passes the relay node while all pairs ping each other",
        "the same pings sent to the relay node itself are counted there",
    ),
    Check(
        "unattended-registration",
        "Unattended registration",
        "members join by commands without a terminal; one that left tries again with a key that was taken back",
        "the same member joins with the key that is valid",
    ),
    Check(
        "acl",
        "Access control",
        "two members are forbidden to reach each other while the mesh runs, and allowed again",
        "before and after, the same packets pass",
    ),
    Check(
        "granular-acl",
        "Granular access control",
        "one TCP port is left open from one member to another, while the mesh runs",
        "before, the other port, UDP and the other direction pass as well",
    ),
    Check(
        "isolated-meshes",
        "Several isolated meshes",
        "members are put into two meshes of one control plane, one of them into both where it can be; where there is"
        " one mesh alone, into two groups of it, one way and then the other",
        "all reach each other before and after, and members of one mesh do meanwhile",
    ),
    Check(
        "node-lifecycle",
        "Node lifecycle",
        "a member is removed, added and started anew while two others ping each other",
        "the removed member does not answer any more",
    ),
    Check(
        "control-plane-down",
        "Control plane down",
        "the control plane's programs are killed while members ping each other, and started again",
        "its programs are counted before they are killed, after it, and once members have pinged",
    ),
    Check(
        "self-hosted",
        "Self-hosted in full",
        "all its programs are started anew with a default route to the firewall, which counts what would leave; on"
        " every node it is heard which names are looked up",
        "a packet to an address outside of the testbed is counted, and a name that is looked up is heard",
    ),
    Check(
        "subnet-routers",
        "Subnet routers",
        "a member is made the gateway to a network behind it, and another member reaches a host there",
        "before, that host is not reached, and the gateway itself reaches it",
    ),
    Check(
        "relay-udp",
        "Relay over UDP",
        "the members' own ways are closed by the firewall; by what protocol bytes pass the relay node is counted",
        "pings to the relay node are told apart from both protocols by the same listener",
    ),
    Check(
        "relay-tcp",
        "Relay over TCP",
        "all UDP is closed by the firewall, and everything but TCP 443; what passes the relay node is counted",
        "packets prove that the firewall lets no UDP pass, and pings are told apart by the same listener",
    ),
    Check(
        "nat-traversal",
        "NAT traversal",
        "both workers sit behind routers that let in only what was asked for; their path is watched",
        "probes show that kind of NAT at both ends, and that a hole can be punched through them at all",
    ),
    Check(
        "architectures",
        "x86 and ARM",
        "the processors of the members of one mesh, and for which one their programs were built",
        "the same question tells another processor apart from a program's own header",
    ),
    Check(
        "end-to-end-encryption",
        "End-to-end encryption",
        "a marker is sent from pod to pod, directly and relayed, and listened for at both ends and at the relay",
        "without a VPN the same listeners read it on the underlay; with one they read it inside of the overlay",
    ),
)
"""Those of one deployment are beside each other, so that it stands once for several; the last looks back at all."""

NOT_LIVE = {
    "open-source": "a licence is read, not tried: nothing on a testbed can show it",
    "recent-release": "a date is read, not tried: nothing on a testbed can show it",
}
"""Criteria of Table 1 that no live check can prove, and why."""


def checks_named(names: list[str]) -> tuple[Check, ...]:
    """The checks of these ids in their own order, all for no names; UnknownNameError lists the right ones."""
    known = [check.id for check in CHECKS]
    for name in names:
        if name not in known:
            raise UnknownNameError("--only", "check", name, known)
    return tuple(check for check in CHECKS if not names or check.id in names)
