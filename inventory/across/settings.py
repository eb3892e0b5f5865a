"""Dask's own settings, the same for controller, scheduler and workers; no file of the user's is changed."""

from typing import Any

SETTINGS: dict[str, Any] = {
    # a task is never run again by Dask itself: the controller decides, it knows which may be
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    # a worker that logs in to hundreds of hosts on a busy machine may be silent for a while, and is not lost then; one
    # that dies closes its connection, which is noticed at once
    "distributed.scheduler.worker-ttl": "5 minutes",
    "distributed.comm.timeouts.tcp": "120s",
    # events carry answers: the scheduler hands them on and keeps none
    "distributed.admin.low-level-log-length": 0,
    "distributed.admin.log-length": 0,
    # no pages, no figures: every port that is open speaks TLS
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
    "distributed.comm.require-encryption": None,
    "distributed.comm.timeouts.connect": "20s",
}


def apply_settings() -> None:
    """Make them hold in this process."""
    import dask  # noqa: PLC0415 - an optional extra
    import distributed  # noqa: F401, PLC0415 - reads its defaults, which these then replace

    dask.config.set(SETTINGS)
