"""How thorough a run is: scenarios, conditions, tests, and how often and how long each is measured (section 3.3)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from vpnmesh.cluster import INSTALLERS, PODS
from vpnmesh.errors import InputError, UnknownNameError
from vpnmesh.measurements import measurement_named
from vpnmesh.measurements.protocol import Settings
from vpnmesh.model import Condition, Placement
from vpnmesh.study.pairs import FIXED, PairChoice
from vpnmesh.study.scenarios import Catalogue

MAX_REPETITIONS = 10_000
"""A hundred times the paper's; more is a slip of the finger."""

MAX_DURATION_S = 86_400
"""The longest that iperf3 takes (its MAX_TIME)."""

MAX_SHARE_PCT = 100

MAX_REQUESTS = 100_000
"""Twenty times the paper's; by the clock they take nearly three hours."""

DEFAULT_PLACEMENT = Placement()


@dataclass(frozen=True, slots=True)
class OwnRules:
    """What holds for one test instead of what the profile says for all: how often in the whole run, and where."""

    repetitions: int | None = None
    conditions: tuple[Condition, ...] | None = None


AS_ALL = OwnRules()


@dataclass(frozen=True, slots=True)
class Profile:
    """How thorough a run is; durations in seconds, the omitted second not counted.

    `conditions_asked` says that somebody named the conditions: then a budget drops none of them. `adaptive` stops each
    pair of scenarios when it is decided: they differ, or they are equal within `margin_pct` of the larger mean; then
    `repetitions_*` are those of one visit, and `blocks` the fewest visits. `precision_pct` goes on instead until the
    limits of every ratio are so near to it. `pairs` says which pairs of members are measured; a plan is made of the
    pairs themselves. `steady` counts a flow from when it is steady, else after exactly `omit_s`, as the paper does.
    `cluster` is the installer that puts Kubernetes over every scenario, PODS for none.
    `api_requests` and `hey_requests` are those of one repetition of the API tests, and `own` are rules of single tests.
    """

    name: str
    scenarios: tuple[str, ...]
    conditions: tuple[Condition, ...]
    tests: tuple[str, ...]
    repetitions_clean: int
    repetitions_impaired: int
    duration_s: int
    blocks: int
    placement: Placement = DEFAULT_PLACEMENT
    omit_s: int = 1
    congestion: str = "cubic"
    udp_rate: str = "0"
    udp_window: str = ""
    budget_min: float | None = None
    conditions_asked: bool = False
    adaptive: bool = False
    margin_pct: float = 2.0
    precision_pct: float | None = None
    pairs: PairChoice = FIXED
    steady: bool = True
    cluster: str = PODS
    api_requests: int = 300
    hey_requests: int = 5000
    own: Mapping[str, OwnRules] = field(default_factory=dict)

    def repetitions_of(self, test: str, condition: Condition) -> int:
        """How often a cell of that test is repeated in the whole run; in an adaptive one, at least."""
        own = self.own.get(test, AS_ALL).repetitions
        return self.repetitions(condition) if own is None else own

    def asks(self, test: str, condition: Condition) -> bool:
        """Whether the profile has that test under the condition; who names conditions has all of them."""
        own = self.own.get(test, AS_ALL).conditions
        return own is None or self.conditions_asked or condition in own

    def repetitions(self, condition: Condition) -> int:
        """How often a cell under that condition is repeated; in an adaptive run, at least."""
        asked = self.repetitions_impaired if condition else self.repetitions_clean
        return asked * self.blocks if self.adaptive else asked

    def of_a_visit(self, condition: Condition) -> int:
        """How often an adaptive run repeats a cell under that condition in each visit."""
        return self.repetitions(condition) // self.blocks

    @property
    def settings(self) -> Settings:
        """What every measurement is told."""
        return Settings(
            self.duration_s,
            self.omit_s,
            self.congestion,
            self.udp_rate,
            self.udp_window,
            self.steady,
            self.api_requests,
            self.hey_requests,
        )


def check_profile(profile: Profile, catalogue: Catalogue) -> None:
    """InputError for a figure that no run can have, and for names that nobody knows."""
    for scenario in profile.scenarios:
        catalogue.named(scenario, f"profile {profile.name}: scenarios")
    for test in profile.tests:
        measurement_named(test)
    check_cluster(profile.cluster)
    if not profile.conditions or not profile.tests or not profile.scenarios:
        raise InputError("matrix", "nothing to do", "name at least one scenario, condition and test")
    _check_counts(profile)
    _check_shares(profile)


def check_cluster(name: str, place: str = "--cluster") -> None:
    """UnknownNameError, with the known ones, for what neither is an installer nor says that there is none."""
    if name != PODS and name not in INSTALLERS:
        raise UnknownNameError(place, "cluster", name, [PODS, *INSTALLERS])


def _check_counts(profile: Profile) -> None:
    for option, value, most in (
        ("--repetitions", profile.repetitions_clean, MAX_REPETITIONS),
        ("--repetitions", profile.repetitions_impaired, MAX_REPETITIONS),
        ("--duration", profile.duration_s, MAX_DURATION_S),
        ("--blocks", profile.blocks, MAX_REPETITIONS),
        ("--requests", profile.api_requests, MAX_REQUESTS),
        ("--requests", profile.hey_requests, MAX_REQUESTS),
    ):
        if value < 1:
            raise InputError(option, f"{value} is less than 1")
        if value > most:
            raise InputError(option, f"{value} is more than {most}")


def _check_shares(profile: Profile) -> None:
    budget = profile.budget_min
    if budget is not None and not 0 < budget < math.inf:
        raise InputError("--budget", f"{budget:g} is no number of minutes above 0")
    for option, share in (("--margin", profile.margin_pct), ("--precision", profile.precision_pct)):
        if share is not None and not 0 < share < MAX_SHARE_PCT:
            raise InputError(option, f"{share:g} is no percentage between 0 and {MAX_SHARE_PCT}")
