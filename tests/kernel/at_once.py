"""A pytest plugin for the guest: why a test failed is said when it fails, for the end may be many minutes away."""

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print a failure's traceback at once."""
    if report.failed:
        print(f"\n{report.nodeid} ({report.when}):\n{report.longreprtext}", flush=True)
