"""How easy solutions are to set up and to use: what this run measured, beside dated facts from elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vpnmesh.criteria.catalogue import Basis
from vpnmesh.model import Path
from vpnmesh.report.judgement.evidence import Citation, cite_fact
from vpnmesh.report.judgement.ranking import Knowledge, qualifies
from vpnmesh.report.judgement.scenario_kinds import has_tunnel
from vpnmesh.report.tables import Study

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

    solution: str
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


def fallbacks(study: Study) -> tuple[Fallback, ...]:
    """How each direct scenario fell back that the run tried; one that gave no figure at all fell back 0 times.

    A scenario that converges but has no fallback to try (a baseline, a relayed path) is left out.
    """
    found = []
    for scenario, rows in study.tables["convergence"].partition_by("scenario", as_dict=True).items():
        name, figures = str(scenario[0]), {row["figure"]: row for row in rows.to_dicts()}
        if "to_relay_s" in figures or _never_settled(study, name, figures):
            found.append(_fallback(study.scenarios.solution_of(name), name, figures))
    return tuple(found)


def _never_settled(study: Study, scenario: str, figures: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a VPN's direct scenario was tried and gave no figure at all."""
    can_fall_back = study.scenarios.path_of(scenario) is Path.DIRECT and has_tunnel(study.scenarios, scenario)
    return can_fall_back and not next(iter(figures.values()))["measured"]


def _fallback(solution: str, scenario: str, figures: Mapping[str, Mapping[str, Any]]) -> Fallback:
    there, silent = figures.get("to_relay_s", {}), figures.get("to_relay_outage_s", {})
    attempted = next(iter(figures.values()))["attempted"]
    succeeded, seconds = there.get("n", 0), there.get("seconds_mean")
    return Fallback(solution, scenario, attempted, succeeded, seconds, silent.get("seconds_mean"))


def usability(known: Knowledge) -> tuple[UsabilityNote, ...]:
    """Set-up and fallback as this run measured them, then the dated facts of all that was measured or qualifies."""
    study = known.readings.study
    found = [_setup(known, row) for row in study.tables["setup"].to_dicts()]
    for one in fallbacks(study):
        cited = one.evidence()
        found.append(UsabilityNote(one.solution, "fallback", cited.text, measured=True, evidence=cited))
    return (*found, *_dated(known))


def _setup(known: Knowledge, row: Mapping[str, object]) -> UsabilityNote:
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
    return UsabilityNote(known.solution_of(scenario), "set-up", text, measured=True, evidence=evidence)


def _dated(known: Knowledge) -> list[UsabilityNote]:
    topics = dict.fromkeys(fact.topic for fact in known.criteria.usability)
    found = []
    for product in known.criteria.products:
        if product.id not in known.solutions and not qualifies(known, product.id):
            continue
        for topic in topics:
            if fact := known.fact(product.id, topic):
                word = fact.value(Basis.VERIFIED)
                took = f", {fact.seconds:g} s" if fact.seconds is not None else ""
                text = f"{product.name}: {topic} {word}{took} on {fact.date.isoformat()}"
                cited = cite_fact(product.id, fact)
                found.append(UsabilityNote(product.id, topic, text, measured=False, evidence=cited))
    return found
