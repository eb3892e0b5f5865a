"""The client against servers that misbehave: what it retries, where it goes, and what it says."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.response import BaseHTTPResponse

from inventory import netbox_client
from inventory.load import load
from inventory.netbox import NetBoxInventory, read_documents
from inventory.netbox_client import PARALLEL_REQUESTS, NetBox, Query
from vpnmesh.errors import InputError, UnknownNameError

EMPTY = '{"count": 0, "next": null, "previous": null, "results": []}'
DEVICES = Query("dcim/devices")


class Script:
    """Answers to give in turn (status, body, location), the last one for ever; and what was asked."""

    def __init__(self, *answers: tuple[int, str] | tuple[int, str, str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, str]] = []

    def next(self) -> tuple[int, str, str]:
        """The next answer."""
        status, body, *location = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return status, body, location[0] if location else ""


def answered(body: str) -> requests.Response:
    """A page, as a session hands it out."""
    response = requests.Response()
    response.status_code, response._content = 200, body.encode()
    return response


@contextmanager
def serving(script: Script, certificate: Path | None = None) -> Iterator[str]:
    """A server on loopback that plays the script; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            script.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body, location = script.next()
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
        finally:
            # also after a test that failed: pytest would wait for the thread for ever
            server.shutdown()
            thread.join()


def test_server_error_is_tried_again() -> None:
    """Two 503s and then a page are a page, after three requests."""
    script = Script((503, "busy"), (503, "busy"), (200, EMPTY))
    with serving(script) as url:
        assert NetBox(url, "token").read(DEVICES) == ([],)
    assert len(script.asked) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 429])
def test_refusal_is_not_tried_again(status: int) -> None:
    """A 4xx is one request and one sentence with the URL: a locked account is not made worse."""
    script = Script((status, '{"detail": "no"}'))
    with serving(script) as url, pytest.raises(InputError, match=url):
        NetBox(url, "token").read(DEVICES)
    assert len(script.asked) == 1


def test_write_is_never_tried_again() -> None:
    """A POST that ends in a 503 may have been done: it is sent once."""
    script = Script((503, "busy"))
    with serving(script) as url, pytest.raises(InputError, match="503"):
        NetBox(url, "token").write("post", "dcim/sites", [{"name": "a"}], ["a"])
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    ("token", "header"), [("0" * 40, f"Token {'0' * 40}"), ("nbt_key.secret", "Bearer nbt_key.secret")]
)
def test_each_kind_of_token_has_its_header(token: str, header: str) -> None:
    """Old tokens go as Token, new ones as Bearer."""
    script = Script((200, EMPTY))
    with serving(script) as url:
        NetBox(url, token).read(DEVICES)
    assert [authorization for _, _, authorization in script.asked] == [header]


def test_next_link_to_another_host_is_not_followed() -> None:
    """Pages are asked for on the configured host, whatever the server calls the next one."""
    other = Script((200, EMPTY))
    with serving(other) as elsewhere:
        page = '{"count": %d, "next": "%s/api/dcim/devices/?offset=1", "previous": null, "results": [{"id": %d}]}'
        script = Script((200, page % (2, elsewhere, 1)), (200, page % (2, elsewhere, 2)))
        with serving(script) as url:
            assert NetBox(url, "token", page_size=1).read(DEVICES) == ([{"id": 1}, {"id": 2}],)
    assert other.asked == []
    assert ["offset=1" in path for _, path, _ in script.asked] == [False, True]


def test_redirect_to_another_host_is_refused() -> None:
    """The token does not travel: the other server is never asked."""
    other = Script((200, EMPTY))
    with (
        serving(other) as elsewhere,
        serving(Script((302, "", f"{elsewhere}/api/dcim/devices/"))) as url,
        pytest.raises(InputError, match="link to another host"),
    ):
        NetBox(url, "token").read(DEVICES)
    assert other.asked == []


