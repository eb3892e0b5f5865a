"""The whole study, unattended: every scenario, condition and test of a profile, on real packets.

\b
examples:
  python -m workflows.full_matrix                          what twelve minutes can decide of the paper's scenarios
  python -m workflows.full_matrix --plan                   what it would do, with which programs, and how long it takes
  python -m workflows.full_matrix --profile paper --plan   the paper's 2,560 repetitions and its API test
  python -m workflows.full_matrix --scenarios nebula-direct,nebula-relay --conditions none,loss-5pct
  python -m workflows.full_matrix --scenarios native-1450,native-1230,wireguard-direct,nebula-direct,nebula-relay
  python -m workflows.full_matrix --require headscale-direct,netbird-direct   exit code 1 at once where one is missing
  python -m workflows.full_matrix --scenario-file my-scenarios.yaml
  python -m workflows.full_matrix --inventory lab-12 --pairs sample:18 --scenarios nebula-direct --tests ping
  python -m workflows.full_matrix --resume runs/20260101-120000 --budget 20   twenty minutes more for what is open
  python -m workflows.full_matrix --profile quick          all seven conditions, each cell twice
  python -m workflows.full_matrix --profile quick --cluster kubernetes --scenarios native-1450,headscale-direct
"""  # noqa: D301 - the escape is click's mark for lines that are not to be wrapped

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import click
from rich.console import Console

from inventory.kept import kept_inventory
from inventory.load import load
from vpnmesh.errors import InputError
from vpnmesh.host.lease import SECONDS
from vpnmesh.lab.lifecycle import Lab
from vpnmesh.model import Pair, Testbed
from vpnmesh.study.journal import RunInterrupted
from vpnmesh.study.manifest import Manifest
from vpnmesh.study.matrix import MatrixPlan, plan_matrix, scenarios_of, without
from vpnmesh.study.pairs import pairs_of
from vpnmesh.study.profile import Profile
from vpnmesh.study.record import frame_of
from vpnmesh.study.remarks import remarks
from vpnmesh.study.sampling import told
from vpnmesh.study.scenarios import Catalogue
from workflows.reporting.answering import opening, show
from workflows.reporting.closing import closing
from workflows.reporting.headlines import headline_tables
from workflows.reporting.studies import study_from_run
from workflows.run import availability, provenance, sessions
from workflows.run.after_a_kill import clean_up
from workflows.run.agreement import may_change, yes_option
from workflows.run.cluster import installer_of
from workflows.run.cluster_record import refuse_beside_cluster
from workflows.run.dry_run import show_changes
from workflows.run.firewall import FirewallRun, run_id
from workflows.run.footprint import leaves_nodes_as_found
from workflows.run.foreign import beside_option, refuse_foreign
from workflows.run.held_lease import HeldLease
from workflows.run.impair import check_place, choose_engine
from workflows.run.intents import of_matrix
from workflows.run.interrupts import InterruptedRunError, interruptible
from workflows.run.lab import emulated, lab_for
from workflows.run.lease import leased
from workflows.run.listing import beside, show_plan, show_programs, told_missing, told_tests
from workflows.run.options import MatrixOptions, TestsOption, bad_input_exits_2, scenario_file
from workflows.run.progress import RunProgress, make_console, result_tables
from workflows.run.requested import read_request
from workflows.run.requirements import require_tests
from workflows.run.runner import MatrixRun
from workflows.run.settings import sysctls_set
from workflows.run.site import Site
from workflows.run.store import RunFiles, Store

ALL_MEASURED, SOME_FAILED = 0, 3
_MORE = frozenset({"budget"})
"""What going on with an adaptive run may ask for anew."""
NOTHING_MISSING: Mapping[str, str] = MappingProxyType({})


