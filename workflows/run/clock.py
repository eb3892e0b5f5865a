"""The time that a session writes down: the wall clock's as it began, and from then on what has really passed.

A clock that is stepped meanwhile (NTP that comes late, a person, a virtual machine that was moved) would change the
order of what happened, the minutes that a session took, and with them what an adaptive run's budget has left.
"""

import time
from datetime import UTC, datetime, timedelta

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the controller sleeps, where the kernel has such a clock."""


def _passed_s() -> float:
    return time.clock_gettime(_CLOCK)


_began, _began_s = datetime.now(UTC), _passed_s()


def now() -> datetime:
    """The moment, in UTC."""
    return _began + timedelta(seconds=_passed_s() - _began_s)
