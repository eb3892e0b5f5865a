"""A pytest plugin for the guest: why a test failed, or what it recorded, is said at once: the end may be far away."""

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print a failure's traceback, or what a test that passed recorded."""
    if report.failed:
        print(f"\n{report.nodeid} ({report.when}):\n{report.longreprtext}", flush=True)
    elif report.when == "call":
        for name, value in report.user_properties:
            print(f"\n{name}: {value}", end="", flush=True)