@click.command(help=__doc__)
@click.option(
    "--profile",
    default="adaptive",
    show_default=True,
    help="adaptive | quick | paper | paper-text, or a YAML file with one",
)
@click.option(
    "--inventory", default="lab", show_default=True, help="a built-in inventory, or a folder with hosts.yaml"
)
@click.option("--scenarios", help="comma-separated; default: those of --scenario-file, else the profile's")
@scenario_file
@click.option(
    "--conditions",
    help="comma-separated, e.g. none,loss-5pct,delay-50ms+jitter-10ms,rate-20mbit,lte (docs/impairment.md)",
)
@click.option("--tests", cls=TestsOption, help="comma-separated")
@click.option(
    "--repetitions", type=int, help="of every cell: a fixed number of them, whatever is decided before that"
)
@click.option("--duration", type=int, help="seconds of a repetition, the omitted second not counted")
@click.option("--requests", type=int, help="of one repetition of the API tests, e.g. 5000 as in the paper")
@click.option("--blocks", type=int, help="how many times every scenario is visited")
@click.option(
    "--pairs",
    metavar="WHICH",
    help="fixed (worker to worker, one pair) | full-mesh (every ordered pair of members) | sample:K (K pairs drawn by"
    " chance)",
)
@click.option(
    "--cluster",
    metavar="NAME",
    help="pods (default: a namespace on each node, with Calico's datapath) | kubernetes | ...: a real cluster"
    " over every scenario's addresses, whose pods are measured (docs/cluster.md)",
)
@click.option(
    "--budget",
    type=float,
    help="minutes; an adaptive run ends with them and says what is open (with --resume: so many more), of a fixed one"
    " conditions that the profile chose and that do not fit are dropped, visibly",
)
@click.option("--margin", type=float, help="percent: scenarios that are closer than this are equal")
@click.option(
    "--precision",
    type=float,
    help="percent: go on until every ratio is known as well as that, instead of until each pair is decided",
)
@click.option(
    "--placement", help="PLACE[:END][:LIMIT], e.g. underlay:client, vxlan, pod:both, underlay:client:1000"
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="of the order of scenarios, conditions and tests"
)
@click.option("--out", type=click.Path(path_type=Path), help="the run directory; default: runs/DATE-TIME")
@click.option("--resume", type=click.Path(path_type=Path), help="go on with a run that was interrupted")
@click.option(
    "--adopt",
    is_flag=True,
    expose_value=False,
    callback=sessions.keep_adopt,
    help="with --resume: go on although kernel, engine, program versions or the inventory are others now; every row"
    " made from then on is marked as adopted",
)
@click.option(
    "--require",
    metavar="NAMES",
    help="comma-separated scenarios of this run: exit code 1, and nothing is measured, where one of them is"
    " unavailable; all others that are unavailable are rows with the reason",
)
@click.option(
    "--require-all", "require", flag_value=availability.ALL, help="the same of every scenario of this run"
)
@click.option(
    "--lease",
    type=click.IntRange(10, 86_400),
    default=SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="after how long without a word of this process every node undoes by itself what the run made (docs/leases.md)",
)
@yes_option
@beside_option
@click.option("--dry-run", is_flag=True, help="show what would change on every node, and change nothing")
@click.option(
    "--plan",
    "only_plan",
    is_flag=True,
    help="list every cell with repetitions and time; in the lab also the programs that each scenario would run",
)
@click.option("--json", "as_json", is_flag=True, help="with --plan: only a JSON list on stdout")
@bad_input_exits_2
def main(
    *,
    inventory: str,
    seed: int,
    out: Path | None,
    resume: Path | None,
    require: str | None,
    dry_run: bool,
    only_plan: bool,
    as_json: bool,
    **changes: str | float | tuple[str, ...] | None,
) -> None:
    """Parse, plan, and run; see the module's docstring."""
    if as_json and not only_plan:
        raise InputError("--json", "goes with --plan")
    console = make_console()
    asked = _asked(resume, MatrixOptions(**changes), seed, inventory)  # type: ignore[arg-type]
    nr, testbed = load(asked.inventory)
    site = Site(nr, testbed, installer=installer_of(asked.profile))
    store = Store.open(resume, site.secrets, adopts=sessions.adopts()) if resume else None
    if store is not None:
        sessions.check_request(store, testbed)
    pairs = pairs_of(testbed, asked.profile.pairs, asked.seed)
    plan = asked.plan(testbed, pairs)
    required = availability.required(require, plan.profile.scenarios)
    if only_plan:
        _show_plan(console, asked, site, pairs, as_json=as_json)
        return
    refuse_beside_cluster(testbed, f"--inventory {asked.inventory}")
    try:
        with interruptible(nr), lab_for(testbed, console, kubernetes=site.installer is not None) as lab:
            lacking = require_tests(site, plan)
            plan = asked.plan(testbed, pairs, lacking)
            if dry_run:
                for sentence in told_tests(lacking):
                    console.print(sentence, highlight=False, markup=False)
                show_programs(console, availability.on_nodes(site, scenarios_of(plan)))
                show_changes(console, site, plan, asked.seed)
                return
            refuse_foreign(site, resumed=store is not None)
            missing = availability.unavailable(site, scenarios_of(plan))
            availability.refuse_missing(required, missing)
            may_change(site, asked.inventory, of_matrix(site, plan, missing, asked.seed))
            directory = store.directory if store else out or _default_out()
            own = replace(site, firewall=FirewallRun.of(directory))
            with leased(own, run_id(directory), again=store is not None, seconds=asked.lease_s) as held:
                if store is None:
                    store = Store.create(directory, asked.request(site), site.secrets)
                code = run(console, own, plan, store, lab, asked.budget_min, missing, lacking)
            _complain(console, held)
    except InterruptedRunError as interrupt:
        # before or after the run itself, which notes an interruption in its journal
        sys.exit(128 + interrupt.signum)
    # what became unavailable since it was looked at
    availability.refuse_missing(required, _missing(store))
    sys.exit(code)


