"""The listener that counts flows: what it says of packets of known bytes, and how its words are read."""

import socket
import struct
from ipaddress import ip_address

import pytest

from vpnmesh.errors import ToolError
from vpnmesh.tools import flows
from vpnmesh.tools.flows_program import MOST_FLOWS, MOST_NAMES, Flows, flow_of
from vpnmesh.tools.program_frame import IPV4, IPV6


def ipv4(protocol: int, ports: tuple[int, int], length: int = 60, options: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45 + options, 0, length, 0, 0, 64, protocol, 0)
    ends = socket.inet_aton("10.0.0.1") + socket.inet_aton("10.0.0.2")
    return head + ends + bytes(4 * options) + struct.pack("!HH", *ports)


def ipv6(next_header: int, ports: tuple[int, int], payload: int) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, payload, next_header, 64)
    ends = [socket.inet_pton(socket.AF_INET6, f"fd00::{number}") for number in (1, 2)]
    return head + b"".join(ends) + struct.pack("!HH", *ports)


@pytest.mark.parametrize(
    ("packet", "kind", "expected"),
    [
        (ipv4(17, (41641, 3478)), IPV4, (17, "10.0.0.1", "10.0.0.2", 41641, 3478, 60)),
        (ipv4(6, (50000, 443), options=3), IPV4, (6, "10.0.0.1", "10.0.0.2", 50000, 443, 60)),
        (ipv4(1, (8, 0)), IPV4, (1, "10.0.0.1", "10.0.0.2", 0, 0, 60)),
        (ipv6(17, (1, 2), 100), IPV6, (17, "fd00::1", "fd00::2", 1, 2, 140)),
        (ipv4(6, (1, 2))[:15], IPV4, None),
        (b"", IPV4, None),
        (ipv4(6, (1, 2)), 0x0806, None),
    ],
)
def test_a_packet_is_of_its_flow(packet: bytes, kind: int, expected: object) -> None:
    assert flow_of(packet, kind) == expected


class Sent:
    """A socket with these packets to be read."""

    def __init__(self, packets: list[bytes]) -> None:
        self.packets = packets

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[str, int]]:
        if not self.packets:
            raise BlockingIOError
        return self.packets.pop(0), ("eth0", IPV4)


def test_packets_beyond_the_flows_that_are_kept_are_counted_as_such() -> None:
    """So that nobody takes "none was seen" for "none was there"."""
    found = Flows()
    packets = [ipv4(17, (number % 65536, number // 65536)) for number in range(MOST_FLOWS + 5)]
    found.take("eth0", Sent([*packets, packets[0]]))  # type: ignore[arg-type]
    assert (len(found.counts), found.unlisted) == (MOST_FLOWS, 5)
    assert found.counts["eth0", 17, "10.0.0.1", "10.0.0.2", 0, 0] == [2, 120]


def question(name: str, flags: int = 1) -> bytes:
    """A UDP packet to port 53 with a DNS question (RFC 1035, 4.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    dns = struct.pack("!6H", 7, flags << 8, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
    return ipv4(17, (40000, 53), 28 + len(dns))[:20] + struct.pack("!4H", 40000, 53, 8 + len(dns), 0) + dns


def test_the_names_of_questions_are_told() -> None:
    """Once each, in small letters; answers, and what is cut off, ask for nothing."""
    found = Flows()
    asked = question("Logs.Example.net")
    found.take("any", Sent([asked, asked, question("answer.net", flags=0x81), asked[:39]]))  # type: ignore[arg-type]
    assert found.told()["names"] == ["logs.example.net"]
    names = [question(f"n{number}.net") for number in range(MOST_NAMES + 3)]
    found.take("any", Sent(names))  # type: ignore[arg-type]
    assert (len(found.names), found.unlisted) == (MOST_NAMES, 4)


def test_the_listeners_line_is_read() -> None:
    told = '{"flows": [["eth0", 17, "10.0.0.1", "fd00::2", 1, 2, 3, 400]], "other": 1, "unlisted": 2, "dropped": 5}'
    heard = flows.heard(f"ready\n{told}\n")
    one = flows.Flow("eth0", "udp", ip_address("10.0.0.1"), ip_address("fd00::2"), 1, 2, 3, 400)
    assert heard == flows.Heard((one,), 7)
    assert flows.bytes_by_protocol([one, one]) == {"udp": 800}
    named = flows.heard('{"flows": [], "names": ["a.net"], "other": 0, "unlisted": 0, "dropped": 0}')
    assert heard + named == flows.Heard((one,), 7, ("a.net",))
    assert "eth0 udp 10.0.0.1:1 > fd00::2:2 3 packets, 400 bytes" in heard.text()


@pytest.mark.parametrize(
    "text", ["", "ready", "failed: no such device", '{"flows": [["eth0", 17]]}', '{"flows": []}']
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ToolError, match="no counts from the listener"):
        flows.heard(text)
