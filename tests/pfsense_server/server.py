"""The HTTP side: keys and privileges, the package's answers, slow applies, and faults on request."""

import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from tests.pfsense_server.config import Config, ConflictError, InvalidError, Item, MissingError
from tests.pfsense_server.filter import State
from tests.pfsense_server.schema import RefusedError, Schema

LOCKED_OUT_AFTER = 3
_SECTIONS = {
    "/api/v2/firewall/rule": "rules",
    "/api/v2/firewall/alias": "aliases",
    "/api/v2/firewall/schedule": "schedules",
    "/api/v2/firewall/nat/outbound/mapping": "mappings",
}
_PLURALS = {
    "/api/v2/firewall/rules": "rules",
    "/api/v2/firewall/aliases": "aliases",
    "/api/v2/firewall/schedules": "schedules",
    "/api/v2/firewall/nat/outbound/mappings": "mappings",
}


class Kernel(Protocol):
    """Where loaded rules take effect."""

    def reload(self) -> None:
        """Load the configuration's rules."""

    def list_states(self) -> list[State]:
        """The states now."""

    def kill(self, source: str, destination: str) -> None:
        """End the states between two hosts."""


@dataclass
class Fault:
    """What goes wrong at the first call that fits: a status, or the connection cut before, in or after the work."""

    method: str
    path: str
    kind: str
    status: int = 500


@dataclass
class Call:
    """A call that arrived."""

    method: str
    path: str
    query: dict[str, str]
    status: int = 0


class CutError(Exception):
    """The connection ends here, without an answer."""