def _show_plan(
    console: Console, asked: "_Asked", site: Site, pairs: tuple[Pair, ...], *, as_json: bool
) -> None:
    """The plan as this machine's programs allow it, where a lab would run them."""
    testbed = site.testbed
    plan, here = asked.plan(testbed, pairs), emulated(testbed)
    lacking = availability.tests_on_this_machine(plan) if here else {}
    plan = asked.plan(testbed, pairs, lacking)
    there = availability.before_nodes(site, scenarios_of(plan))
    for sentence in told_tests(lacking):
        click.echo(sentence, err=as_json)
    show_plan(console, plan, there, as_json=as_json)
    for sentence in told(testbed, plan.profile.pairs, pairs):
        click.echo(sentence, err=as_json)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a run is asked for: by the options, or by those that it was begun with.

    `budget_min` are the minutes of this session, which one that goes on with an adaptive run may have of its own, and
    `lease_s` is for how long its controller may be silent.
    """

    profile: Profile
    catalogue: Catalogue
    seed: int
    inventory: str
    budget_min: float | None = None
    lease_s: int = SECONDS

    def plan(
        self, testbed: Testbed, pairs: Sequence[Pair], lacking: Mapping[str, str] = NOTHING_MISSING
    ) -> MatrixPlan:
        """What is done of it; tests that lack a program take no part, and no time."""
        profile = availability.without_tests(self.profile, lacking)
        return plan_matrix(profile, pairs, self.seed, self.catalogue, testbed.master.name)

    def request(self, site: Site) -> Manifest:
        """As a new run's manifest keeps it, with the way to its nodes."""
        asked = provenance.request(self.profile, self.seed, self.inventory, site.testbed, self.catalogue)
        return asked.with_entries({"hosts": kept_inventory(site.nr.inventory)})


