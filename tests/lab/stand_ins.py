"""What stands in for the vendors' servers: a certificate for loopback, a server over TLS, programs."""

import contextlib
import functools
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vpnmesh.host.binaries import Arch, ProgramPackage
from vpnmesh.lab import binaries

MACHINES = {Arch.AMD64: 62, Arch.ARM64: 183}


def program(arch: Arch, says: str = "") -> bytes:
    """A program as a compiler for that processor would leave it: this machine's `true` with the processor's number."""
    body = Path("/bin/true").read_bytes()
    return body[:18] + MACHINES[arch].to_bytes(2, "little") + body[20:] + says.encode()


def nothing_left(product: ProgramPackage, arch: Arch) -> None:
    """After a fetch that failed: no program in the cache, and no half-finished work beside it."""
    assert not binaries.cached(product, arch)
    left = {path.name for path in binaries.cache_directory(arch).rglob("*") if path.is_file()}
    assert left <= {".lock"}
    assert not list(binaries.cache_directory(arch).glob(".coming-*"))


@dataclass(frozen=True)
class Certificate:
    """A certificate for 127.0.0.1 that whoever has SSL_CERT_FILE set to it trusts."""

    certificate: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """Make one, for two days."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    argv = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-subj", "/CN=vendor", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    out = ("-keyout", str(made.key), "-out", str(made.certificate))
    subprocess.run((*argv, *subject, *out), check=True, capture_output=True)
    return made


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a line per request."""

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
        del format, arguments


@contextlib.contextmanager
def over_tls(
    certificate: Certificate, handler: type[http.server.BaseHTTPRequestHandler] | functools.partial[Quiet]
) -> Iterator[str]:
    """A server on a free port of loopback; gives `127.0.0.1:PORT`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
