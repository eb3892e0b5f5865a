"""The ceiling that netem's own queue puts on throughput under delay, whatever runs through it.

A queue of `limit` packets that each wait `delay` lets limit / delay packets a second through. The data an
iperf3 packet carries is the pod MTU less 52 bytes (IP, TCP with timestamps; iperf3 sizes its UDP datagrams
alike). In the paper's data UDP at 50, 250 and 350 ms lies at 0.986-0.996 of this ceiling for both baselines.
"""

NETEM_DEFAULT_LIMIT = 1000
HEADER_BYTES = 52
NEAR_CAP = 0.8
"""From this share of the cap a mean says more about the queue than about the VPN (TCP needs room for its
bursts).
"""


def cap_mbit_s(delay_ms: float, pod_mtu: int, limit: int | None = NETEM_DEFAULT_LIMIT) -> float | None:
    """The ceiling in Mbit/s; None without delay, or where the queue was sized to the delay (`limit` None)."""
    if delay_ms <= 0 or limit is None:
        return None
    return limit * (pod_mtu - HEADER_BYTES) * 8 / (delay_ms / 1000) / 1e6
