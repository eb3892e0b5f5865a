"""Impairing the measured pair for a while: set, read back, proven by a burst, and always lifted."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from nornir.core.task import Result

import tasks
from vpnmesh.cluster import PODS
from vpnmesh.errors import CheckError, InputError, UnavailableError, VpnmeshError
from vpnmesh.host.pods import POD, pod_address
from vpnmesh.impairment import burst
from vpnmesh.impairment.engine import Counters, Engine, Impairment, check_held, everywhere, impairment_for
from vpnmesh.impairment.engine import impairments_for as parts_for
from vpnmesh.impairment.expected import ways_crossed
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.impairment.nfqueue import NfqueueEngine
from vpnmesh.impairment.targets import Target
from vpnmesh.lab.nfqueue.build import binary_path
from vpnmesh.model import Condition, NodeKind, Pair, Place, Placement
from vpnmesh.tools.ping import PingSummary
from workflows.run.hosts import run_on
from workflows.run.site import Site

ENGINE_PATH = "/run/vpnmesh-engine/vpnmesh-nfq"
"""Where nodes get the lab's engine: they do not see every folder of the machine."""
RENEW_AFTER = 1 / 3
"""Which part of the deadman's time may pass before it is renewed."""

TRAINS = 3
"""How many trains of pings a limited rate is judged by at most."""

CHECK_EVERY_S = 15.0
"""How often an impairment that is held is read back."""

INSIDE_POD_NETWORK = (Place.VXLAN, Place.POD)
"""Places on devices that only a pod network brings."""

Keep = Callable[[str, str], object]


def _keep_nothing(_name: str, _text: str) -> None:
    """Keep nothing."""


@dataclass(slots=True)
class Impaired:
    """A condition that is set; `check` reads the kernel again and keeps the deadman quiet.

    `counters` are what the engine said it did, at the last check (None for an engine that counts nothing). `clean` and
    `burst` are the pings before and after it was set, which prove it; None without a condition. `impairment` is all of
    it, `parts` are what each target has of it.
    """

    site: Site
    engine: Engine
    parts: tuple[tuple[Target, Impairment], ...]
    impairment: Impairment
    counters: Counters | None = None
    clean: PingSummary | None = None
    burst: PingSummary | None = None
    _renewed: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raise CheckError unless every target holds exactly this impairment, in working order."""
        for target, part in self.parts:
            results = run_on(
                self.site.nr, [target.node], tasks.read_impairment, engine=self.engine, target=target
            )
            held = results[target.node].result
            check_held(held, part)
            self.counters = held.counters or self.counters
        if (
            self.impairment.condition
            and time.monotonic() - self._renewed > RENEW_AFTER * self.impairment.deadman_s
        ):
            self._renew()

    def _renew(self) -> None:
        for target, part in self.parts:
            parameters = {"engine": self.engine, "target": target, "impairment": part}
            run_on(self.site.nr, [target.node], tasks.renew_impairment, **parameters)
        self._renewed = time.monotonic()


def choose_engine(site: Site, pairs: Sequence[Pair] = (), *, impairing: bool = True) -> Engine:
    """The engine of this testbed, ready for these pairs (else its own); UnavailableError where there is none."""
    engine = find_engine(site, pairs, impairing=impairing)
    install(site, engine, pairs)
    return engine


def check_place(site: Site, engine: Engine, placement: Placement) -> None:
    """InputError for a place in the pods of a cluster that the lab's own engine cannot impair as it should.

    What waits in a queue of the IP layer belongs to a connection that is not tracked yet: of all that follows it until
    then the kernel keeps one, and drops the rest of a ping's packets (kube-proxy has connections tracked; 261 of 2000
    were lost with 50 ms). netem waits behind all that.
    """
    inside = site.installer is not None and placement.place in INSIDE_POD_NETWORK
    if inside and isinstance(engine, NfqueueEngine):
        raise InputError(
            "--placement",
            f"the lab's own engine cannot impair at {placement.place} in a cluster, whose connections are tracked",
            f"use --placement {Place.UNDERLAY}, a kernel with netem, or --cluster {PODS}",
        )


def find_engine(site: Site, pairs: Sequence[Pair] = (), *, impairing: bool = True) -> Engine:
    """Netem where the kernels of the firewall and of the pairs' ends have it, else the lab's own; nothing is changed.

    Raises UnavailableError where neither can be. Where nothing is to be impaired, netem's is the way to see that
    nothing is: qdiscs are read also by a kernel that has none of it.
    """
    names = _impairing(site, pairs)
    found = run_on(site.nr, names, tasks.has_netem)
    if all(result.result for result in found.values()):
        return NetemEngine()
    if any(site.testbed.node(name).kind is not NodeKind.NETNS for name in names):
        if not impairing:
            return NetemEngine()
        lacking = ", ".join(name for name, result in found.items() if not result.result)
        raise UnavailableError(f"no netem in the kernel of {lacking} (module sch_netem)")
    return NfqueueEngine(ENGINE_PATH)


def install(
    site: Site, engine: Engine, pairs: Sequence[Pair] = (), *, dry_run: bool = False
) -> dict[str, Result]:
    """Bring the lab's own engine to the nodes that impair; netem is in the kernel already."""
    if not isinstance(engine, NfqueueEngine):
        return {}
    try:
        program = binary_path().read_bytes()
    except OSError as error:
        raise UnavailableError("no netem in this kernel and no vpnmesh-nfq: run `make setup`") from error
    names = _impairing(site, pairs)
    return run_on(site.nr, names, tasks.install_engine, path=engine.binary, program=program, dry_run=dry_run)


