"""From what was seen to findings: the only place that decides what counts as a cause."""

from vpnmesh.model import Path
from vpnmesh.why.finding import Cause, Effect, Evidence, Finding, in_order
from vpnmesh.why.judge_nodes import node_findings
from vpnmesh.why.judge_paths import path_findings
from vpnmesh.why.observed import Observed
from vpnmesh.why.rules import rule_findings
from vpnmesh.why.state_of_path import seen_state


def diagnose(seen: Observed) -> list[Finding]:
    """All findings of a pair, the worst first; none where the path is as it should be and nothing slows it."""
    found = [*_silent(seen), *node_findings(seen), *path_findings(seen)]
    found += rule_findings(seen, found)
    return in_order([*found, *_wanted(seen)])


def _silent(seen: Observed) -> list[Finding]:
    return [
        Finding(
            Cause.NODE,
            Effect.DOWN,
            name,
            "could not be asked",
            "look at the node by hand: what it knows is missing here",
            (Evidence("", f"ssh {name}", reason),),
        )
        for name, reason in seen.silent.items()
    ]


def _wanted(seen: Observed) -> list[Finding]:
    """A scenario that wants its relay is relayed for that reason alone."""
    scenario = seen.mesh.scenario
    if scenario.path is not Path.RELAY or not seen_state(seen).relayed:
        return []
    said = f"{scenario.name} asks for its relay (firewall policy {scenario.policy})"
    evidence = Evidence(
        "", f"python -m workflows.firewall show {scenario.policy}", f"policy {scenario.policy}"
    )
    do = "nothing is wrong: ask for the solution's direct scenario"
    return [Finding(Cause.SCENARIO, Effect.RELAYED, seen.mesh.testbed.relay.name, said, do, (evidence,))]
