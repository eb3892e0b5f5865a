"""Within a run: why a repetition failed, a pair is relayed, or a scenario did not come up; asked once for each reason.

A repetition that is measured on the direct path is never held up: nothing is asked then. What is asked of a relayed
pair is asked after its last repetition.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from vpnmesh.model import Pair, Path
from vpnmesh.solutions.protocol import Mesh, Solution
from vpnmesh.study.journal import FindingShown, PairDiagnosed, of_kind
from vpnmesh.study.outcome import UNAVAILABLE, Failed
from vpnmesh.study.record import Record
from vpnmesh.why.words import Diagnosis, finding_lines, record
from workflows.run.diagnosing import in_words, why
from workflows.run.measure import VisitContext
from workflows.run.progress import RunProgress
from workflows.run.site import Site
from workflows.run.store import Store

RELAYED = "relayed"
NOT_OF_THE_PATH = frozenset({UNAVAILABLE, "lease", "node", "tool"})
"""Stages whose failures say by themselves what was wrong, and say nothing of the path."""


@dataclass(slots=True)
class AskedWhy:
    """Keeps the answers in the journal, and shows them; asks nothing where the site is not to ask why."""

    site: Site
    store: Store
    _asked: set[tuple[object, ...]] = field(default_factory=set)

    def failed(self, context: VisitContext, attempt: Record, progress: RunProgress) -> None:
        """After a repetition that failed, while its scenario still stands."""
        outcome = attempt.outcome
        if not self.site.asks_why or not isinstance(outcome, Failed) or outcome.stage in NOT_OF_THE_PATH:
            return
        cell = attempt.cell
        about = PairDiagnosed(
            scenario=cell.scenario,
            condition=cell.condition,
            test=cell.test,
            pair=str(cell.pair),
            repetition=attempt.repetition,
            about=outcome.stage,
        )
        key = (attempt.visit, cell.pair, cell.condition, outcome.stage)
        deployed = context.deployed
        self._ask(key, deployed.solution, deployed.mesh, cell.pair, about, progress)

    def relayed(self, context: VisitContext, pairs: Iterable[Pair], progress: RunProgress) -> None:
        """After all repetitions of a scenario that relays, once in a run for each pair."""
        scenario = context.deployed.scenario
        if not self.site.asks_why:
            return
        known = {
            (one.scenario, one.pair)
            for one in of_kind(self.store.events, PairDiagnosed)
            if one.about == RELAYED
        }
        for pair in dict.fromkeys(pairs) if scenario.path is Path.RELAY else ():
            if (scenario.name, str(pair)) in known:
                continue
            about = PairDiagnosed(scenario=scenario.name, pair=str(pair), about=RELAYED)
            deployed = context.deployed
            self._ask((scenario.name, pair), deployed.solution, deployed.mesh, pair, about, progress)

    def take_in(self, scenario: str, progress: RunProgress) -> None:
        """What was asked of a scenario that did not come up, before it was removed."""
        for found in self.site.take_diagnoses():
            self._keep(
                found, PairDiagnosed(scenario=scenario, pair=str(found.pair), about="provision"), progress
            )

    def _ask(
        self,
        key: tuple[object, ...],
        solution: Solution,
        mesh: Mesh,
        pair: Pair,
        about: PairDiagnosed,
        progress: RunProgress,
    ) -> None:
        if key in self._asked:
            return
        self._asked.add(key)
        progress.doing(f"{about.scenario}: asking why {about.pair} is as it is")
        try:
            found = why(self.site, solution, mesh, pair)
        except Exception as error:  # noqa: BLE001
            # what it was asked for has failed already, and is on record: no answer makes that worse, and neither
            # does a node's output that nobody foresaw
            progress.say(f"{about.scenario} {pair}: why could not be asked: {in_words(error)}")
            return
        self._keep(found, about, progress)

    def _keep(self, found: Diagnosis, about: PairDiagnosed, progress: RunProgress) -> None:
        shown = [
            FindingShown.model_validate_json(self.store.hide(json.dumps(record(one))))
            for one in found.findings
        ]
        self.store.note(about.with_answer(self.store.hide(str(found.state)), shown))
        progress.say(f"{about.scenario} {found.pair}: {found.state}")
        for one in found.findings:
            for line in finding_lines(one):
                progress.say(f"  {line}")
