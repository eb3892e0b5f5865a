"""The ceiling that a condition puts on throughput: netem's own queue under delay, whatever traffic it is, or a rate.

A queue of `limit` packets that each wait `delay` lets limit / delay packets a second through. The data an
iperf3 packet carries is the pod MTU less 52 bytes (IP, TCP with timestamps; iperf3 sizes its UDP datagrams
alike). In the paper's data UDP at 50, 250 and 350 ms lies at 0.986-0.996 of this ceiling for both baselines.
"""

NETEM_DEFAULT_LIMIT = 1000
HEADER_BYTES = 52
NEAR_CAP = 0.8
"""From this share of the cap on, a figure says more about the queue than about the VPN.

Source: Tables A1 and A2. At 250 and 350 ms TCP through five of the six VPN paths lies at 0.81 to 0.88 of the cap,
whichever VPN it is (bursts overflow the queue before it is full on average), UDP through most of them at 0.95 to 1.06;
the paths that were slower for their own reasons lie below 0.7 (netbird-relay TCP, netbird-direct UDP).
"""


def cap_mbit_s(
    delay_ms: float,
    pod_mtu: int,
    limit: int | None = NETEM_DEFAULT_LIMIT,
    rate_mbit_s: float | None = None,
) -> float | None:
    """The ceiling in Mbit/s: the queue's, or that of a limited rate for the data in packets of that MTU.

    None where neither is: without delay, or where the queue was sized to the delay (`limit` None).
    """
    queue = None
    if delay_ms > 0 and limit is not None:
        queue = limit * (pod_mtu - HEADER_BYTES) * 8 / (delay_ms / 1000) / 1e6
    rate = rate_mbit_s * (pod_mtu - HEADER_BYTES) / pod_mtu if rate_mbit_s else None
    return min((cap for cap in (queue, rate) if cap is not None), default=None)


def near_cap(rate_mbit_s: float, cap: float | None) -> bool:
    """Whether a rate (of a repetition, or a cell's mean) is the condition's rather than the VPN's; no cap: False."""
    return cap is not None and rate_mbit_s >= NEAR_CAP * cap
