"""The profiles of a run, read from YAML: those that ship, and one of a user's own file (docs/scenarios.md)."""

from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from vpnmesh.cluster import PODS
from vpnmesh.documents.checked import checked, shown
from vpnmesh.documents.names import slug_problem
from vpnmesh.documents.yaml_text import parse_yaml
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.measurements import measurement_named
from vpnmesh.model import Condition, End, Place, Placement
from vpnmesh.study.pairs import FIXED, PairChoice
from vpnmesh.study.profile import (
    DEFAULT_PLACEMENT,
    MAX_DURATION_S,
    MAX_REPETITIONS,
    MAX_REQUESTS,
    OwnRules,
    Profile,
)

T = TypeVar("T")
PAGE = "docs/scenarios.md"
MAX_LIMIT_PACKETS = 10_000_000
"""The longest queue that both engines take."""
MAX_OMIT_S = 60
"""The longest that iperf3 omits (its MAX_OMIT_TIME)."""
_READ_HERE = {"variant_of", "scenarios", "conditions", "tests", "placement", "pairs", "own"}
"""The keys that are more than their values as written."""
_RATE = r"^[0-9]+(\.[0-9]+)?[KMG]?$"

Count = Annotated[int, Field(strict=True, ge=1, le=MAX_REPETITIONS)]
Requests = Annotated[int, Field(strict=True, ge=1, le=MAX_REQUESTS)]
Names = tuple[StrictStr, ...]


class _OwnKeys(BaseModel):
    """What one test has otherwise."""

    model_config = ConfigDict(extra="forbid")

    repetitions: Count | None = None
    conditions: Names | None = None


class _Keys(BaseModel):
    """The keys of a profile; what a variant leaves out comes from the profile that it names."""

    model_config = ConfigDict(extra="forbid")

    variant_of: StrictStr = ""
    scenarios: Names
    conditions: Names
    tests: Names
    repetitions_clean: Count
    repetitions_impaired: Count
    duration_s: Annotated[int, Field(strict=True, ge=1, le=MAX_DURATION_S)]
    blocks: Count
    placement: StrictStr = str(DEFAULT_PLACEMENT)
    omit_s: Annotated[int, Field(strict=True, ge=0, le=MAX_OMIT_S)] = 1
    congestion: Annotated[StrictStr, Field(pattern=r"^[a-z0-9_-]{1,15}$")] = "cubic"
    udp_rate: Annotated[StrictStr, Field(pattern=_RATE)] = "0"
    udp_window: Annotated[StrictStr, Field(pattern=rf"^$|{_RATE}")] = ""
    budget_min: Annotated[StrictInt | StrictFloat, Field(gt=0)] | None = None
    adaptive: StrictBool = False
    margin_pct: Annotated[StrictInt | StrictFloat, Field(gt=0, lt=100)] = 2.0
    precision_pct: Annotated[StrictInt | StrictFloat, Field(gt=0, lt=100)] | None = None
    pairs: StrictStr = str(FIXED)
    steady: StrictBool = True
    cluster: StrictStr = PODS
    api_requests: Requests = 300
    hey_requests: Requests = 5000
    own: dict[StrictStr, _OwnKeys] = {}


Written = Mapping[str, Mapping[str, object]]
"""Profiles by name, as their keys were written, with all that a variant inherits."""


def profiles_of(data: bytes, place: str, known: Written | None = None) -> dict[str, dict[str, object]]:
    """The keys of every profile of a file; a variant is one of these, of those before it or of the known ones."""
    written = parse_yaml(data, place)
    if not isinstance(written, Mapping) or not written:
        raise InputError(place, "holds no profile", f"write NAME: and its keys below it, as in {PAGE}")
    found: dict[str, dict[str, object]] = {}
    for name, keys in written.items():
        where = f"{place}: {shown(name)}" if not isinstance(name, str) else f"{place}: {name}"
        if not isinstance(name, str) or slug_problem(name):
            raise InputError(where, "is no name: up to 100 letters, digits and . _ - only")
        if known and name in known:
            raise InputError(where, "is there already", "give it a name of its own")
        if not isinstance(keys, Mapping):
            raise InputError(where, "holds no keys", f"known are: {', '.join(_Keys.model_fields)}")
        found[name] = _completed(keys, {**(known or {}), **found}, where)
        profile_from(name, found[name], where)
    return found


