"""pfSense by its REST API: the driver that makes the calls which `vpnmesh.firewall.pfsense_rest` decides on."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nornir.core.inventory import Host

from tasks.firewall.driver import ApiRemark, FirewallDriver, FirewallJob, Say
from tasks.firewall.pfsense_api import ApiError, CutError, PfsenseApi, Reply, access
from vpnmesh.errors import CheckError, UnavailableError
from vpnmesh.firewall import pfsense_rest as rest
from vpnmesh.firewall import pfsense_states as states
from vpnmesh.firewall.pfsense_config import LIFETIME, PfsenseConfig, differences, ends_after
from vpnmesh.firewall.pfsense_objects import Mark, PfsenseObjects, Schedule, lease, objects
from vpnmesh.firewall.pfsense_requirements import SCHEMA, api_gaps, package_gap, privileges
from vpnmesh.firewall.pfsense_rest import ChangePlan, Request
from vpnmesh.firewall.policy import Ruleset
from vpnmesh.lab.waiting import wait_until
from vpnmesh.model import Testbed

APPLY_DEADLINE_S = 300.0
_ATTEMPTS = 3
_ROUNDS = 5
_IN_FLIGHT_S = 1.0
_ABSENT = (403, 404)
NO_EXPIRY = (
    "the rules will not end by themselves, since this API has no schedules or no clock for us: after a crash"
    " they stay until `python -m workflows.teardown --run {run}`"
)


@dataclass(frozen=True, slots=True)
class PfsenseRest:
    """A firewall behind the REST API, for one run. `say` takes what a person must know before the first write."""

    api: PfsenseApi
    testbed: Testbed
    mark: Mark
    say: Say
    lifetime: timedelta = LIFETIME
    loaded_check: bool = False

    def observe(self) -> PfsenseConfig:
        """All sections that a change can touch; sections that this API does not have, or not for us, are None."""
        rules, aliases = (rest.entries(self.api.send(request).data) for request in rest.OBSERVE)
        schedules, mappings, mode = (self._maybe(request) for request in rest.OBSERVE_BEYOND)
        zone = self._maybe(Request("GET", rest.TIMEZONE, why="read the time zone")) if schedules else None
        return PfsenseConfig(
            rules,
            aliases,
            rest.entries(schedules.data) if schedules else None,
            rest.entries(mappings.data) if mappings else None,
            str(mode.data["mode"]) if mode and isinstance(mode.data, dict) and "mode" in mode.data else None,
            _local_time(zone, schedules, mappings, mode),
        )

    def holds(self, held: PfsenseConfig) -> bool:
        """Whether anything of this run is there."""
        return bool(held.marked(self.mark.prefix))

    def snapshot(self, held: PfsenseConfig) -> Mapping[str, object]:
        """All objects that are not this run's."""
        return held.without(self.mark).snapshot()

    def revision(self, held: PfsenseConfig) -> str:
        """The newest entry of pfSense's history where the API shows it, and a digest of the configuration as it was."""
        digest = hashlib.sha256(json.dumps(held.snapshot(), sort_keys=True).encode()).hexdigest()[:16]
        try:
            history = self.api.send(Request("GET", rest.REVISIONS, why="read the revisions")).data
        except ApiError:
            # absent, not for us, or broken (pfSense Plus 25.11 answers 500): nothing that a change depends on
            history = None
        return f"{rest.newest_revision(history)} sha256:{digest}".strip()

    def plan(self, held: PfsenseConfig, wanted: Ruleset) -> ChangePlan:
        """The calls, checked against what the firewall holds and what its API can do."""
        made = objects(wanted, self.testbed, self.mark, schedule=held.expires) if wanted else PfsenseObjects()
        self._check_nat(held, made)
        schedule = lease(held.local_time, self.lifetime, self.mark) if wanted and held.local_time else None
        schedule = schedule if held.expires else None
        plan = rest.plan(held, made, self.mark, schedule)
        if plan and wanted and not held.expires:
            self.say(NO_EXPIRY.format(run=self.mark.run))
        if plan and not held.marked(self.mark.prefix):
            self._check_nothing_pending()
        if not plan and schedule and (renewal := self._renewal(held, schedule)):
            return ChangePlan((renewal,), f"firewall policy {wanted.name}: renewed")
        return plan

    def apply(self, plan: ChangePlan, wanted: Ruleset) -> None:
        """Make the calls in order, each brought to a known end before the next; then end old states."""
        for request in plan.requests:
            self._settle(request)
        if rest.APPLY_NOW in plan.requests:
            self._end_states(plan.requests, states.kill_states(wanted, self.testbed))

    def verify(self, wanted: Ruleset) -> None:
        """Our objects are there, in order; nothing pends; the schedule counts; if we may look, the rules are loaded."""
        held = self.observe()
        made = objects(wanted, self.testbed, self.mark, schedule=held.expires) if wanted else PfsenseObjects()
        rest.check_held(held, made, self.mark)
        self._await_applied()
        if held.expires and wanted:
            self._check_schedule()
        if self.loaded_check:
            self._check_loaded(made)

    def roll_back(self, snapshot: Mapping[str, object] | None) -> bool:
        """Delete what this run made, load, and compare with the snapshot; CheckError says what differs.

        pfSense goes on with a call whose caller is dead, so what appears meanwhile is deleted in another round.
        """
        anything = self._delete_all(load_anyway=snapshot is not None)
        for _ in range(_ROUNDS):
            after = self.observe()
            if not after.marked(self.mark.prefix):
                break
            time.sleep(_IN_FLIGHT_S)
            anything |= self._delete_all(load_anyway=True)
        if after.marked(self.mark.prefix):
            raise CheckError("firewall", f"after the roll back objects of run {self.mark.run} are left")
        if snapshot is not None and (different := differences(snapshot, after.snapshot())):
            raise CheckError(
                "firewall", f"after the roll back these differ from the snapshot: {'; '.join(different)}"
            )
        return anything

    def _delete_all(self, *, load_anyway: bool) -> bool:
        """Delete this run's objects and load; `load_anyway`: a deletion that was not loaded yet may be our own."""
        requests = rest.roll_back(self.observe(), self.mark)
        pending = not requests and load_anyway and self._pending()
        for request in (*requests, *((rest.APPLY_NOW,) if pending else ())):
            self._settle(request)
        if requests or pending:
            self._await_applied()
            self._end_states(requests, ())
        return bool(requests)

    def _end_states(self, made: tuple[Request, ...], blocked: tuple[Request, ...]) -> None:
        """End the states of what is now blocked, and all of our nodes' where a translation was taken away."""
        untranslated = any(request.path == rest.MAPPINGS for request in made)
        for request in states.kill_all_states(self.testbed) if untranslated else blocked:
            self._settle(request)

    def _settle(self, request: Request) -> None:
        """Make a call whose connection may be cut: look whether it took effect before it is made again."""
        for attempt in range(_ATTEMPTS):
            try:
                self.api.send(request)
            except CutError:
                if attempt == _ATTEMPTS - 1:
                    raise
            except ApiError as error:
                if error.status < 500 or attempt == _ATTEMPTS - 1:  # noqa: PLR2004 - HTTP: the server's own fault
                    raise
            else:
                return
            if self._took_effect(request):
                return

    def _took_effect(self, request: Request) -> bool:
        """Whether a call that got no answer did its work; deletions by query and loading can simply be repeated."""
        if request.path == rest.APPLY:
            return not self._pending()
        if request.method != "POST" or request.body is None:
            return False
        plural = {
            rest.RULE: rest.RULES,
            rest.ALIAS: rest.ALIASES,
            rest.SCHEDULE: rest.SCHEDULES,
            rest.MAPPING: rest.MAPPINGS,
        }
        look = Request("GET", plural[request.path], why="see whether the call took effect")
        found = rest.entries(self.api.send(look).data)
        return any(entry.descr == request.body["descr"] for entry in found)

    def _await_applied(self) -> None:
        if not wait_until(lambda: not self._pending(), APPLY_DEADLINE_S, 1.0):
            raise CheckError("firewall", f"changes are still pending after {APPLY_DEADLINE_S:.0f} s")

    def _pending(self) -> bool:
        data = self.api.send(rest.APPLIED).data
        return isinstance(data, dict) and data.get("applied") is False

    def _check_nothing_pending(self) -> None:
        if self._pending():
            raise CheckError(
                "firewall",
                "somebody's changes wait for Apply Changes; loading ours would load theirs: settle them first",
            )

    def _check_nat(self, held: PfsenseConfig, wanted: PfsenseObjects) -> None:
        if not wanted.mappings:
            return
        if held.mappings is None:
            raise UnavailableError("this pfSense's API has no outbound NAT for our key; the policy needs it")
        if held.nat_mode not in ("hybrid", "advanced"):
            raise CheckError(
                "firewall",
                f"outbound NAT is {held.nat_mode}: mappings would be ignored; set Firewall > NAT > Outbound to Hybrid",
            )

    def _check_schedule(self) -> None:
        data = self.api.send(
            Request("GET", rest.SCHEDULES, (("name", self.mark.name),), why="see the schedule")
        ).data
        found = data[0] if isinstance(data, list) and data else {}
        if found.get("active") is not True:
            raise CheckError(
                "firewall", "the schedule of the rules does not count now: is the firewall's clock right?"
            )

    def _check_loaded(self, wanted: PfsenseObjects) -> None:
        """A rule whose alias cannot be resolved stays in the configuration and is not loaded."""
        body = {"command": "pfctl -sr"}
        data = self.api.send(Request("POST", rest.COMMAND, body=body, why="list the loaded rules")).data
        text = str(data.get("output", "")) if isinstance(data, dict) else ""
        if missing := [rule.descr for rule in wanted.rules if rule.descr not in text]:
            raise CheckError("firewall", f"in the configuration and yet not loaded: {missing[0]}")

    def _renewal(self, held: PfsenseConfig, schedule: Schedule) -> Request | None:
        """The call that lets the rules hold longer, once half of their time has gone."""
        ours = held.schedule_of(self.mark)
        if ours is None or held.local_time is None:
            return None
        half = lease(held.local_time, self.lifetime / 2, self.mark)
        return None if ends_after(ours.fields, half) else rest.patch_schedule(ours.place, schedule)

    def _maybe(self, request: Request) -> Reply | None:
        try:
            return self.api.send(request)
        except ApiError as error:
            if error.status in _ABSENT:
                return None
            raise


