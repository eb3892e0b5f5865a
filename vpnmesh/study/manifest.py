"""What a run is read with (`manifest.json`) as a typed record: request, surroundings, sessions, footprints.

The keys of the first session are the run's own and are on the top level, where readers look for them; each session
has all of its own under `sessions`. Keys that this version does not know are kept as they are.
"""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, JsonValue, StrictInt, ValidationError

from vpnmesh.cluster import PODS
from vpnmesh.documents.validation import first_problem
from vpnmesh.errors import InputError
from vpnmesh.frames.schemas import SCHEMA_VERSION
from vpnmesh.study.journal import NO_RUN

JsonObject = dict[str, JsonValue]
NodeFootprints = dict[str, dict[str, list[str]]]
"""What every node has that a run could leave behind: node, kind, sorted lines (`tasks.read_footprint`)."""


class ManifestPart(BaseModel):
    """A JSON object whose known keys have a type; only keys that were given are written."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def entries(self) -> dict[str, Any]:
        """The keys that were given, as plain values."""
        return self.model_dump(exclude_unset=True)

    def with_entries(self, entries: Mapping[str, object]) -> Self:
        """The same with these entries added or replaced."""
        return type(self).model_validate({**self.entries(), **entries})

    def lacking(self, entries: Mapping[str, object]) -> dict[str, object]:
        """Those of the entries that are not there yet."""
        mine = self.entries()
        return {name: value for name, value in entries.items() if name not in mine}


class Surroundings(ManifestPart):
    """All that must stay the same while a run goes on, and in what the nodes are not alike.

    `lab` is None on real machines; `cluster` is what puts Kubernetes there (runs made before there was a choice have
    none, and had none); `nodes` are the answers of each to the questions of `tasks.read_provenance`.
    """

    vpnmesh: str | None = None
    testbed: JsonObject = {}
    controller: dict[str, str] = {}
    engine: str | None = None
    cluster: str = PODS
    lab: JsonObject | None = None
    nodes: dict[str, dict[str, str]] = {}
    node_differences: list[str] = []


class RunSession(Surroundings):
    """One session of a run: when and how it was started, what it met, and what it changed on the nodes for its time.

    `unavailable_tests` are those whose programs were missing, with the reason: they have no row of results.
    `sysctls_before` are the nodes' own settings, written before they were changed; `sysctls_restored` says whether they
    were set again at the end. `adopted` says in what this session's surroundings were not those of the first one.
    `cleaned_at` is when `vpnmesh teardown` cleaned up after it.
    """

    started_at: str | None = None
    argv: list[str] = []
    git_commit: str | None = None
    python: str | None = None
    remarks: list[str] = []
    unavailable_tests: dict[str, str] = {}
    sysctls_before: dict[str, dict[str, str]] = {}
    sysctls_restored: bool | None = None
    adopted: list[str] = []
    footprint_before: NodeFootprints = {}
    footprint_after: NodeFootprints = {}
    footprint_differences: list[str] = []
    cleaned_at: str | None = None

    @property
    def left_nothing(self) -> bool:
        """Whether it is known that nothing of this session is on the nodes any more."""
        if self.cleaned_at:
            return True
        looked = "footprint_after" in self.model_fields_set and not self.footprint_differences
        return looked and self.sysctls_restored is not False


class Manifest(RunSession):
    """A run: what was asked for, and what its sessions met. `profile` and `scenarios` are judged by who reads them.

    `hosts` is how the nodes are reached, without secrets (`inventory.kept`).
    """

    schema_version: StrictInt = SCHEMA_VERSION
    packages: dict[str, str] = {}
    profile: JsonValue = None
    scenarios: object = None
    seed: StrictInt | None = None
    inventory: str | None = None
    allow_virtual_forwarding: bool = False
    hosts: JsonObject = {}
    sessions: list[RunSession] = []

    def entries(self) -> dict[str, Any]:
        """The keys that were given, and always the version."""
        return {"schema_version": self.schema_version, **super().entries()}

    def begun(self, session: RunSession, met: Surroundings) -> "Manifest":
        """With one session more; what the first one met becomes the run's own."""
        first = self.lacking(met.entries())
        return self.with_entries({**first, "sessions": [*self.sessions, session]})

    @property
    def former_sysctls(self) -> dict[str, dict[str, str]]:
        """The nodes' own settings that no session has set again: those of the earliest, for later ones met ours."""
        found: dict[str, dict[str, str]] = {}
        for session in self.sessions:
            for node, values in session.sysctls_before.items():
                found[node] = {**values, **found.get(node, {})}
            if session.sysctls_restored or session.cleaned_at:
                found = {}
        return found

    @property
    def not_left_clean(self) -> list[RunSession]:
        """The earlier sessions, beside the one under way, after which nobody has cleaned the nodes; in order."""
        found: list[RunSession] = []
        for session in self.sessions[:-1]:
            found = [] if session.left_nothing else [*found, session]
        return found

    @property
    def left_nothing(self) -> bool:
        """Whether nothing of the run can be on its nodes: no session began, or the last one left nothing."""
        return not self.sessions or self.sessions[-1].left_nothing

    def noted(self, entries: Mapping[str, object]) -> "Manifest":
        """With entries added to the session under way, and to the run itself where it has none of these yet."""
        *earlier, now = self.sessions or [RunSession()]
        first = self.lacking(entries)
        return self.with_entries({**first, "sessions": [*earlier, now.with_entries(entries)]})


def read_manifest(content: object, place: str) -> Manifest:
    """The manifest that a JSON value is; InputError names the place and the key, also for another schema version."""
    if not isinstance(content, Mapping):
        raise InputError(place, "not a manifest")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            place,
            f"a run of schema version {content.get('schema_version')}, this is {SCHEMA_VERSION}",
            "start a new run, or use the vpnmesh that made it",
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        key, problem = first_problem(error)
        raise InputError(f"{place}: {key}", problem, NO_RUN) from error


def grouped(reasons: Mapping[str, str]) -> list[str]:
    """One sentence per reason, with all scenarios that it keeps from being attempted."""
    together: dict[str, list[str]] = {}
    for scenario, reason in reasons.items():
        together.setdefault(reason, []).append(scenario)
    return [f"{', '.join(names)}: {reason}" for reason, names in together.items()]