def _asked(resume: Path | None, options: MatrixOptions, seed: int, inventory: str) -> _Asked:
    """What the options ask for, or what the run to go on with was asked for when it began."""
    if resume is None:
        sessions.refuse_adopt()
        known = options.known()
        profile = options.build(known)
        return _Asked(profile, known.catalogue, seed, inventory, profile.budget_min, options.lease)
    manifest = RunFiles(resume).manifest()
    begun = read_request(manifest, str(resume))
    sessions.refuse_options(click.get_current_context(), _MORE if begun.profile.adaptive else frozenset())
    catalogue = Catalogue.of_run(manifest.entries(), f"{resume}/manifest.json")
    left = sessions.minutes_left(begun.profile.budget_min, RunFiles(resume).events())
    budget = left if options.budget is None else options.budget
    return _Asked(begun.profile, catalogue, begun.seed, begun.inventory, budget, options.lease)


def run(
    console: Console,
    site: Site,
    plan: MatrixPlan,
    store: Store,
    lab: Lab | None,
    budget_min: float | None = None,
    missing: Mapping[str, str] = NOTHING_MISSING,
    lacking: Mapping[str, str] = NOTHING_MISSING,
) -> int:
    """Make all attempts that the store lacks; show tables and path; return the exit code.

    `budget_min` are the minutes after which an adaptive run ends; `missing` are the scenarios that are known to be
    unavailable, with the reasons, and `lacking` the tests, which the plan has no more.
    """
    pairs = tuple(dict.fromkeys(one.cell.pair for one in plan.cells))
    impairing = any(plan.profile.conditions)
    engine = choose_engine(site, pairs, impairing=impairing)
    if impairing:
        check_place(site, engine, plan.profile.placement)
    site.asks_why = True
    matrix = MatrixRun(site, plan, store, engine, budget_min)
    able = without(plan, missing)
    mesh = told(site.testbed, plan.profile.pairs, pairs)
    for sentence in (
        *remarks(plan),
        *mesh,
        *beside(plan),
        *told_tests(lacking),
        *told_missing(able, missing),
    ):
        console.print(sentence, highlight=False, markup=False)
    signum = None
    with RunProgress(console, able, matrix.done, budget_min) as progress:
        try:
            for sentence in sessions.begin(store, site, lab, engine, scenarios_of(plan)):
                progress.say(sentence)
            sessions.note(store, remarks=remarks(plan), unavailable_tests=dict(lacking))
            clean_up(site, store, engine, progress.say)
            with leaves_nodes_as_found(site, store, progress), sysctls_set(site, store):
                matrix.run(progress)
        except InterruptedRunError as interrupt:
            signum = interrupt.signum
            store.note(RunInterrupted(signal=signum))
        finally:
            store.write_results()
    study = study_from_run(store.directory) if store.repetitions else None
    if study:
        show(console, opening(study, store.directory))
    show(console, result_tables(frame_of(store.events), plan.catalogue))
    if study:
        show(console, headline_tables(study))
        show(console, closing(study))
        report = f"report: python -m workflows.report {store.directory}"
        console.print(report, highlight=False, soft_wrap=True)
    console.print(f"run: {store.directory}", highlight=False, soft_wrap=True)
    if signum is not None:
        console.print(
            f"interrupted; go on with: python -m workflows.full_matrix --resume {store.directory}",
            highlight=False,
            soft_wrap=True,
        )
        return 128 + signum
    return SOME_FAILED if matrix.failed else ALL_MEASURED


def _complain(console: Console, held: HeldLease) -> None:
    """Say which nodes could not be given back."""
    for node, why in held.left.items():
        within = f"{node} undoes by itself within {held.lease.seconds} s what the run made there"
        console.print(f"{within}: {why}", highlight=False, markup=False)


def _missing(store: Store) -> dict[str, str]:
    """The scenarios that could not be attempted, with the reason of each; not those that a later session could."""
    attempted = {cell.partition("/")[0] for cell, _ in store.finished}
    return {
        one.scenario: str(one.reason)
        for one in store.repetitions
        if one.unavailable and one.scenario not in attempted
    }


def _default_out() -> Path:
    return Path("runs") / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")


if __name__ == "__main__":
    main()