def _local_time(zone: Reply | None, *others: Reply | None) -> datetime | None:
    """The firewall's clock in its own time zone, by the newest answer; None where the API names no known zone."""
    moments = [reply.date for reply in (zone, *others) if reply and reply.date]
    if not (zone and isinstance(zone.data, dict) and moments):
        return None
    try:
        return max(moments).astimezone(ZoneInfo(str(zone.data.get("timezone"))))
    except (ZoneInfoNotFoundError, ValueError):
        return None


def _session(job: FirewallJob) -> PfsenseRest:
    host = job.task.host
    check = host.get("pfsense_command_prompt") is True
    return PfsenseRest(PfsenseApi(access(host)), job.testbed, job.mark, job.say, loaded_check=check)


def _address(host: Host) -> str:
    return access(host).url


def examine(host: Host) -> Iterator[ApiRemark]:
    """Compare what this appliance's API can do with what the driver needs; nothing is written."""
    api = PfsenseApi(access(host))
    try:
        for request in rest.OBSERVE:
            api.send(request)
            yield ApiRemark(f"ok: {request.why}")
        yield from _compare(api)
    except CheckError as error:
        yield ApiRemark(str(error), fatal=True)
    yield ApiRemark(f"least privileges: {', '.join(privileges())}")


def _compare(api: PfsenseApi) -> Iterator[ApiRemark]:
    package = _version(api, rest.PACKAGE, "current_version")
    yield ApiRemark(f"pfSense: {_version(api, rest.VERSION, 'version')}")
    yield ApiRemark(f"REST API package: {package}")
    try:
        document = api.send(Request("GET", SCHEMA, why="read the API's schema")).data
    except ApiError as error:
        yield ApiRemark(f"the schema cannot be compared: {error}", fatal=True)
        return
    for gap in api_gaps(document if isinstance(document, dict) else {}):
        yield ApiRemark(f"{'MISSING' if gap.fatal else 'without'}: {gap.text}", gap.fatal)
    if old := package_gap(package):
        yield ApiRemark(f"{'WRONG' if old.fatal else 'note'}: {old.text}", old.fatal)


def _version(api: PfsenseApi, path: str, key: str) -> str:
    try:
        data = api.send(Request("GET", path, why="read the version")).data
    except ApiError as error:
        return f"unknown ({error})"
    return str(data.get(key)) if isinstance(data, dict) else "unknown"


DRIVER = FirewallDriver(
    "pfsense-rest",
    "pfSense with the package pfSense-pkg-RESTAPI",
    _session,
    is_appliance=True,
    by_ssh=False,
    address=_address,
    examine=examine,
    entry={"data": {"pfsense_url": "https://{hostname}"}},
)
