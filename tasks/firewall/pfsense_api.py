"""pfSense's REST API over HTTPS: one connection, no blind retries, and errors that name the way out."""

import hashlib
import json
import os
import socket
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import urllib3
from nornir.core.inventory import Host
from urllib3.exceptions import HTTPError, SSLError
from urllib3.exceptions import TimeoutError as HttpTimeoutError

from inventory.secrets import WAY_OUT, Source, Way, learn, secret_from, secret_of
from vpnmesh.errors import NO_JSON, CheckError, InputError
from vpnmesh.firewall.pfsense_rest import APPLY, Request
from vpnmesh.plan import Secret

KEY_VARIABLE = "VPNMESH_PFSENSE_KEY"
"""The environment variable with the API key, unless the host's data has `pfsense_key` or `pfsense_key_file`."""
READ_S, APPLY_S = 30.0, 300.0
"""How long a call may take: every write makes pfSense write its whole configuration; loading takes longest."""


class ApiError(CheckError):
    """pfSense answered, and not with success; `status` is HTTP's."""

    def __init__(self, host: str, request: Request, status: int, message: str) -> None:
        self.status = status
        super().__init__("firewall", f"{host}: {request.why or request.path}: {message}")


class CutError(CheckError):
    """The connection ended without an answer: whether the call did its work is unknown."""

    def __init__(self, host: str, request: Request, reason: str) -> None:
        super().__init__("firewall", f"{host}: {request.why or request.path}: no answer ({reason})")


@dataclass(frozen=True, slots=True)
class Reply:
    """What pfSense said: the data, and its own clock."""

    data: object
    date: datetime | None


@dataclass(frozen=True, slots=True)
class PfsenseAccess:
    """Where the API is and how it is trusted: a CA file, the certificate's SHA-256, else the system's CAs."""

    host: str
    url: str
    key: Secret = field(repr=False)
    ca_file: str | None = None
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        """InputError for a URL that would send the key in the clear, or a fingerprint that is none."""
        if not self.url.startswith("https://"):
            raise InputError(
                f"{self.host}: pfsense_url", f"'{self.url}' is not https", "the key would travel in the clear"
            )
        if self.fingerprint and len(self.fingerprint.replace(":", "")) != 64:  # noqa: PLR2004 - SHA-256 in hex
            raise InputError(
                f"{self.host}: pfsense_tls_fingerprint", "is no SHA-256", "64 hex digits, colons allowed"
            )


def access(host: Host) -> PfsenseAccess:
    """Where the host's API is and how it is trusted; InputError names the key that is missing."""
    url = str(host.get("pfsense_url") or f"https://{host.hostname}")
    ca_file, fingerprint = host.get("pfsense_tls_ca"), host.get("pfsense_tls_fingerprint")
    return PfsenseAccess(
        host.name,
        url,
        _key(host),
        str(ca_file) if ca_file else None,
        str(fingerprint) if fingerprint else None,
    )


def _key(host: Host) -> Secret:
    if (key := secret_of(host, "pfsense_key")) is not None:
        return key
    if path := host.get("pfsense_key_file"):
        try:
            return learn(Path(str(path)).read_text(encoding="utf-8").strip())
        except OSError as error:
            raise InputError(f"{host.name}: pfsense_key_file", f"{path}: {error.strerror}") from error
    if os.environ.get(KEY_VARIABLE):
        return secret_from(Source(Way.ENV, (KEY_VARIABLE,)), f"{host.name}: pfsense_key")
    raise InputError(f"{host.name}: pfsense_key", "missing", f"set {KEY_VARIABLE}, or {WAY_OUT}")


@dataclass(slots=True)
class PfsenseApi:
    """The API of one firewall; counts the calls that it made."""

    access: PfsenseAccess
    sent: int = 0
    _pool: urllib3.HTTPSConnectionPool | None = field(default=None, repr=False)

    def send(self, request: Request) -> Reply:
        """Make the call once. Raises CutError when no answer came, ApiError for any other status than 200."""
        query = f"?{urlencode(request.query)}" if request.query else ""
        headers = {"X-API-Key": self.access.key.reveal(), "Accept": "application/json"}
        body = None
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(request.body).encode()
        self.sent += 1
        seconds = APPLY_S if request.path == APPLY and request.writes else READ_S
        timeout = urllib3.Timeout(connect=10.0, read=seconds)
        try:
            answer = self._connections().urlopen(
                request.method,
                request.path + query,
                body=body,
                headers=headers,
                timeout=timeout,
                retries=False,
            )
        except SSLError as error:
            raise InputError(f"{self.access.host}: TLS", self._untrusted(str(error)), _TRUST) from error
        except HttpTimeoutError as error:
            raise CutError(self.access.host, request, "timed out") from error
        except (HTTPError, OSError) as error:
            raise CutError(self.access.host, request, f"{type(error).__name__}: {error}"[:160]) from error
        return self._judge(request, answer)

    def _connections(self) -> urllib3.HTTPSConnectionPool:
        if self._pool is None:
            access, parts = self.access, urlsplit(self.access.url)
            pinned = bool(access.fingerprint)
            self._pool = urllib3.HTTPSConnectionPool(
                parts.hostname or "",
                parts.port or 443,
                maxsize=1,
                cert_reqs=ssl.CERT_NONE if pinned else ssl.CERT_REQUIRED,
                assert_fingerprint=access.fingerprint,
                ca_certs=None if pinned else access.ca_file,
            )
        return self._pool

    def _judge(self, request: Request, answer: urllib3.BaseHTTPResponse) -> Reply:
        host = self.access.host
        try:
            content = json.loads(answer.data)
        except NO_JSON:
            content = None
        if not isinstance(content, dict):
            raise ApiError(
                host, request, answer.status, f"no REST API there (HTTP {answer.status}): {_PACKAGE}"
            )
        if answer.status != 200:  # noqa: PLR2004 - HTTP's success
            message = _words(request, answer.status, str(content.get("message", "")))
            raise ApiError(host, request, answer.status, message)
        date = answer.headers.get("Date")
        # the schema's own endpoint answers with the document alone
        return Reply(content.get("data", content), parsedate_to_datetime(date) if date else None)

    def _untrusted(self, reason: str) -> str:
        found = _fingerprint_at(self.access.url)
        return f"the certificate is not trusted ({reason.strip('() ')[:120]}); its SHA-256 is {found or 'unknown'}"


_TRUST = "compare it on the appliance, then set pfsense_tls_fingerprint, or pfsense_tls_ca to the CA's file"
_PACKAGE = "install the package pfSense-pkg-RESTAPI 2.x (System > Package Manager or its releases page)"


def _words(request: Request, status: int, message: str) -> str:
    said = f"HTTP {status} {message}".strip()
    ways = {
        401: "the key is not accepted; not tried again, for pfSense locks out who fails often",
        403: f"the key's user lacks the privilege {request.privilege}",
        404: f"not there; this API has no {request.path}" if not request.body else "not there",
        409: "something else still uses it, or another change is under way",
        503: "the API is busy or switched off (System > REST API)",
    }
    return f"{said}: {ways[status]}" if status in ways else said


def _fingerprint_at(url: str) -> str:
    """The SHA-256 of the certificate that is shown there, empty when none is; nothing is sent."""
    parts = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname or "", parts.port or 443), timeout=10) as plain,
            context.wrap_socket(plain) as secured,
        ):
            certificate = secured.getpeercert(binary_form=True)
    except OSError:
        return ""
    return hashlib.sha256(certificate or b"").hexdigest()
