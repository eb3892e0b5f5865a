"""The wire to NetBox: lists read page by page in parallel, objects written in batches, errors as sentences.

pynetbox speaks (both kinds of token, the shape of pages); the session under it verifies certificates, gives
up in time, tries again only where the server itself failed, and can reach no host but the configured one.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from urllib.parse import urlsplit

import pynetbox
import requests
from pynetbox.core.query import AllocationError, ContentError, Request, RequestError
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from inventory.secrets import Source, Way, command_source, learn, secret_from
from vpnmesh.errors import UNREADABLE, InputError

URL_VARIABLE = "NETBOX_URL"
TOKEN_VARIABLE = "NETBOX_TOKEN"  # noqa: S105 - the variable's name, not a token
COMMAND_VARIABLE = "NETBOX_TOKEN_COMMAND"
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
# one worker of NetBox's works on all that it is sent at a time, and takes longer for it than one after the other
PARALLEL_REQUESTS = 2
BATCH = 100
MOST_PAGES = 10_000
"""Of one list: without an end to it, a count of any size would be asked for page by page."""

Row = Mapping[str, object]
Values = str | int | Sequence[str | int]
Call = Callable[[], list[Row]]


@dataclass(frozen=True, slots=True)
class Query:
    """One list to read: `dcim/devices`, the fields wanted of each row, and filters already checked."""

    path: str
    fields: str = ""
    filters: Mapping[str, Values] = field(default_factory=dict)


class _Session(requests.Session):
    """A session that gives up in time and counts what it sends."""

    def __init__(self, url: str, ca_bundle: str | None) -> None:
        super().__init__()
        retries = Retry(
            total=3,
            connect=0,
            read=0,
            other=0,
            respect_retry_after_header=False,
            status=3,
            status_forcelist=(500, 502, 503, 504),
            allowed_methods={"GET"},
            backoff_factor=0.3,
            raise_on_status=False,
        )
        # nothing is mounted for any other host: neither a `next` link nor a redirect can carry the token away
        self.adapters.clear()
        # lists that are read beside others wait for a connection: never more at once than these
        adapter = HTTPAdapter(max_retries=retries, pool_maxsize=PARALLEL_REQUESTS, pool_block=True)
        self.mount(f"{url}/", adapter)
        self.ca_bundle = ca_bundle
        # a callable here keeps `~/.netrc` from replacing the token
        self.auth = lambda request: request
        self.sent = 0

    def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:
        """Send with a timeout."""
        self.sent += 1
        options["timeout"] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
        if self.ca_bundle:
            # set here, because requests lets $REQUESTS_CA_BUNDLE overrule what its session was told
            options["verify"] = self.ca_bundle
        return super().send(request, **options)


class NetBox:
    """One NetBox server, as seen with one token; every failure is an InputError that names the URL."""

    def __init__(self, url: str, token: str, *, page_size: int = 1000, ca_bundle: str | None = None) -> None:
        self.url = _checked(url)
        self.page_size = page_size
        self.api = pynetbox.api(self.url, token=token)
        self.session = _Session(self.url, ca_bundle)
        self.api.http_session = self.session

    @classmethod
    def from_environment(
        cls, url: str | None = None, *, page_size: int = 1000, ca_bundle: str | None = None
    ) -> "NetBox":
        """The server in `$NETBOX_URL`, or at `url`, with the token of `$NETBOX_TOKEN`, of a command or a prompt."""
        url = url or os.environ.get(URL_VARIABLE, "")
        if not url:
            raise InputError(URL_VARIABLE, "not set", "export it, for example https://netbox.example.org")
        return cls(url, _token(), page_size=page_size, ca_bundle=ca_bundle)

    @property
    def sent(self) -> int:
        """How many requests were sent so far."""
        return self.session.sent

    def read(self, *queries: Query) -> tuple[list[Row], ...]:
        """The rows of each list, in the order of their ids; first pages in parallel, then all others."""
        with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
            first = list(pool.map(lambda query: self._page(query, 0), queries))
            pages = [
                [pool.submit(partial(self._page, query, offset)) for offset in _offsets(page)]
                for query, page in zip(queries, first, strict=True)
            ]
            answers = [
                [page, *(later.result() for later in more)] for page, more in zip(first, pages, strict=True)
            ]
        return tuple(self._joined(query, parts) for query, parts in zip(queries, answers, strict=True))

    def _joined(self, query: Query, pages: Sequence["_Page"]) -> list[Row]:
        rows = list(chain.from_iterable(page.rows for page in pages))
        if len({page.count for page in pages}) > 1 or len({row.get("id") for row in rows}) != pages[0].count:
            raise InputError(
                f"{self.url}: {query.path}", "the list changed while it was read", "run it again"
            )
        return rows

    def _page(self, query: Query, offset: int) -> "_Page":
        parameters = (
            dict(query.filters) | {"ordering": "id"} | ({"fields": query.fields} if query.fields else {})
        )
        request = Request(
            base=f"{self.api.base_url}/{query.path}/",
            http_session=self.session,
            token=self.api.token,
            filters=parameters,
            limit=self.page_size,
            offset=offset,
        )
        rows = self._answer(query.path, lambda: list(request.get()))
        if type(request.count) is not int or not all(
            isinstance(row, dict) and type(row.get("id")) is int for row in rows
        ):
            raise self._no_netbox(query.path)
        if request.count > MOST_PAGES * max(1, len(rows)):
            problem = f"tells of {str(request.count)[:20]} objects, and gives {len(rows)} at a time"
            raise InputError(
                f"{self.url}: {query.path}", problem, "is that NetBox, and its MAX_PAGE_SIZE right?"
            )
        return _Page(rows, request.count)

    def write(self, verb: str, path: str, batch: Sequence[Row], names: Sequence[str]) -> list[Row]:
        """POST, PATCH or DELETE up to BATCH objects in one request; `names` are what errors call them."""
        request = Request(
            base=f"{self.api.base_url}/{path}/", http_session=self.session, token=self.api.token
        )
        call = {"post": request.post, "patch": request.patch, "delete": request.delete}[verb]
        # a delete is answered with nothing, which pynetbox turns into True
        return self._answer(path, lambda: [] if (answer := call(list(batch))) is True else answer, names)

    def _answer(self, path: str, call: Call, names: Sequence[str] = ()) -> list[Row]:
        place = f"{self.url}: {path}"
        try:
            return call()
        except requests.exceptions.SSLError as error:
            way_out = "name the CA's file in $REQUESTS_CA_BUNDLE"
            raise InputError(self.url, f"certificate refused: {_short(error)}", way_out) from error
        except requests.exceptions.InvalidSchema as error:
            raise InputError(
                place, "answered with a link to another host or scheme", "correct the URL"
            ) from error
        except requests.exceptions.RequestException as error:
            raise InputError(
                self.url, f"no answer: {_short(error)}", "is the server up, the URL right?"
            ) from error
        except (RequestError, AllocationError) as error:
            raise self._refusal(place, error.req, names) from error
        except (ContentError, *UNREADABLE) as error:
            raise self._no_netbox(path) from error

    def _refusal(self, place: str, response: requests.Response, names: Sequence[str]) -> InputError:
        code = response.status_code
        if code in (requests.codes.unauthorized, requests.codes.forbidden):
            what = "write" if names else "read"
            return InputError(
                place, f"{code}: {_detail(response, names)}", f"may the token in $NETBOX_TOKEN {what} it?"
            )
        if code == requests.codes.not_found:
            return self._no_netbox(place.removeprefix(f"{self.url}: "))
        return InputError(place, f"{code}: {_detail(response, names)}")

    def _no_netbox(self, path: str) -> InputError:
        return InputError(self.url, f"is no NetBox: /api/{path}/ is not a list of objects", "correct the URL")


def _token() -> str:
    """The token of the variable, of the command in the other one, or of a prompt where there is a terminal."""
    if token := os.environ.get(TOKEN_VARIABLE, "").strip():
        return learn(token).reveal()
    if line := os.environ.get(COMMAND_VARIABLE, "").strip():
        return secret_from(command_source(line, COMMAND_VARIABLE), COMMAND_VARIABLE).reveal()
    if not sys.stdin.isatty():
        way_out = f"export an API token (one to read is enough), or in {COMMAND_VARIABLE} what prints one"
        raise InputError(TOKEN_VARIABLE, "not set", way_out)
    return secret_from(Source(Way.PROMPT, ("API token of NetBox",)), TOKEN_VARIABLE).reveal()


@dataclass(frozen=True, slots=True)
class _Page:
    rows: list[Row]
    count: int


def _offsets(first: _Page) -> range:
    """Where the other pages begin; the server may give smaller pages than it was asked for."""
    return range(len(first.rows), first.count, len(first.rows)) if first.rows else range(0)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username or parts.query or parts.fragment:
        raise InputError(
            URL_VARIABLE, f"'{url}' is no URL of a server", "write for example https://netbox.example.org"
        )
    return url.rstrip("/").removesuffix("/api")


def _detail(response: requests.Response, names: Sequence[str]) -> str:
    """NetBox's own words, behind the name of the object that they are about."""
    try:
        body = response.json()
    except ValueError:
        return str(response.reason)
    bad = body.get("errors") if isinstance(body, dict) else body
    if isinstance(bad, list):
        # NetBox 4.7 numbers the objects that failed; older ones list all, with nothing where all is well
        numbered = [(one.get("index", number), one.get("errors", one)) for number, one in enumerate(bad)]
        told = [f"{names[number]}: {_words(why)}" for number, why in numbered if why and number < len(names)]
        return "; ".join(told[:3])
    return _words(body)


def _words(reason: object) -> str:
    if isinstance(reason, Mapping):
        parts = (f"{key}: {_words(value)}" for key, value in reason.items())
        return "; ".join(part.removeprefix("detail: ").removeprefix("__all__: ") for part in parts)
    if isinstance(reason, list):
        return " ".join(map(_words, reason))
    return str(reason)


def _short(error: Exception) -> str:
    """The innermost reason of a connection that failed, without Python's dressing."""
    reason = error.args[0] if error.args else error
    reason = getattr(reason, "reason", reason)
    return str(reason).rsplit(">: ", 1)[-1].rsplit("): ", 1)[-1][:160]
