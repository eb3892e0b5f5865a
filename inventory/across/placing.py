"""Which worker asks which host: one that reaches the host's site, and the same one every time; pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vpnmesh.errors import VpnmeshError

ANYWHERE = "*"
"""The site of a worker that reaches every host."""
RESOURCE = "reaches:"
"""How a worker says it: Dask's abstract resources, `reaches:edge`."""


class NoDaskWorkerError(VpnmeshError):
    """A host that no worker reaches, or none any more."""

    def __init__(self, host: str, reason: str, way_out: str) -> None:
        self.host = host
        self.reason = reason
        self.way_out = way_out
        super().__init__(f"{host}: {reason}; {way_out}")


@dataclass(frozen=True, slots=True)
class DaskWorker:
    """A worker as the scheduler knows it: its address there, its name, the sites it reaches, hosts asked at once."""

    address: str
    name: str
    sites: frozenset[str]
    threads: int

    def reaches(self, site: str) -> bool:
        """Whether it may ask hosts of that site."""
        return ANYWHERE in self.sites or site in self.sites


def dask_workers(found: Mapping[str, Mapping[str, Any]]) -> tuple[DaskWorker, ...]:
    """The workers in a scheduler's answer that run: those that are about to close get nothing more."""
    return tuple(
        DaskWorker(
            address,
            str(one["name"]),
            frozenset(name.removeprefix(RESOURCE) for name in one["resources"] if name.startswith(RESOURCE)),
            int(one["nthreads"]),
        )
        for address, one in found.items()
        if one.get("status", "running") == "running"
    )


def resources(sites: Iterable[str]) -> dict[str, float]:
    """What a worker that reaches these sites is started with."""
    return {f"{RESOURCE}{site}": 1.0 for site in sites}


def worker_for(host: str, site: str, workers: Iterable[DaskWorker]) -> DaskWorker:
    """The worker that asks this host; NoDaskWorkerError where none reaches it.

    Every host ranks all workers by a hash of both names, and takes the first that is there. So commands of another
    day find the connections that are open, hosts spread evenly, and when a worker goes only its own hosts move.
    """
    able = [worker for worker in workers if worker.reaches(site)]
    if not able:
        where = f"site {site!r}" if site else "hosts without a site"
        raise NoDaskWorkerError(
            host,
            f"no Dask worker reaches {where}",
            f"start one there: python -m workflows.workers worker --reaches {site or repr(ANYWHERE)}",
        )
    return max(able, key=lambda worker: _rank(host, worker.name))


def _rank(host: str, worker: str) -> bytes:
    return hashlib.blake2b(f"{host}\0{worker}".encode(), digest_size=8).digest()
