"""One real NetBox for all tests of this folder; each test finds it empty or with the lab in it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from inventory.documents import read_folder
from inventory.netbox_client import NetBox
from inventory.sync import apply
from tests.needs import missing, needs
from tests.netbox.admin import Admin
from tests.netbox.install import CannotRunError, NoPythonError, Say
from tests.netbox.server import TOKEN_V1, NetBoxServer, remains

# the server gives no more rows than this at once, whatever is asked for
PAGE_SIZE = 25
TEST_SECONDS = 600
LAB = Path(__file__).resolve().parents[2] / "inventory" / "lab"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that use the server are marked `netbox`, and its set-up does not count against the first one's time."""
    for item in items:
        if {"server", "snapshot"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.netbox)
            item.add_marker(pytest.mark.timeout(TEST_SECONDS, func_only=True))


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Say:
    """Print a line on the screen now, whatever pytest captures."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def printed(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n[netbox] {line}", flush=True)

    return printed


@pytest.fixture(scope="session")
def server(say: Say) -> Iterator[NetBoxServer]:
    """The running server; tests skip with the reason where it cannot run.

    Every step of its set-up has a limit of its own (tests/netbox/install.py, server.py).
    """
    with ExitStack() as stack:
        try:
            running = stack.enter_context(NetBoxServer(page_size=PAGE_SIZE, say=say))
        except NoPythonError as error:
            missing("netbox-python", str(error))
        except CannotRunError as error:
            needs(condition=False, reason=str(error))
        yield running
        running.stop()
        assert remains(running) == []


@pytest.fixture(scope="session")
def snapshot(server: NetBoxServer) -> str:
    """The name of a snapshot that holds the lab, seeded once, and nothing that an earlier test made."""
    server.reset("pristine")
    apply(NetBox(server.url, TOKEN_V1), read_folder(LAB), "lab")
    server.snapshot("seeded")
    return "seeded"


@pytest.fixture
def empty(server: NetBoxServer, monkeypatch: pytest.MonkeyPatch) -> NetBoxServer:
    """A NetBox without objects, with its URL and the administrator's token in the environment."""
    return _restored(server, "pristine", monkeypatch)


@pytest.fixture
def seeded(server: NetBoxServer, snapshot: str, monkeypatch: pytest.MonkeyPatch) -> NetBoxServer:
    """A NetBox that holds the lab, with its URL and the administrator's token in the environment."""
    return _restored(server, snapshot, monkeypatch)


def _restored(server: NetBoxServer, snapshot: str, monkeypatch: pytest.MonkeyPatch) -> NetBoxServer:
    server.reset(snapshot)
    monkeypatch.setenv("NETBOX_URL", server.url)
    monkeypatch.setenv("NETBOX_TOKEN", TOKEN_V1)
    return server


@pytest.fixture
def admin(server: NetBoxServer) -> Admin:
    """Hands that make objects without the code under test."""
    return Admin(server)


@pytest.fixture(scope="session")
def lab_folder() -> Path:
    """The embedded lab's YAML files."""
    return LAB


@pytest.fixture(scope="session")
def mixed_folder() -> Path:
    """An inventory that uses everything that an inventory may hold."""
    return Path(__file__).parent / "mixed"
