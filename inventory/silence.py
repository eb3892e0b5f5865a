"""A host that takes no login costs few timeouts, however often it is asked."""

import time
from dataclasses import dataclass

from vpnmesh.errors import NodeUnreachableError

LEAST_HOLD_S, LONGEST_HOLD_S = 1.0, 30.0
"""How long a login that failed is not tried again."""


@dataclass(slots=True)
class Silence:
    """Since when a host has taken no login, and why.

    It is asked again after half as long as it has been silent by then, `LONGEST_HOLD_S` at most; until then the last
    answer counts.
    """

    since: float | None = None
    asked: float = 0.0
    last: NodeUnreachableError | None = None

    def refuse(self) -> None:
        """Raise what it said last, as long as it is too early to ask again."""
        if self.since is None or self.last is None:
            return
        hold_s = min(max((self.asked - self.since) / 2, LEAST_HOLD_S), LONGEST_HOLD_S)
        if time.monotonic() - self.asked < hold_s:
            raise NodeUnreachableError(self.last.host, self.last.reason, self.last.address)

    def note(self, began: float, error: NodeUnreachableError) -> None:
        """A login that began then came to nothing."""
        self.since = began if self.since is None else self.since
        self.asked, self.last = time.monotonic(), error

    def end(self) -> None:
        """It answers."""
        self.since = None