def test_prefixes_and_addresses_are_read_beside_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a filter the addresses are asked for while the devices are still on their way."""
    begun, netbox = Event(), NetBox("http://netbox", "token")
    prefix = '{"count": 1, "next": null, "results": [{"id": 1, "prefix": "192.0.2.0/24", "vlan": {"id": 1}}]}'

    def answer(request: requests.PreparedRequest, **_: object) -> requests.Response:
        path = urlsplit(str(request.url)).path
        if "ip-addresses" in path:
            begun.set()
        elif "dcim/devices" in path:
            assert begun.wait(20)
        return answered(prefix if "prefixes" in path else EMPTY)

    monkeypatch.setattr(netbox.session, "send", answer)
    with pytest.raises(InputError, match="no active device or virtual machine"):
        read_documents(netbox, {})
    assert begun.is_set()


def test_no_more_connections_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two readers with many pages each share the client's connections."""
    busy, most, lock = [0], [0], Lock()
    page = '{"count": 12, "next": "more", "previous": null, "results": [{"id": %s}]}'
    with serving(Script((200, page % 1))) as url:
        netbox = NetBox(url, "token", page_size=1)
        ask = HTTPConnectionPool._make_request

        def counted(self: HTTPConnectionPool, *arguments: Any, **options: Any) -> BaseHTTPResponse:
            with lock:
                busy[0] += 1
                most[0] = max(most[0], busy[0])
            try:
                return ask(self, *arguments, **options)
            finally:
                with lock:
                    busy[0] -= 1

        monkeypatch.setattr(HTTPConnectionPool, "_make_request", counted)

        def read() -> None:
            with pytest.raises(InputError, match="changed while it was read"):
                netbox.read(DEVICES)

        readers = [Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert netbox.sent == 36
    assert 1 < most[0] <= PARALLEL_REQUESTS


def test_list_that_changes_between_pages_is_not_believed() -> None:
    """A page more or less would drop or double a host in silence."""
    page = '{"count": %d, "next": "more", "previous": null, "results": [{"id": 1}]}'
    script, sentence = Script((200, page % 2), (200, page % 3)), "changed while it was read; run it again"
    with serving(script) as url, pytest.raises(InputError, match=sentence):
        NetBox(url, "token", page_size=1).read(DEVICES)


@pytest.mark.parametrize(
    "body", ["<html>Welcome</html>", "7", '{"hello": "world"}', '{"count": 1, "results": [3]}']
)
def test_what_is_no_netbox_is_called_so(body: str) -> None:
    """HTML, or JSON of another shape, is a sentence and no traceback."""
    with serving(Script((200, body))) as url, pytest.raises(InputError, match="is no NetBox"):
        NetBox(url, "token").read(DEVICES)


def test_rows_of_another_shape_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that NetBox does not send so is named with its place."""
    monkeypatch.setenv("NETBOX_TOKEN", "token")
    page = '{"count": 1, "next": null, "previous": null, "results": [{"id": 1, "name": 5}]}'
    with (
        serving(Script((200, page))) as url,
        pytest.raises(InputError, match=r"answers as no NetBox does: 0\.name"),
    ):
        NetBoxInventory(url=url, filters={"site": "lab"}).load()


def test_unreachable_server_is_a_sentence() -> None:
    """A closed port names the URL and the reason."""
    with pytest.raises(InputError, match=r"http://127.0.0.1:1: no answer: .*refused"):
        NetBox("http://127.0.0.1:1", "token").read(DEVICES)


def test_silent_server_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and says nothing is a sentence, not a wait for ever."""
    monkeypatch.setattr(netbox_client, "READ_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match=r"no answer: .*timed out"):
            NetBox(url, "token").read(DEVICES)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that no public authority signed, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    files = ("-keyout", str(folder / "key"), "-out", str(folder / "crt"))
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subprocess.run(("openssl", "req", "-x509", *kind, *subject, *files), check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key").read_text() + (folder / "crt").read_text())
    return both


def test_unknown_authority_is_refused(certificate: Path) -> None:
    """Certificates are verified; the sentence says where to name the authority."""
    sentence = r"certificate refused.*REQUESTS_CA_BUNDLE"
    with serving(Script((200, EMPTY)), certificate) as url, pytest.raises(InputError, match=sentence):
        NetBox(url, "token").read(DEVICES)


def test_named_authority_is_accepted(certificate: Path) -> None:
    """With the authority's file the same server is read."""
    with serving(Script((200, EMPTY)), certificate) as url:
        assert NetBox(url, "token", ca_bundle=str(certificate)).read(DEVICES) == ([],)


@pytest.mark.parametrize(
    "url", ["", "netbox", "ftp://netbox", "http://", "https://me:secret@netbox", "http://[x"]
)
def test_bad_url_is_a_sentence(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no URL of a server is said before anything is sent."""
    monkeypatch.setenv("NETBOX_URL", url)
    monkeypatch.setenv("NETBOX_TOKEN", "token")
    with pytest.raises(InputError, match="NETBOX_URL"):
        load("netbox")


def test_missing_token_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token nothing is sent."""
    monkeypatch.setenv("NETBOX_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("NETBOX_TOKEN", raising=False)
    with pytest.raises(InputError, match="NETBOX_TOKEN: not set"):
        load("netbox")


def test_filters_are_checked_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt filter is an error at once; so is one without a value."""
    monkeypatch.setenv("NETBOX_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("NETBOX_TOKEN", "token")
    with pytest.raises(UnknownNameError, match="unknown filter 'sites'"):
        load("netbox:sites=lab")
    with pytest.raises(InputError, match="'site' is no filter"):
        load("netbox:site")
