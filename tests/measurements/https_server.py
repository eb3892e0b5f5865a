"""A real HTTPS server on loopback that answers, stalls, refuses or lies, as a test wants it."""

import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BODY = b"x" * 2000


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, and the certificate that a client trusts."""

    port: int
    certificate: str

    @property
    def url(self) -> str:
        """What is asked of it."""
        return f"https://127.0.0.1:{self.port}/api/v1/pods"


def certificate(folder: Path, *, days: int = 2) -> Path:
    """Certificate and key of the server in one file; one of -1 days expired yesterday."""
    pem, request, names = folder / f"server{days}.pem", folder / "request", folder / "names"
    names.write_text("subjectAltName=IP:127.0.0.1")
    key = "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=server"
    _run(f"{key} -keyout {pem} -out {request}")
    _run(f"openssl x509 -req -in {request} -signkey {pem} -days {days} -extfile {names} -out {pem}.crt")
    pem.write_text(pem.read_text() + Path(f"{pem}.crt").read_text())
    return pem


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True)


@contextmanager
def serving(pem: Path, answer: Callable[[int], int]) -> Iterator[Server]:
    """A server whose answer to the request of that number, from 1, is the status that the function returns."""
    lock, seen = threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                seen[0] += 1
                number = seen[0]
            status = answer(number)
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that does not trust us says so itself."""

    server = Quiet(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield Server(server.server_port, Path(f"{pem}.crt").read_text())
    finally:
        server.shutdown()
        server.server_close()


def stalling(first: int, seconds: float) -> Callable[[int], int]:
    """Answers at once, until the request of that number comes; then nobody is answered for so long."""
    until = [0.0]

    def answer(number: int) -> int:
        if number == first:
            until[0] = time.monotonic() + seconds
        time.sleep(max(0.0, until[0] - time.monotonic()))
        return 200

    return answer
