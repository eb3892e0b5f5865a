"""What `hey -o csv` writes: a row per request in seconds, cut off where the tool was stopped.

Columns: response-time, DNS+dialup, DNS, Request-write, Response-delay, Response-read, status-code, offset. A
row that lacks its last field was cut, one without a status never had an answer: both are failed requests.
"""

import re

from vpnmesh.errors import ToolError

TOOL = "hey"
COLUMNS = (
    "response-time",
    "DNS+dialup",
    "DNS",
    "Request-write",
    "Response-delay",
    "Response-read",
    "status-code",
    "offset",
)
_RUN = re.compile(r"run[-_]?(\d+)")


def check_header(first_line: str) -> None:
    """Raise ToolError unless the line is the header that hey writes."""
    found = first_line.lstrip("\ufeff").strip()
    if not found:
        raise ToolError(TOOL, "the file is empty")
    if tuple(found.split(",")) != COLUMNS:
        raise ToolError(TOOL, f"not hey's CSV (first line: {found[:60]!r})")


def run_of(file_name: str) -> int | None:
    """The run's number in a file's name, None if it has none."""
    found = _RUN.search(file_name)
    return int(found[1]) if found else None