def _impairing(site: Site, pairs: Sequence[Pair]) -> tuple[str, ...]:
    ends = (end for pair in pairs or site.testbed.pairs for end in (pair.client, pair.server))
    return (*dict.fromkeys(ends), site.testbed.firewall.name)


@contextlib.contextmanager
def impaired(
    site: Site,
    engine: Engine,
    condition: Condition,
    placement: Placement,
    seed: int = 1,
    keep: Keep = _keep_nothing,
    pair: Pair | None = None,
) -> Iterator[Impaired]:
    """Impair the pair (the testbed's, unless named), prove it by reading back and by a burst, and lift it at the end.

    `keep` gets what ping printed before and in the burst, by file name, before it is judged.
    """
    if condition:
        check_place(site, engine, placement)
    measured = pair or site.testbed.pairs[0]
    parts = parts_for(engine, site.testbed, measured, condition, placement, seed)
    targets = tuple(target for target, _ in parts)
    held = Impaired(site, engine, parts, impairment_for(condition, placement, seed))
    try:
        if condition:
            clean = held.clean = _ping(site, measured, placement, tasks.ping_address)
            keep("clean.txt", clean.text)
            for target, part in parts:
                parameters = {"engine": engine, "target": target, "impairment": part}
                run_on(site.nr, [target.node], tasks.set_impairment, **parameters)
            held.check()
            _check_burst(held, measured, placement, keep)
            _check_rate(held, measured, placement, keep)
        yield held
    finally:
        if condition:
            lift(site, engine, targets)


def _check_burst(held: Impaired, pair: Pair, placement: Placement, keep: Keep) -> None:
    """Prove loss and delay by a burst; where more is lost or late than was asked, again by slower ones, all kept."""
    condition, clean = held.impairment.condition, held.clean
    assert clean is not None
    for slower in burst.SLOWER:
        asked = {"condition": condition, "placement": placement, "slower": slower}
        seen = held.burst = _ping(held.site, pair, placement, tasks.ping_burst, asked)
        keep("burst.txt" if slower == 1 else f"burst-{slower}-times-slower.txt", seen.text)
        try:
            burst.check_burst(seen, condition, placement, clean)
        except CheckError as error:
            if not burst.may_be_the_pace(error, condition, slower):
                raise
        else:
            return