def profile_from(name: str, keys: Mapping[str, object], where: str) -> Profile:
    """The profile of these keys; InputError names the key that is wrong. Scenarios and tests are looked up later."""
    written = checked(_Keys, keys, where, PAGE)
    values = written.model_dump(exclude=_READ_HERE)
    return Profile(
        name=name,
        scenarios=tuple(dict.fromkeys(written.scenarios)),
        conditions=_each(Condition.parse, written.conditions, f"{where}: conditions"),
        tests=tuple(dict.fromkeys(written.tests)),
        placement=parse_placement(written.placement, DEFAULT_PLACEMENT, f"{where}: placement"),
        pairs=PairChoice.parse(written.pairs, f"{where}: pairs"),
        own={test: _own(rules, f"{where}: own: {test}") for test, rules in written.own.items()},
        **values,
    )


def _own(written: _OwnKeys, where: str) -> OwnRules:
    listed = written.conditions
    return OwnRules(
        written.repetitions,
        None if listed is None else _each(Condition.parse, listed, f"{where}: conditions"),
    )


def profile_of_file(data: bytes, place: str) -> Profile:
    """The one profile of a user's file."""
    found = profiles_of(data, place, _BUILT_IN)
    if len(found) > 1:
        raise InputError(place, f"holds {len(found)} profiles", "write each into a file of its own")
    ((name, keys),) = found.items()
    profile = profile_from(name, keys, f"{place}: {name}")
    _each(parse_test, (*profile.tests, *profile.own), f"{place}: {name}: tests")
    return profile


def profile_named(name: str) -> Profile:
    """The profile of that name that ships with the package; UnknownNameError lists the known ones."""
    try:
        return PROFILES[name]
    except KeyError:
        raise UnknownNameError("--profile", "profile", name, list(PROFILES)) from None


def parse_test(name: str, place: str = "--tests") -> str:
    """The test of that name; UnknownNameError lists the known ones."""
    return measurement_named(name, place).name


def parse_placement(text: str, default: Placement, where: str = "--placement") -> Placement:
    """Read `PLACE[:END][:LIMIT]`, e.g. `vxlan`, `underlay:both`, `underlay:client:1000`, `pod:server:auto`."""
    place, end, limit, *more = [*text.split(":"), "", ""]
    try:
        wanted = Placement(Place(place), End(end) if end else default.end, _limit(limit, default.limit))
    except ValueError:
        wanted = None
    # the two that were added above are all that may be left over
    if wanted is None or any(more):
        raise InputError(
            where,
            f"'{text}' is not PLACE[:END][:LIMIT]",
            f"places: {', '.join(Place)}; ends: {', '.join(End)}; "
            f"limit: 1 to {MAX_LIMIT_PACKETS} packets, or auto",
        )
    return wanted


def _completed(keys: Mapping[object, object], known: Written, where: str) -> dict[str, object]:
    written = {str(key): value for key, value in keys.items()}
    base = written.get("variant_of")
    if base is None:
        return written
    if not isinstance(base, str) or base not in known:
        raise UnknownNameError(f"{where}: variant_of", "profile", str(base), list(known))
    return {**known[base], **written}


def _each(read: Callable[[str], T], names: Iterable[str], where: str) -> tuple[T, ...]:
    """Every value once; a wrong one is told with the place where it was written."""
    try:
        return tuple(dict.fromkeys(read(name) for name in names))
    except InputError as error:
        raise InputError(where, error.problem, error.way_out) from None


def _limit(text: str, default: int | None) -> int | None:
    """Packets, None for auto; ValueError for what is neither."""
    if text in ("", "auto"):
        return default if not text else None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_LIMIT_PACKETS):
        raise ValueError(text)
    return int(text)


_BUILT_IN = profiles_of(
    resources.files("vpnmesh.study").joinpath("profiles.yaml").read_bytes(), "profiles.yaml"
)
PROFILES = {name: profile_from(name, keys, f"profiles.yaml: {name}") for name, keys in _BUILT_IN.items()}
"""What ships with the package."""
