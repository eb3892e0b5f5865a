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

WITH_RESUME = frozenset(
    {
        "resume",
        "require",
        "require_all",
        "adopt",
        "dry_run",
        "only_plan",
        "as_json",
        "lease",
        "yes",
        "beside_foreign",
    }
)
"""The options that leave a run what it is."""
_ADOPT = "vpnmesh.adopt"
_WAY_OUT = "start a new run for what is there now (leave --resume out), or add --adopt, to mark every row from now on"


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


def keep_adopt(context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's call
    """Keep whether the command was asked to adopt what it meets."""
    context.meta[_ADOPT] = value


def adopts() -> bool:
    """Whether the command was asked to adopt what it meets."""
    return bool(click.get_current_context().meta.get(_ADOPT))


def refuse_adopt() -> None:
    """Raise InputError for --adopt where no run is gone on with."""
    if adopts():
        raise InputError("--adopt", "goes with --resume")


def check_request(store: Store, testbed: Testbed) -> None:
    """Raise InputError unless the inventory and this vpnmesh are still those that the run was begun with."""
    if not store.adopts:
        _refuse(store, _changes(store, store.manifest(), _asked(testbed)))


def _asked(testbed: Testbed) -> Surroundings:
    return Surroundings(vpnmesh=version("vpnmesh"), testbed=provenance.dump_testbed(testbed))


def begin(
    store: Store, site: Site, lab: Lab | None, engine: Engine, scenarios: Sequence[Scenario] = ()
) -> list[str]:
    """Note this session in the manifest; returns what a reader must know of it, beside the figures.

    Raises InputError, and notes nothing, when nodes, kernels, engine or programs are not those of the first session;
    where the store adopts them that is noted instead, and every row of this session is marked.
    """
    manifest = store.manifest()
    met = provenance.surroundings(site, lab, engine, scenarios)
    adopted = _changes(store, manifest, met)
    if store.adopts:
        adopted += _changes(store, manifest, _asked(site.testbed))
    else:
        _refuse(store, adopted)
    session = RunSession(
        started_at=clock.now().isoformat(),
        argv=sys.argv,
        vpnmesh=version("vpnmesh"),
        git_commit=provenance.git_commit(),
        python=platform.python_version(),
        adopted=adopted,
    ).with_entries(met.entries())
    begun = manifest.begun(session, met)
    store.write_manifest(begun)
    started = SessionStarted(number=len(begun.sessions))
    store.note(started.model_copy(update={"adopted": adopted}) if adopted else started)
    begun_with, now = manifest.git_commit, session.git_commit
    said = [f"adopted, and marked in every row from now on: {surroundings.in_one_sentence(adopted)}"]
    other = [f"the code is {now} now, the run was begun with {begun_with}: both are in the manifest"]
    return (said if adopted else []) + ([] if begun_with in (None, now) else other)


def note(store: Store, **entries: object) -> None:
    """Add to the session under way, and to the run itself where it has no such entry yet."""
    store.write_manifest(store.manifest().noted(entries))


def _changes(store: Store, manifest: Manifest, now: Surroundings) -> list[str]:
    """In what these differ; both as the manifest writes them, so that both are masked alike."""
    return surroundings.changes(surroundings.facts_of(manifest), surroundings.facts_of(store.as_kept(now)))


def _refuse(store: Store, changed: Sequence[str]) -> None:
    """Raise InputError where anything differs."""
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
