"""The firewall's probes: what was refused was reached; what could not even be sent was not."""

import socket
import subprocess
from collections.abc import Iterator

import pytest

from tasks.firewall.policy import _PROBES
from vpnmesh.firewall.policy import Protocol

NO_WAY_THERE = "255.255.255.255"
"""To connect to a broadcast address fails at once, as without a route."""


def reached(protocol: Protocol, address: str, port: int) -> bool:
    argv = ("bash", "-c", _PROBES[protocol], address, str(port), "2", "0.05")
    return subprocess.run(argv, check=False, timeout=60).returncode == 0


@pytest.fixture
def closed() -> Iterator[int]:
    """A port that is bound on another address, so that nobody gets it here meanwhile."""
    with socket.socket() as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        one.bind(("127.0.0.2", 0))
        port = one.getsockname()[1]
        other.bind(("127.0.0.2", port))
        yield port


@pytest.mark.parametrize("protocol", list(Protocol))
def test_a_refusal_is_an_answer(protocol: Protocol, closed: int) -> None:
    assert reached(protocol, "127.0.0.1", closed)


@pytest.mark.parametrize("protocol", list(Protocol))
def test_what_cannot_be_sent_gets_nowhere(protocol: Protocol) -> None:
    assert not reached(protocol, NO_WAY_THERE, 33999)


def test_a_port_that_accepts_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert reached(Protocol.TCP, "127.0.0.1", server.getsockname()[1])