def _check_rate(held: Impaired, pair: Pair, placement: Placement, keep: Keep) -> None:
    """A limited rate lets no train of large pings through faster; the best of three, where loss may take the last."""
    condition, clean = held.impairment.condition, held.clean
    if clean is None or not any(way.rate_mbit_s for way in ways_crossed(condition, placement)):
        return
    found: CheckError | None = None
    for _ in range(TRAINS):
        asked = {"condition": condition, "placement": placement}
        seen = _ping(held.site, pair, placement, tasks.ping_train, asked)
        keep("train.txt", seen.text)
        try:
            burst.check_train(seen, condition, placement, clean)
        except CheckError as error:
            found = error
        else:
            return
    if found:
        raise found


def lift(site: Site, engine: Engine, targets: tuple[Target, ...]) -> None:
    """Clear these targets; what cannot be cleared becomes a complaint of the site."""
    try:
        run_on(
            site.nr,
            [target.node for target in targets],
            tasks.clear_impairment,
            engine=engine,
            targets=targets,
        )
    except VpnmeshError as error:
        site.complaints.append(str(error))


def hold(held: Impaired, seconds: float | None = None) -> None:
    """Keep it as it is for so long, for ever without `seconds`; CheckError as soon as the kernel holds another."""
    end = time.monotonic() + (math.inf if seconds is None else seconds)
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(CHECK_EVERY_S, left))
        held.check()


def show_impairment(
    site: Site, condition: Condition, placement: Placement, seed: int
) -> list[tuple[str, str]]:
    """What impairing would change, by node, as diffs; nothing is changed."""
    engine = find_engine(site)
    results = list(install(site, engine, dry_run=True).items())
    parts = parts_for(engine, site.testbed, site.testbed.pairs[0], condition, placement, seed)
    for target, wanted in parts:
        parameters = {"engine": engine, "target": target, "impairment": wanted, "dry_run": True}
        results += run_on(site.nr, [target.node], tasks.set_impairment, **parameters).items()
    return [(host, str(result.diff)) for host, result in results if result.diff]


def refuse_where_impaired(site: Site, engine: Engine) -> None:
    """InputError names a node that is impaired already: two at once would be neither of the two."""
    for target in everywhere(engine, site.testbed):
        found = run_on(site.nr, [target.node], tasks.read_impairment, engine=engine, target=target)
        if lines := found[target.node].result.lines:
            raise InputError(
                target.node,
                f"is impaired already ({lines[0]})",
                "let the run that does it end, or take away what a killed one left: vpnmesh teardown",
            )


def refuse_without_pods(site: Site, placement: Placement) -> None:
    """InputError where the placement is inside a pod network that is not there."""
    if placement.place not in INSIDE_POD_NETWORK:
        return
    ends = [site.testbed.client.name, site.testbed.server.name]
    for name, result in run_on(site.nr, ends, tasks.read_footprint).items():
        if POD not in {line.partition(" ")[0] for line in result.result["namespaces"]}:
            raise InputError(
                "--placement",
                f"{placement.place} is inside the pod network, and {name} has no pod",
                "take --placement underlay, or attach pods first (docs/repl.md)",
            )


def lift_everything(site: Site, engine: Engine) -> None:
    """Clear every place that any impairment of this testbed can be at."""
    lift(site, engine, everywhere(engine, site.testbed))


def _ping(
    site: Site,
    pair: Pair,
    placement: Placement,
    task: Callable[..., Result],
    asked: Mapping[str, object] = MappingProxyType({}),
) -> PingSummary:
    """Ping the way that is impaired, as it is judged by: node to node below the VPN, pod to pod inside it."""
    inside, server = burst.goes_between_pods(placement), site.testbed.node(pair.server)
    address = str(pod_address(site.testbed, server) if inside else server.underlay)
    results = run_on(site.nr, [pair.client], task, address=address, from_pod=inside, **asked)
    summary = results[pair.client].result
    if not isinstance(summary, PingSummary):
        raise CheckError("impairment", "no ping summary")
    return summary


def seed_for(run_seed: int, visit: int) -> int:
    """Another stream of random loss for every visit, the same in every run of one seed."""
    return run_seed * 1000 + visit
