"""A control plane's REST interface, asked from its own node by curl: tokens stay in files there.

Observe and plan as everywhere: what is held is read and compared before anything is posted.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vpnmesh.errors import NO_JSON, CheckError
from vpnmesh.plan import Command, Completed, Fact, Plan, unified_diff

T = TypeVar("T")
Json = dict[str, object]

HTTP_ERROR = 22
"""curl's exit code for an HTTP status of 400 and above."""
_LIMIT_S = 5


@dataclass(frozen=True, slots=True)
class RestApi:
    """Where a REST interface is, and the file on its node that holds the authorisation header."""

    url: str
    header_file: str

    def get(self, path: str) -> Command:
        """Ask; a refusal or a missing thing is an answer too."""
        return Command(self._argv(path), timeout_s=_LIMIT_S + 2, ok=(0, HTTP_ERROR))

    def send(
        self, method: str, path: str, body: Mapping[str, object] | None = None, save: str = ""
    ) -> Command:
        """Change something; an HTTP error is a failure. `save` keeps the answer in a file of mode 0600."""
        options: tuple[str, ...] = ("-X", method)
        if body is not None:
            options = (*options, "-H", "Content-Type: application/json", "--data-binary", "@-")
        argv = self._argv(path, *options)
        if save:
            argv = (
                "sh",
                "-ec",
                'umask 077; f="$1"; shift; "$@" > "$f.new"; mv "$f.new" "$f"',
                "sh",
                save,
                *argv,
            )
        return Command(argv, stdin="" if body is None else json.dumps(body), timeout_s=_LIMIT_S + 2)

    def _argv(self, path: str, *options: str) -> tuple[str, ...]:
        return (
            "curl",
            "-sSf",
            "--max-time",
            str(_LIMIT_S),
            "-H",
            f"@{self.header_file}",
            *options,
            self.url + path,
        )


def answer(completed: Completed) -> object:
    """The JSON that was answered, None for an error or something else."""
    if completed.exit_code != 0:
        return None
    try:
        return json.loads(completed.stdout)
    except NO_JSON:
        return None


def records(found: object) -> list[Json]:
    """An answered list of objects; anything that is none is left out."""
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def held(api: RestApi, path: str, wanted: Mapping[str, object]) -> Fact[Plan]:
    """Ensure these values in the object at that path, by POST; other values of it stay as they are."""

    def plan(completed: Sequence[Completed]) -> Plan:
        found = answer(completed[0])
        values = found if isinstance(found, dict) else {}
        before = pretty({key: values.get(key) for key in wanted})
        if before == pretty(wanted):
            return Plan()
        return Plan((api.send("POST", path, wanted),), unified_diff(path, before, pretty(wanted)))

    return Fact((api.get(path),), plan)


def fields(text: str) -> Json:
    """The JSON object that a program printed; {} for a list, null, half an answer or other words."""
    try:
        found = json.loads(text)
    except NO_JSON:
        return {}
    return found if isinstance(found, dict) else {}


def field_of(text: str, *names: str) -> str:
    """A text inside the JSON object that a program printed; CheckError names what is missing in it."""
    found: object = fields(text)
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, str) or not found:
        raise CheckError("provision", f"no {'.'.join(names)} in the answer")
    return found


def asked(api: RestApi, paths: Sequence[str], parse: Callable[[Sequence[object]], T]) -> Fact[T]:
    """Several questions in one round trip, answered as JSON values."""
    return Fact(
        tuple(api.get(path) for path in paths), lambda completed: parse([answer(one) for one in completed])
    )


def pretty(value: object) -> str:
    """JSON as lines in one order, for comparing and for diffs."""
    return json.dumps(value, indent=2, sort_keys=True)
