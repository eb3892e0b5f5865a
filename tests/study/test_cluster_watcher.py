"""The watcher as the nodes run it, before an API server of a few lines: what it asks, says, and does when that ends."""

import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vpnmesh.errors import ToolError
from vpnmesh.tools.cluster_watch import LABEL, Orders, Seen, leases, lines_of, manifest, objects

pytestmark = pytest.mark.slow
TOKEN = "the-token"


def lease(version: int) -> dict[str, object]:
    metadata = {"name": "w", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"renewTime": f"at {version}"}}


class Api(BaseHTTPRequestHandler):
    """Ready, with one lease that is renewed once per watch; every watch then ends."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str]] = []  # noqa: RUF012 - of the class, since a handler lives for one request

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization", "")))
        if self.path == "/readyz":
            self.answer(200, b"ok")
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, b'{"message": "Unauthorized"}')
        elif "watch=1" in self.path:
            self.answer(
                200, json.dumps({"type": "MODIFIED", "object": lease(len(self.asked) + 7)}).encode() + b"\n"
            )
        else:
            self.answer(200, json.dumps({"metadata": {"resourceVersion": "7"}, "items": [lease(7)]}).encode())

    def answer(self, code: int, text: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        """It says nothing."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Its URL and certificate."""
    key, certificate = tmp_path / "api.key", tmp_path / "api.crt"
    subprocess.run(
        ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        check=True, capture_output=True,
    )  # fmt: skip
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Api.asked.clear()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}", certificate.read_text()
    server.shutdown()
    server.server_close()


def watched(orders: Orders, enough: Callable[[tuple[Seen, ...]], bool]) -> tuple[Seen, ...]:
    """What the program printed until that was enough, for twenty seconds at most."""
    argv = (sys.executable, *orders.argv[1:])
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline, text = time.monotonic() + 20, ""
    assert process.stdout
    while time.monotonic() < deadline and not enough(lines_of(text, "test")):
        text += process.stdout.readline()
    process.kill()
    _, error = process.communicate()
    assert error == ""
    return lines_of(text, "test")


def of_kind(lines: tuple[Seen, ...], kind: str) -> list[Seen]:
    return [one for one in lines if one.kind == kind]


def test_it_asks_watches_and_begins_again(api: tuple[str, str], tmp_path: Path) -> None:
    """The token's file is gone at once; a watch goes on from the version that it had seen; times do not go back."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    orders = Orders(
        *api, every_s=0.05, patience_s=5, interface="lo", token_file=str(token), resources=leases()
    )
    lines = watched(orders, lambda seen: len(of_kind(seen, "watch")) >= 3)
    assert not token.exists()
    assert [one.facts["what"] for one in of_kind(lines, "watch")][:3] == ["begin", "end", "begin"]
    assert of_kind(lines, "api")[0].facts["code"] == 200
    assert of_kind(lines, "link")[0].facts["there"] is True
    assert of_kind(lines, "lease")[0].facts == {"name": "w", "event": "ADDED", "renewed": "at 7"}
    watches = [path for path, _ in Api.asked if "watch=1" in path]
    assert watches[0].endswith("resourceVersion=7")
    assert not watches[1].endswith("resourceVersion=7")
    assert [path for path, secret in Api.asked if path == "/readyz" and secret] == []
    assert [one.at_s for one in lines] == sorted(one.at_s for one in lines)


def test_a_refused_token_is_a_failed_watch(api: tuple[str, str], tmp_path: Path) -> None:
    """Not one that began and ended; and the API is there all the same."""
    token = tmp_path / "token"
    token.write_text("another")
    orders = Orders(*api, every_s=0.05, patience_s=5, token_file=str(token), resources=leases())
    lines = watched(orders, lambda seen: bool(of_kind(seen, "watch")) and bool(of_kind(seen, "api")))
    assert of_kind(lines, "watch")[0].facts == {
        "of": "lease",
        "what": "failed",
        "why": "ValueError 401 Unauthorized",
    }


def test_a_port_where_nobody_listens(api: tuple[str, str]) -> None:
    """A line with the reason for every question."""
    orders = Orders("https://127.0.0.1:1", api[1], every_s=0.05, patience_s=5)
    lines = watched(orders, lambda seen: len(of_kind(seen, "api")) >= 2)
    assert all("refused" in one.facts["error"] for one in of_kind(lines, "api"))


def test_what_it_needs_in_the_cluster() -> None:
    """It may see and nothing else; the service is of the labelled pods; every watched path is of a seen kind."""
    items = {item["kind"]: item for item in json.loads(manifest("mine"))["items"]}
    rules = items["ClusterRole"]["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert items["Service"]["spec"]["selector"] == {LABEL: "watched"}
    seen = {kind for rule in rules for kind in rule["resources"]}
    assert {path.partition("?")[0].rpartition("/")[2] for path in objects("mine").values()} == seen


def test_lines_that_are_none_are_named() -> None:
    """But the last, which was cut off when the program was ended."""
    assert [one.kind for one in lines_of('1.5 begin {}\n2.5 api {"co', "w.txt")] == ["begin"]
    with pytest.raises(ToolError, match=r"w.txt holds 'Traceback'"):
        lines_of("Traceback\n", "w.txt")