@dataclass
class Appliance:
    """The stand-in: configuration, kernel, who may call what, and what was called."""

    config: Config
    kernel: Kernel
    schema: Schema
    keys: dict[str, set[str]]
    apply_s: float = 0.0
    hidden: set[str] = field(default_factory=set)
    package: bool = True
    version: str = "2.8.1-RELEASE"
    package_version: str = "v2.9.0"
    faults: list[Fault] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    on_call: Callable[[int], None] = lambda _number: None
    refused_logins: int = 0

    def answer(self, call: Call, key: str, body: Any, content_type: str) -> tuple[int, Any, str]:
        """Status, data and message for a call."""
        if not self.package or call.path in self.hidden:
            return 404, None, "Not Found"
        if self.refused_logins >= LOCKED_OUT_AFTER:
            raise CutError
        privileges = self.keys.get(key)
        if privileges is None:
            self.refused_logins += 1
            return 401, None, "Authentication failed"
        name = call.path.strip("/").replace("/", "-").replace("_", "-") + f"-{call.method.lower()}"
        if not privileges & {"page-all", name}:
            return 403, None, f"requires privilege {name}"
        fault = self._fault(call)
        if fault and fault.kind == "status":
            return fault.status, None, "told to fail"
        if fault and fault.kind == "cut before":
            raise CutError
        result = self._judged(call, body, content_type, half=bool(fault and fault.kind == "cut in"))
        if fault:
            raise CutError
        return result

    def reload_on_the_quarter(self) -> None:
        """What cron does every fifteen minutes: schedules begin and end with it."""
        self.kernel.reload()

    def _fault(self, call: Call) -> Fault | None:
        for fault in self.faults:
            if (fault.method, fault.path) == (call.method, call.path):
                self.faults.remove(fault)
                return fault
        return None

    def _judged(self, call: Call, body: Any, content_type: str, *, half: bool) -> tuple[int, Any, str]:
        try:
            self.schema.check(call.method, call.path, call.query, body, content_type)
            return 200, self._work(call, body, half=half), ""
        except (RefusedError, InvalidError) as error:
            return 400, None, str(error)
        except MissingError as error:
            return 404, None, str(error)
        except ConflictError as error:
            return 409, None, str(error)

    def _work(self, call: Call, body: Any, *, half: bool) -> Any:
        if call.path in _SECTIONS:
            return self._singular(_SECTIONS[call.path], call, body)
        if call.path in _PLURALS:
            return self._plural(_PLURALS[call.path], call, half=half)
        special: dict[str, Callable[[Call, Any], Any]] = {
            "/api/v2/schema/openapi": lambda _call, _body: self._document(),
            "/api/v2/firewall/apply": self._apply,
            "/api/v2/firewall/states": self._states,
            "/api/v2/diagnostics/command_prompt": self._command,
            "/api/v2/firewall/nat/outbound/mode": lambda _call, _body: {"mode": self.config.nat_mode},
            "/api/v2/system/version": lambda _call, _body: {
                "version": self.version,
                "base": self.version.split("-")[0],
            },
            "/api/v2/system/restapi/version": lambda _call, _body: {"current_version": self.package_version},
            "/api/v2/diagnostics/config_history/revisions": lambda _call, _body: self.config.history,
            "/api/v2/system/timezone": lambda _call, _body: {"timezone": self.config.timezone},
        }
        if call.path not in special:
            raise MissingError(f"no endpoint {call.path}")
        return special[call.path](call, body)

    def _document(self) -> Item:
        """The schema of what this appliance has."""
        paths = {
            path: item for path, item in self.schema.document["paths"].items() if path not in self.hidden
        }
        return {**self.schema.document, "paths": paths}

    def _singular(self, section: str, call: Call, body: Any) -> Any:
        if call.method == "POST":
            made = self.config.create(
                section, {key: value for key, value in body.items() if key not in ("apply", "async")}
            )
            self._immediately(section)
            return made
        if call.method == "PATCH":
            changed = self.config.update(section, body["id"], body)
            self._immediately(section)
            return changed
        place = int(call.query["id"])
        if call.method == "DELETE":
            return self.config.delete(section, place)
        found = self.config.listed(section)
        if place >= len(found):
            raise MissingError(f"no object with id {place}")
        return found[place]

    def _plural(self, section: str, call: Call, *, half: bool) -> Any:
        if call.method not in ("GET", "DELETE"):
            raise InvalidError(f"{call.method} would replace all {section}: nobody should want that")
        filters = {key: value for key, value in call.query.items() if key not in ("limit", "offset")}
        found = [item for item in self.config.listed(section) if _fits(item, filters)]
        limit = int(call.query.get("limit", 0))
        found = found[:limit] if limit else found
        if call.method == "GET":
            return found
        if not filters:
            raise InvalidError("At least one query parameter is required to perform mass deletion.")
        # the package deletes one after another; a cut leaves the rest
        for item in sorted(found, key=lambda one: -one["id"])[: (len(found) + 1) // 2 if half else None]:
            self.config.delete(section, item["id"])
        self._immediately(section)
        return found

    def _immediately(self, section: str) -> None:
        """Schedules are applied at once, and with them whatever else was pending."""
        if section == "schedules":
            self._reload()

    def _apply(self, call: Call, body: Any) -> Item:
        if call.method == "POST":
            if (body or {}).get("async", True):
                threading.Timer(self.apply_s, self._reload).start()
            else:
                time.sleep(self.apply_s)
                self._reload()
        return {"applied": not self.config.dirty, "pending_subsystems": sorted(self.config.dirty)}

    def _reload(self) -> None:
        with self.config.lock:
            self.kernel.reload()
            self.config.dirty.clear()

    def _states(self, call: Call, _body: Any) -> list[Item]:
        filters = {key: value for key, value in call.query.items() if key not in ("limit", "offset")}
        if call.method == "DELETE" and not filters:
            raise InvalidError("At least one query parameter is required to perform mass deletion.")
        listed = [
            {
                "id": place,
                "interface": "all",
                "protocol": one.protocol,
                "source": one.source,
                "destination": one.destination,
            }
            for place, one in enumerate(self.kernel.list_states())
        ]
        found = [item for item in listed if _fits(item, filters)]
        limit = int(call.query.get("limit", 100))
        found = found[:limit] if limit else found
        if call.method == "DELETE":
            for item in found:
                # as the package does: whatever stands before the first colon, which is no IPv6 address
                self.kernel.kill(str(item["source"]).split(":")[0], str(item["destination"]).split(":")[0])
        return found

    def _command(self, _call: Call, body: Any) -> Item:
        rules = getattr(self.kernel, "rules", None) or ()
        if body["command"] != "pfctl -sr":
            raise InvalidError("the stand-in knows no other command")
        lines = [f'{rule.action} in quick ... label "USER_RULE: {rule.descr}"' for rule in rules]
        return {"output": "\n".join(lines), "result_code": 0}


def _written(path: str, status: int, data: Any, message: str, *, web: bool) -> tuple[bytes, str]:
    """An answer's text and type: the package's envelope, the schema bare, or the web server's own page."""
    if web:
        return b"<html>404 Not Found</html>", "text/html"
    word = HTTPStatus(status).phrase
    envelope = {"code": status, "status": word.lower(), "response_id": word.upper().replace(" ", "_")}
    whole = {**envelope, "message": message, "data": data if data is not None else []}
    bare = path == "/api/v2/schema/openapi" and status == HTTPStatus.OK
    return json.dumps(data if bare else whole).encode(), "application/json"


def _fits(item: Item, filters: dict[str, str]) -> bool:
    for key, wanted in filters.items():
        name, _, kind = key.partition("__")
        value = str(item.get(name, ""))
        tests = {"": value == wanted, "exact": value == wanted, "startswith": value.startswith(wanted)}
        tests |= {"contains": wanted in value, "endswith": value.endswith(wanted)}
        if not tests[kind]:
            return False
    return True


def serve(
    appliance: Appliance, address: tuple[str, int], certificate: Path | None = None
) -> ThreadingHTTPServer:
    """A server that answers for the appliance in threads of its own; `certificate` holds key and certificate."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # one packet per answer: headers and body apart would wait 40 ms for each other
        wbufsize = 1 << 16

        def do_GET(self) -> None:
            self._handle()

        do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815 - the base class's names

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            call = Call(self.command, parts.path, dict(parse_qsl(parts.query)))
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            appliance.on_call(len(appliance.calls))
            appliance.calls.append(call)
            try:
                body = json.loads(raw) if raw else None
                key = self.headers.get("X-API-Key", "")
                status, data, message = appliance.answer(
                    call, key, body, self.headers.get("Content-Type", "")
                )
            except CutError:
                self.close_connection = True
                self.connection.close()
                return
            call.status = status
            self._reply(status, data, message)

        def _reply(self, status: int, data: Any, message: str) -> None:
            text, kind = _written(urlsplit(self.path).path, status, data, message, web=not appliance.package)
            self.send_response_only(status)
            self.send_header("Date", formatdate(appliance.config.clock(), usegmt=True))
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(address, Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
