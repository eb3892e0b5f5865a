"""The one way to skip a test: what is missing is said by name, and with CI=true it is a failure.

Excepted are the pieces of UNSERVED, which no package registry gives, or not in time: their tests are skipped in CI
too. Strike a piece off that list once the project can make or install it, and its absence fails again.
"""

import os
from collections.abc import Iterable, Mapping
from typing import NoReturn

import pytest

NO_REGISTRY = "no package registry serves it"
LONG = "make kube builds it, which takes longer than a cold run of all tests"
KERNEL = "only another kernel has it: make test-kernel boots one"
UNSERVED: Mapping[str, str] = {
    "zerotier": NO_REGISTRY,
    "netmaker": NO_REGISTRY,
    "k3s": NO_REGISTRY,
    "kubernetes": LONG,
    "calico": NO_REGISTRY,
    "netbox-python": "Debian 12 has Python 3.11, NetBox wants 3.12, and no package index ships an interpreter",
    "advisories": "a registry of Go modules need not carry the database of their known holes",
    "netem": KERNEL,
    "kernel-wireguard": KERNEL,
    "bridge-vlan-filtering": KERNEL,
    "stock-kernel": "make test-kernel brings it; an emulated machine is too slow to be part of every run",
    "machine": "make test-machine makes it; an emulated machine is too slow to be part of every run",
}
"""Pieces that may be missing in CI, each with the reason."""


def needs(condition: bool, reason: str) -> None:  # noqa: FBT001
    """Skip with the reason where something is missing that a registry or the set-up gives; in CI that is a failure."""
    if not condition:
        missing("", reason)


def missing(piece: str, reason: str) -> NoReturn:
    """Skip for want of `piece`; in CI a failure unless the piece is one of UNSERVED, whose reason is then added."""
    why = UNSERVED.get(piece)
    if why == KERNEL and on_stock_kernel():
        pytest.fail(f"missing on the stock kernel, which has it: {reason}", pytrace=False)
    if why:
        pytest.skip(f"{reason} ({piece}: {why})")
    if in_ci():
        pytest.fail(f"missing in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def on_stock_kernel() -> bool:
    """Whether this is the guest of `make test-kernel`, whose kernel has all that only another kernel has."""
    return os.environ.get("VPNMESH_STOCK_KERNEL") == "1"


def in_ci() -> bool:
    """Whether a missing piece is a failure."""
    return os.environ.get("CI") == "true"


def summary(skipped: Iterable[tuple[str, str]]) -> list[str]:
    """Lines that list skipped tests by reason: (test, reason) pairs in, most tests first."""
    by_reason: dict[str, list[str]] = {}
    for test, reason in skipped:
        by_reason.setdefault(reason, []).append(test)
    lines = []
    for reason, tests in sorted(by_reason.items(), key=lambda one: (-len(one[1]), one[0])):
        lines += [f"{len(tests)} skipped: {reason}", *(f"    {test}" for test in sorted(tests))]
    return lines
