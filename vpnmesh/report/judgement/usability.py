"""How easy solutions are to live with: what this run measured of it, beside the dated facts of others."""

from collections.abc import Mapping
from dataclasses import dataclass

from vpnmesh.criteria.catalogue import Basis
from vpnmesh.frames.order import BASELINES
from vpnmesh.model import Path
from vpnmesh.report.judgement.evidence import Citation, cite_fact
from vpnmesh.report.judgement.ranking import Knowledge, qualifies
from vpnmesh.report.tables import Study
from vpnmesh.study.scenarios import path_of, solution_of

FAST_FALLBACK_S = 30.0
"""Up to here traffic counts as moved quickly; the paper calls minutes slow (section 3.2.4) and seconds fast."""


@dataclass(frozen=True, slots=True)
class UsabilityNote:
    """One matter of usability of a solution in words; `measured` = by this run, else a dated fact."""

    solution: str
    topic: str
    text: str
    measured: bool
    evidence: Citation


@dataclass(frozen=True, slots=True)
class Fallback:
    """How a scenario fell back to its relay in this run: seconds as means over the attempts that did."""

    scenario: str
    attempted: int
    succeeded: int
    seconds: float | None
    outage_s: float | None

    @property
    def fast(self) -> bool:
        """Whether every attempt moved the traffic, on average in time."""
        return (
            self.succeeded == self.attempted and self.seconds is not None and self.seconds <= FAST_FALLBACK_S
        )

    def evidence(self) -> Citation:
        """The attempts and their seconds, in words."""
        figures = {"attempted": float(self.attempted), "succeeded": float(self.succeeded)}
        text = f"{self.scenario}: fell back to its relay in {self.succeeded} of {self.attempted} attempts"
        if self.seconds is not None:
            figures["to_relay_s"] = self.seconds
            text += f", after {self.seconds:.1f} s"
        if self.outage_s is not None:
            figures["to_relay_outage_s"] = self.outage_s
            text += f", silent for {self.outage_s:.1f} s"
        return Citation("convergence", {"scenario": self.scenario}, figures, f"{text} (measured by this run)")


def fallbacks(study: Study) -> dict[str, Fallback]:
    """By solution: how its direct scenario fell back, where the run tried; one that never settled fell back 0 times.

    A scenario that converges but has no fallback to try (a baseline, a relayed path) is left out.
    """
    found: dict[str, Fallback] = {}
    for scenario, rows in study.tables["convergence"].partition_by("scenario", as_dict=True).items():
        name, figures = str(scenario[0]), {row["figure"]: row for row in rows.to_dicts()}
        there, silent = figures.get("to_relay_s"), figures.get("to_relay_outage_s")
        first = next(iter(figures.values()))
        fallible = path_of(name) is Path.DIRECT and name not in BASELINES
        if there or (not first["measured"] and fallible):
            found[solution_of(name)] = Fallback(
                name,
                first["attempted"],
                there["n"] if there else 0,
                there["seconds_mean"] if there else None,
                silent["seconds_mean"] if silent else None,
            )
    return found


def usability(known: Knowledge) -> tuple[UsabilityNote, ...]:
    """Set-up and fallback as this run measured them, then the dated facts of all that was measured or qualifies."""
    study = known.readings.study
    found = [_setup(row) for row in study.tables["setup"].to_dicts()]
    for solution, one in fallbacks(study).items():
        cited = one.evidence()
        found.append(UsabilityNote(solution, "fallback", cited.text, measured=True, evidence=cited))
    return (*found, *_dated(known))


def _setup(row: Mapping[str, object]) -> UsabilityNote:
    steps, seconds, visits = row["setup_steps_mean"], row["setup_s_mean"], row["visits"]
    spread = row["setup_s_sd"]
    scenario = str(row["scenario"])
    text = f"{scenario}: {steps:g} steps, {seconds:.1f} s" + (
        f" ± {spread:.1f}" if spread is not None else ""
    )
    told = "one visit" if visits == 1 else f"mean of {visits} visits"
    text += f" to stand ({told}, measured by this run)"
    figures = {"setup_steps_mean": float(str(steps)), "setup_s_mean": float(str(seconds))}
    evidence = Citation("setup", {"scenario": scenario}, figures, text)
    return UsabilityNote(solution_of(scenario), "set-up", text, measured=True, evidence=evidence)


def _dated(known: Knowledge) -> list[UsabilityNote]:
    measured = {solution_of(name) for name in known.readings.study.scenario_order}
    topics = dict.fromkeys(fact.topic for fact in known.catalogue.usability)
    found = []
    for product in known.catalogue.products:
        if product.id not in measured and not qualifies(known, product.id):
            continue
        for topic in topics:
            if fact := known.fact(product.id, topic):
                word = fact.value(Basis.VERIFIED)
                took = f", {fact.seconds:g} s" if fact.seconds is not None else ""
                text = f"{product.name}: {topic} {word}{took} on {fact.date.isoformat()}"
                cited = cite_fact(product.id, fact)
                found.append(UsabilityNote(product.id, topic, text, measured=False, evidence=cited))
    return found
