"""How much of a TCP measurement is slow start, which depends on the round trip and not on the VPN.

A connection begins with a window of ten segments (RFC 6928, section 2) and doubles it every round trip until it meets a
loss or the path's rate (RFC 5681, section 3.1; byte counting as in RFC 3465, which Linux does). Until the window holds
rate x round trip the sender waits for acknowledgements most of the time, whatever the path could carry.
"""

import math

from vpnmesh.stats.caps import HEADER_BYTES

INITIAL_SEGMENTS = 10
"""RFC 6928: min(10 segments, max(2 segments, 14600 bytes)), ten for every MTU of the study."""
MOSTLY = 0.5
"""From this share of the measured seconds on, a figure says more about slow start than about the path."""


def slow_start_s(rate_mbit_s: float, rtt_ms: float, pod_mtu: int) -> float:
    """Seconds from a connection's start until its window holds rate x round trip; 0 where the first one does.

    A lower bound: delayed acknowledgements, HyStart and a queue that fills make it longer.
    """
    wanted_bytes = rate_mbit_s * 1e6 / 8 * rtt_ms / 1000
    initial_bytes = INITIAL_SEGMENTS * (pod_mtu - HEADER_BYTES)
    if wanted_bytes <= initial_bytes:
        return 0.0
    return math.ceil(math.log2(wanted_bytes / initial_bytes)) * rtt_ms / 1000


def share_in_slow_start(needed_s: float, omitted_s: float, measured_s: float) -> float:
    """The share of the measured seconds that lies before slow start's end; the omitted ones come first.

    ValueError where nothing is measured.
    """
    if measured_s <= 0:
        raise ValueError(f"{measured_s} measured seconds")
    return min(max(needed_s - omitted_s, 0.0), measured_s) / measured_s
