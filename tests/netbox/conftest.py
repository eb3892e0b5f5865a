"""One real NetBox for all tests of this folder; each test finds it as the dump left it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.netbox.server import TOKEN_V1, CannotRunError, NetBoxServer

# more than any list of the lab holds would hide paging; the server gives ten rows whatever is asked for
PAGE_SIZE = 10
LAB = Path(__file__).resolve().parents[2] / "inventory" / "lab"


@pytest.fixture(scope="session")
def server() -> Iterator[NetBoxServer]:
    """The running server; tests skip with the reason where it cannot run."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(NetBoxServer(page_size=PAGE_SIZE))
        except CannotRunError as error:
            pytest.skip(str(error))
        yield running


@pytest.fixture
def netbox(server: NetBoxServer, monkeypatch: pytest.MonkeyPatch) -> NetBoxServer:
    """An empty NetBox, with its URL and the admin's old-style token in the environment."""
    server.reset()
    monkeypatch.setenv("NETBOX_URL", server.url)
    monkeypatch.setenv("NETBOX_TOKEN", TOKEN_V1)
    return server


@pytest.fixture(scope="session")
def lab_folder() -> Path:
    """The embedded lab's YAML files."""
    return LAB
