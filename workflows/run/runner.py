"""The loop over visits, conditions, jobs and repetitions; a failure ends what it must, never the run."""

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from vpnmesh.errors import UnavailableError, VpnmeshError
from vpnmesh.impairment.engine import Engine
from vpnmesh.model import Condition, Pair
from vpnmesh.study.checks import check_on_path
from vpnmesh.study.journal import TeardownProblem, VisitStarted
from vpnmesh.study.matrix import MatrixPlan
from vpnmesh.study.outcome import UNAVAILABLE, Failed
from vpnmesh.study.record import Record, last_sequence
from vpnmesh.study.visits import Job, Visit, batches, made_together
from workflows.run import clock
from workflows.run.asking_why import AskedWhy
from workflows.run.cluster import check_cluster_now
from workflows.run.firewall import keep_policy
from workflows.run.held_lease import TestbedHeldError
from workflows.run.hosts import stage_of
from workflows.run.impair import Impaired, Keep, impaired, seed_for
from workflows.run.interference import Interference
from workflows.run.lease import keep_lease
from workflows.run.lost import LostScenarioError, require_standing
from workflows.run.measure import Attempt, Checked, VisitContext, measure
from workflows.run.progress import RunProgress
from workflows.run.provision import Provisioned, hold_again, provisioned
from workflows.run.schedule import schedule_for, unfinished
from workflows.run.site import Site
from workflows.run.store import Store, StoreError
from workflows.run.together import together


