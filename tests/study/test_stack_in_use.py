"""What `ss` and `ethtool` say of a VPN's sockets and interface, read by process."""

from pathlib import Path

import polars as pl

from vpnmesh.frames.events import stacks
from vpnmesh.host.stack_in_use import in_use
from vpnmesh.plan import Completed
from vpnmesh.study.journal import parse_event

ETHTOOL = """Features for tailscale0:
tcp-segmentation-offload: on
\ttx-tcp-segmentation: on
generic-segmentation-offload: on
generic-receive-offload: off
tx-udp_tnl-segmentation: off [fixed]
"""


def seen(*said: tuple[int, str], processes: tuple[str, ...] = ("derper", "tailscaled")) -> dict[str, str]:
    """What is read of these answers, by ss (TCP, UDP) and by ethtool for each interface."""
    fact = in_use(processes, ("tailscale0",) if len(said) > 2 else ())
    return fact.parse([Completed((), code, text, "") for code, text in said])


def test_a_relays_sockets(captured: Path) -> None:
    """Of a real relay node: its three connections and its STUN socket; sshd's connection is not the VPN's."""
    tcp, udp = ((captured / "ss" / "derp-relay" / name).read_text() for name in ("tcp.txt", "udp.txt"))
    assert "sshd" in tcp
    assert seen((0, tcp), (0, udp)) == {"TCP of derper": "bbr", "UDP of derper": "212992"}
    other = tcp.replace("bbr wscale", "cubic wscale", 2)
    assert seen((0, other), (0, "")) == {"TCP of derper": "bbr/cubic"}


def test_an_interfaces_offloads() -> None:
    """The three that pods have too, and whether packets of VXLAN are segmented for it."""
    assert seen((0, ""), (0, ""), (0, ETHTOOL)) == {
        "tailscale0": "tso on, gso on, gro off, segmentation of tunnels' packets off"
    }


def test_what_is_not_there_is_not_seen() -> None:
    """No program, no interface, no socket: nothing, and no error."""
    assert seen((127, "sh: ss: not found"), (127, ""), (75, "")) == {}
    assert seen((0, "\n"), (0, "")) == {}


def test_what_visits_saw_is_a_row_once() -> None:
    """A journal's events of two visits that saw the same; an event of an older run saw nothing."""
    event = {"schema_version": 2, "type": "standing", "scenario": "headscale-relay"}
    told = {**event, "stack": {"relay": {"TCP of derper": "bbr"}}}
    found = stacks([parse_event(one, "journal") for one in (event, told, told)])
    row = {"scenario": "headscale-relay", "node": "relay", "of": "TCP of derper", "seen": "bbr"}
    assert pl.DataFrame([row]).equals(found)
