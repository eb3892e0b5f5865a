"""What a session's `observed` keeps, read: the load of every node, and how much of the traffic the relay sent."""

import json
from collections.abc import Mapping

from vpnmesh.errors import UNREADABLE, ToolError
from vpnmesh.measurements.protocol import SIDES, Question, Side, json_of
from vpnmesh.study.outcome import Measured
from vpnmesh.tools import load
from vpnmesh.tools.load import NodeLoad

RELAY_FILE = "relay-sent.json"
"""The relay's counter of sent bytes before and after."""


def load_file(side: Side) -> str:
    """Where the samples of that node are kept."""
    return f"load-{side}.txt"


def relay_text(before: int, after: int) -> str:
    """What is kept of the relay's counter."""
    return json.dumps({"before_bytes": before, "after_bytes": after})


def loads(raw: Mapping[str, str], question: Question, program: str = "") -> dict[str, NodeLoad]:
    """The load of every node that was sampled, over the measured seconds; ToolError where samples are too few.

    Where a process named `program` is among the samples, its end is the end of the measured seconds.
    """
    return {
        side: load.parse(
            raw[load_file(side)],
            question.node(side).kind,
            question.processes,
            question.settings.duration_s,
            program,
        )
        for side in SIDES
        if load_file(side) in raw
    }


def relay_share(raw: Mapping[str, str], measured: Measured) -> float | None:
    """The bytes that the relay sent over those that crossed; None where nobody counted one or the other."""
    if RELAY_FILE not in raw or not measured.carried_bytes:
        return None
    counted = json_of(raw, RELAY_FILE)
    try:
        return float(counted["after_bytes"] - counted["before_bytes"]) / measured.carried_bytes
    except UNREADABLE as error:
        raise ToolError("raw", f"{RELAY_FILE} lacks {error}") from error