@dataclass(slots=True)
class MatrixRun:
    """A plan being carried out into a store; what the store already holds is not repeated.

    `budget_min` are the minutes after which an adaptive run ends; None = its rules alone say when.
    """

    site: Site
    plan: MatrixPlan
    store: Store
    engine: Engine
    budget_min: float | None = None
    failed: int = 0
    _sequence: int = 0
    _failed_at: str = ""
    _interference: Interference = field(default_factory=Interference)
    _why: AskedWhy = field(init=False)
    _done: int = field(init=False)

    def __post_init__(self) -> None:
        """Take in what an earlier session of this run has finished."""
        self._done = len(self.store.finished)
        self._why = AskedWhy(self.site, self.store)
        self._sequence = last_sequence(self.store.events)
        self.failed = sum(one.outcome == "failed" and not one.unavailable for one in self.store.repetitions)

    @property
    def done(self) -> int:
        """Attempts that need no repeating."""
        return self._done

    def run(self, progress: RunProgress) -> None:
        """Make every visit of the schedule that has anything left to do."""
        for visit in schedule_for(self.plan, self.store, self.budget_min).visits(progress):
            self._visit(visit, progress)

    def _visit(self, visit: Visit, progress: RunProgress) -> None:
        """What is left of a scenario that broke down and may stand again is measured after setting it up once more."""
        broke = self._set_up(visit, progress)
        if broke and (left := unfinished(visit, self.store.finished)):
            progress.say(f"{visit.scenario}: set up anew, for it broke down: {broke}")
            self._set_up(left, progress, again=broke)

    def _set_up(self, visit: Visit, progress: RunProgress, again: str = "") -> str:
        """Set up, measure, take off; returns why the scenario is to be set up `again`, which is done once a visit."""
        scenario = self.plan.catalogue.named(visit.scenario)
        progress.doing(f"{scenario.name}: joining")
        begun = VisitStarted(visit=visit.number, scenario=scenario.name, round=visit.round)
        self.store.note(begun.because(self.store.hide(again)) if again else begun)
        self._failed_at = ""
        made: set[str] = set()
        broke = ""
        try:
            hold_again(self.site)
            with provisioned(self.site, scenario) as deployed:
                self._note(deployed)
                profile, store = self.plan.profile, self.store
                context = VisitContext(self.site, deployed, profile, store, set_up_anew=bool(again))
                for condition, jobs in visit.by_condition():
                    self._condition(context, visit, condition, jobs, progress)
                    made |= {job.cell.key for job in jobs}
                self._why.relayed(context, (job.cell.pair for job in visit.jobs), progress)
        except (StoreError, TestbedHeldError):
            raise
        except UnavailableError as error:
            self._unavailable(visit, str(error), progress)
        except LostScenarioError as error:
            broke = self._lost(visit, error, progress)
        except VpnmeshError as error:
            rest = [job for job in visit.jobs if job.cell.key not in made]
            self._fail(
                visit, rest, stage_of(error, "provision"), str(error), progress, self._keep_logs(visit)
            )
        self._why.take_in(visit.scenario, progress)
        self._complain(visit, progress)
        return broke

    def _note(self, deployed: Provisioned) -> None:
        self.store.note(deployed.event())
        if deployed.cluster:
            self.store.note(deployed.cluster.event(deployed.scenario.name))

    def _lost(self, visit: Visit, error: LostScenarioError, progress: RunProgress) -> str:
        """Keep the logs; the reason to set the scenario up again, or "" where all that is left has failed with it."""
        logs = self._keep_logs(visit)
        if error.may_stand_again:
            return str(error)
        self._fail(visit, visit.jobs, error.stage, str(error), progress, logs)
        return ""

    def _complain(self, visit: Visit, progress: RunProgress) -> None:
        for complaint in self.site.take_complaints():
            self.store.note(TeardownProblem(scenario=visit.scenario, problem=complaint))
            progress.say(f"teardown of {visit.scenario}: {complaint}")

    def _condition(
        self, context: VisitContext, visit: Visit, name: str, jobs: list[Job], progress: RunProgress
    ) -> None:
        progress.doing(f"{visit.scenario} {name}")
        for group in made_together(jobs):
            self._group(context, visit, Condition.parse(name), group, progress)

    def _group(
        self,
        context: VisitContext,
        visit: Visit,
        condition: Condition,
        jobs: Sequence[Job],
        progress: RunProgress,
    ) -> None:
        """The jobs of one turn, or of one pair under a condition; what fails here ends these alone."""
        made: set[str] = set()
        try:
            keep_lease(self.site)
            if condition:
                check_on_path(context.deployed.scenario, self.plan.profile.placement)
            if context.deployed.cluster:
                check_cluster_now(self.site, context.deployed.cluster)
            pairs = dict.fromkeys(job.cell.pair for job in jobs)
            if self._failed_at:
                self._look_first(context, visit, tuple(pairs))
            with contextlib.ExitStack() as held:
                impaired = {
                    pair: held.enter_context(self._impaired(visit, condition, pair)) for pair in pairs
                }
                at_once = self._interference.at_once(context, jobs, impaired, progress)
                for batch in batches(jobs, at_once):
                    self._batch(context, visit, batch, impaired, progress)
                    made |= {job.cell.key for job in batch}
        except (StoreError, LostScenarioError):
            raise
        except VpnmeshError as error:
            rest = [job for job in jobs if job.cell.key not in made]
            self._fail(visit, rest, stage_of(error, "impairment"), str(error), progress)

    def _look_first(self, context: VisitContext, visit: Visit, pairs: Sequence[Pair]) -> None:
        """After a failure: what stands no more is not impaired, for that would be the reason of all that follows."""
        with contextlib.ExitStack() as held:
            nothing = {pair: held.enter_context(self._impaired(visit, Condition(), pair)) for pair in pairs}
            require_standing(context, pairs, nothing, self._failed_at)

    def _impaired(
        self, visit: Visit, condition: Condition, pair: Pair
    ) -> contextlib.AbstractContextManager[Impaired]:
        folder = f"{visit.scenario}/{condition.name}/impairment/visit-{visit.number}"
        if pair not in self.site.testbed.pairs:
            folder += f"-{pair.client}-to-{pair.server}"
        return impaired(
            self.site,
            self.engine,
            condition,
            self.plan.profile.placement,
            seed_for(self.plan.seed, visit.number),
            self._keeper(folder),
            pair,
        )

    def _keeper(self, folder: str) -> Keep:
        """Keeps files below that folder of raw/; beside what an earlier session kept there, never over it."""
        free = next(
            name
            for name in itertools.chain([folder], (f"{folder}-{n}" for n in itertools.count(2)))
            if not (self.store.directory / "raw" / name).exists()
        )
        return lambda name, text: self.store.keep_raw(f"{free}/{name}", text)

    def _batch(
        self,
        context: VisitContext,
        visit: Visit,
        jobs: Sequence[Job],
        impaired: Mapping[Pair, Impaired],
        progress: RunProgress,
    ) -> None:
        """All repetitions of these jobs, one of each at a time; pairs of one batch share no member."""
        records: dict[Job, list[Record]] = {job: [] for job in jobs}
        checked: dict[Job, Checked | None] = dict.fromkeys(jobs)
        for numbers in itertools.zip_longest(*(job.repetitions for job in jobs)):
            now = {job: number for job, number in zip(jobs, numbers, strict=True) if number is not None}
            progress.doing(f"{visit.scenario} {jobs[0].cell.condition} {jobs[0].cell.test}")
            keep_lease(self.site)
            keep_policy(self.site.nr, self.site.testbed, context.deployed.scenario.policy, self.site.firewall)
            unseen = [job for job in now if checked[job] is None]
            if unseen:
                pairs = [job.cell.pair for job in unseen]
                found = require_standing(context, pairs, impaired, self._failed_at)
                checked |= zip(unseen, found, strict=False)
            attempts = {
                job: Attempt(job.cell, number, visit.number, self._next(), len(now))
                for job, number in now.items()
            }
            measured = together(
                [
                    partial(measure, context, attempt, impaired[job.cell.pair], checked[job])
                    for job, attempt in attempts.items()
                ]
            )
            for job, (record, after) in zip(attempts, measured, strict=True):
                checked[job] = after
                records[job].append(self._keep(record, progress))
            # asking takes its time, and may be cut: by then all that was measured is kept
            for record, _ in measured:
                self._why.failed(context, record, progress)
        for job in jobs:
            progress.finished(job, records[job])

    def _keep(self, record: Record, progress: RunProgress) -> Record:
        """Journal the record, its reason without secrets, and show it; returns what was kept."""
        if isinstance(record.outcome, Failed):
            reason = self.store.hide(record.outcome.reason)
            record = replace(record, outcome=Failed(record.outcome.stage, reason))
        self.store.append(record)
        outcome = record.outcome
        self._failed_at = outcome.stage if isinstance(outcome, Failed) else ""
        self.failed += isinstance(outcome, Failed) and outcome.stage != UNAVAILABLE
        progress.advance(record)
        return record

    def _keep_logs(self, visit: Visit) -> str:
        """Keep what the daemons of a scenario that did not come up logged; returns that folder, "" without any."""
        logs = self.site.take_logs()
        folder = f"{visit.scenario}/logs/visit-{visit.number}"
        for name, text in logs.items():
            self.store.keep_raw(f"{folder}/{name}", text)
        return f"raw/{folder}" if logs else ""

    def _fail(
        self, visit: Visit, jobs: Sequence[Job], stage: str, reason: str, progress: RunProgress, raw: str = ""
    ) -> None:
        """Every repetition that could not be tried is an attempt that failed, with the reason."""
        for job in jobs:
            attempts = [n for n in job.repetitions if (job.cell.key, n) not in self.store.finished]
            failures = [self._failure(visit, job, n, Failed(stage, reason), raw) for n in attempts]
            records = [self._keep(failure, progress) for failure in failures]
            if records:
                progress.finished(job, records)

    def _unavailable(self, visit: Visit, missing: str, progress: RunProgress) -> None:
        """One row per cell: no gap, no number, no attempt; a later visit adds none."""
        known = {one.cell for one in self.store.repetitions}
        new = [job for job in visit.jobs if job.cell not in known]
        if new:
            progress.say(f"{visit.scenario:17} unavailable: {missing}")
        for job in new:
            self.store.append(self._failure(visit, job, 0, Failed(UNAVAILABLE, f"unavailable: {missing}")))

    def _failure(self, visit: Visit, job: Job, repetition: int, failed: Failed, raw: str = "") -> Record:
        return Record(
            job.cell,
            repetition,
            failed,
            clock.now(),
            visit=visit.number,
            sequence=self._next(),
            placement=str(self.plan.profile.placement),
            engine=self.engine.name,
            raw=raw,
        )

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence
