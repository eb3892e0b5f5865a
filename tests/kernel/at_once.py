"""A pytest plugin for the guest: what became of a test is told and kept at once, as the guest may not reach its end."""

import json
import os
from pathlib import Path

import pytest

RESULTS = "VPNMESH_KERNEL_RESULTS"
"""Names the file that is kept, in which each line is one JSON object."""


def pytest_runtest_logstart(nodeid: str) -> None:
    """A test that begins and is not heard of again ended with the guest."""
    _keep(test=nodeid, phase="begin", outcome="", seconds=0.0, netem=[])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep how a phase ended; print a failure's traceback, or what a test that passed recorded."""
    netem = [str(value) for name, value in report.user_properties if name == "netem"]
    at_end = netem if report.when == "call" else []
    _keep(
        test=report.nodeid, phase=report.when, outcome=report.outcome, seconds=report.duration, netem=at_end
    )
    if report.failed:
        print(f"\n{report.nodeid} ({report.when}):\n{report.longreprtext}", flush=True)
    for row in at_end:
        print(f"\nnetem: {row}", end="", flush=True)


def _keep(**said: object) -> None:
    with Path(os.environ[RESULTS]).open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(said)}\n")
