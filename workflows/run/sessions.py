"""A run in several sessions: begun, interrupted, gone on with. Every session notes what it met, beside the others."""

import platform
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version

import click
from click.core import ParameterSource

from vpnmesh.errors import InputError
from vpnmesh.impairment.engine import Engine
from vpnmesh.lab.lifecycle import Lab
from vpnmesh.model import Scenario, Testbed
from vpnmesh.study import surroundings
from vpnmesh.study.adaptive import beside_s
from vpnmesh.study.journal import JournalEvent, RepetitionEnded, SessionStarted
from vpnmesh.study.manifest import Manifest, RunSession, Surroundings
from workflows.run import clock, provenance
from workflows.run.site import Site
from workflows.run.store import Store

WITH_RESUME = frozenset({"resume", "require", "require_all", "dry_run", "only_plan", "as_json", "lease"})
"""The options that leave a run what it is."""
_WAY_OUT = "start a new run for what is there now: leave --resume out"


def refuse_options(context: click.Context, allowed: frozenset[str] = frozenset()) -> None:
    """Raise InputError naming the options given beside --resume that would make another run of it."""
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in WITH_RESUME | allowed
        and context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise InputError(
            "--resume",
            f"the run has its own {', '.join(given)}",
            "leave these out to go on with it, or leave --resume out to start a new run",
        )


def check_request(store: Store, testbed: Testbed) -> None:
    """Raise InputError unless the inventory and this vpnmesh are still those that the run was begun with."""
    now = Surroundings(vpnmesh=version("vpnmesh"), testbed=provenance.dump_testbed(testbed))
    _refuse(store, store.manifest(), now)


def begin(
    store: Store, site: Site, lab: Lab | None, engine: Engine, scenarios: Sequence[Scenario] = ()
) -> list[str]:
    """Note this session in the manifest; returns what a reader must know of it, beside the figures.

    Raises InputError, and notes nothing, when nodes, kernels, engine or programs are not those of the first session.
    """
    manifest = store.manifest()
    met = provenance.surroundings(site, lab, engine, scenarios)
    _refuse(store, manifest, met)
    session = RunSession(
        started_at=clock.now().isoformat(),
        argv=sys.argv,
        vpnmesh=version("vpnmesh"),
        git_commit=provenance.git_commit(),
        python=platform.python_version(),
    ).with_entries(met.entries())
    begun = manifest.begun(session, met)
    store.write_manifest(begun)
    store.note(SessionStarted(number=len(begun.sessions)))
    begun_with, now = manifest.git_commit, session.git_commit
    if begun_with in (None, now):
        return []
    return [f"the code is {now} now, the run was begun with {begun_with}: both are in the manifest"]


def note(store: Store, **entries: object) -> None:
    """Add to the session under way, and to the run itself where it has no such entry yet."""
    store.write_manifest(store.manifest().noted(entries))


def _refuse(store: Store, manifest: Manifest, now: Surroundings) -> None:
    """Raise InputError where these differ; both as the manifest writes them, so that both are masked alike."""
    changed = surroundings.changes(surroundings.facts_of(manifest), surroundings.facts_of(store.as_kept(now)))
    if changed:
        raise InputError(
            str(store.directory),
            f"cannot go on, for it would mix what is not alike: {surroundings.in_one_sentence(changed)}",
            _WAY_OUT,
        )


def minutes_left(budget_min: float | None, events: Sequence[JournalEvent]) -> float | None:
    """What earlier sessions left of a run's budget; None without one. Each took from its start to its last line."""
    if budget_min is None:
        return None
    return max(
        0.0, budget_min - sum(_lasted_s(session) - beside_s(session) for session in _by_session(events)) / 60
    )


def _by_session(events: Sequence[JournalEvent]) -> list[list[JournalEvent]]:
    found: list[list[JournalEvent]] = []
    for event in events:
        if isinstance(event, SessionStarted) or not found:
            found.append([])
        found[-1].append(event)
    return found


def _lasted_s(session: Sequence[JournalEvent]) -> float:
    times = [datetime.fromisoformat(event.at) for event in session if event.at]
    times += [one.started_at for one in session if isinstance(one, RepetitionEnded) and one.started_at]
    return (max(times) - min(times)).total_seconds() if times else 0.0
