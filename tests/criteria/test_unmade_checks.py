"""Live checks that could not be made as they should: they are errors, which count as unknown, and prove nothing."""

import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest

from vpnmesh.criteria.catalogue import Value
from vpnmesh.criteria.observation import Observation, judge
from vpnmesh.errors import CheckError, CommandError, NodeUnreachableError, UnavailableError, VpnmeshError
from vpnmesh.host import provisional
from vpnmesh.model import Path, Scenario
from vpnmesh.plan import Command
from vpnmesh.solutions.protocol import Refusal
from vpnmesh.study.scenarios import BUILT_IN, scenario_named
from vpnmesh.tools import flows
from vpnmesh.tools.ping import PingSummary
from workflows.run import firewall, verifying_members, verifying_outside, verifying_paths
from workflows.run.hosts import HostsFailedError
from workflows.run.interrupts import InterruptedRunError
from workflows.run.verifying_members import registration
from workflows.run.verifying_paths import encryption, full_mesh, relay_tcp

MEMBERS = ["worker1", "worker2", "master"]
REFUSED = CommandError("worker2", ("join",), 1, "the key is expired")


def failing(error: VpnmeshError, host: str = "worker2") -> HostsFailedError:
    return HostsFailedError("join_stage", {host: error})


def raiser(error: Exception) -> Callable[..., Any]:
    def raises(*_: object, **__: object) -> None:
        raise error

    return raises


class Nodes:
    """Nodes of which nothing is known but what a check asks of them; tasks are answered by `answers`, by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Callable[..., Any]) -> None:
        self.asked: list[str] = []
        self.refuses: dict[str, VpnmeshError] = {}
        self.answers = answers
        statuses = {name: SimpleNamespace(address=f"of {name}", interface="vpn0") for name in MEMBERS}
        solution = SimpleNamespace(processes=("vpnd",), refusal=lambda _mesh, _member: Refusal("key", ()))
        self.standing = SimpleNamespace(solution=solution, mesh="mesh", statuses=statuses)
        self.direct, self.server, self.client, self.third = "direct", "worker2", "worker1", "master"
        self.hold_s, self.listening = 0.1, False
        self.known = {
            Path.DIRECT: (scenario_named("nebula-direct"),),
            Path.RELAY: (scenario_named("nebula-relay"),),
        }
        self.trials: dict[str, Any] = {}
        self.site = SimpleNamespace(nr=None, k8s=MEMBERS, all_nodes=MEMBERS, complaints=[], lease=None)
        for module in (verifying_members, verifying_outside):
            monkeypatch.setattr(module, "run_on", self.run_on)
        monkeypatch.setattr(verifying_members, "stages_of", lambda *_: [SimpleNamespace(name="members")])
        monkeypatch.setattr(verifying_members, "run_stages", lambda *_: "mesh")

    def up(self, scenario: Any) -> Any:
        self.asked.append(f"up {getattr(scenario, 'name', scenario)}")
        if (error := self.refuses.get(getattr(scenario, "policy", ""))) is not None:
            raise error
        return self.standing

    def down(self) -> None:
        self.asked.append("down")

    def scenarios(self, path: Path) -> tuple[Scenario, ...]:
        return self.known.get(path, ())

    def rejoin(self) -> Any:
        return self.standing.statuses

    def address(self, member: str) -> str:
        return str(self.standing.statuses[member].address)

    def run_on(self, _nr: object, names: object, task: Callable[..., Any], **given: object) -> Any:
        del names
        self.asked.append(task.__name__)
        answer = self.answers.get(task.__name__)
        return answer(**given) if answer else {}


def test_a_key_is_tried_by_the_stage_that_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which need not be the last one: those after it are not run with a key that was taken back."""
    tried: list[str] = []
    nodes: Any = Nodes(monkeypatch)

    def run_on(_nr: object, names: Any, task: Any, **asked: Any) -> Any:
        if task.__name__ == "join_stage":
            tried.append(asked["stage"].name)
            raise failing(REFUSED)
        return {}

    stages = [SimpleNamespace(name=name) for name in ("keys", "enrollment", "daemons")]
    before: list[list[str]] = []
    monkeypatch.setattr(verifying_members, "run_on", run_on)
    monkeypatch.setattr(verifying_members, "stages_of", lambda *_: stages)
    monkeypatch.setattr(
        verifying_members,
        "run_stages",
        lambda _site, run, _mesh: before.append([one.name for one in run if run]),
    )
    nodes.standing.solution.refusal = lambda _mesh, _member: Refusal("key", (), joins="enrollment")
    _, refused, _ = registration(nodes)
    assert refused.holds
    assert tried == ["enrollment"]
    assert before == [["keys"], []]


def test_a_client_that_ends_with_an_error_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: Any = Nodes(monkeypatch, join_stage=raiser(failing(REFUSED)))
    _, refused, _ = registration(nodes)
    assert (refused.seen, refused.holds) == ("it is refused: the key is expired", True)
    assert nodes.asked == ["up direct", "leave_mesh", "join_stage", "leave_mesh"]


@pytest.mark.parametrize(
    "error",
    [
        NodeUnreachableError("worker2", "the connection was cut"),
        CheckError("lease", "worker2: the lease is over or another's; nothing was changed"),
        *(CommandError("worker2", ("join",), code, "") for code in (124, 137, -1)),
    ],
)
def test_what_only_went_wrong_refuses_nobody(monkeypatch: pytest.MonkeyPatch, error: VpnmeshError) -> None:
    """Nobody said that the key is no good: it is not known whether it would have been."""
    nodes: Any = Nodes(monkeypatch, join_stage=raiser(failing(error)))
    with pytest.raises(HostsFailedError):
        registration(nodes)
    assert nodes.asked[-1] == "leave_mesh"


@pytest.mark.parametrize(("held", "value"), [(True, Value.UNMET), (False, Value.UNKNOWN)])
def test_no_path_under_a_block_is_unmet_only_where_packets_show_the_block(
    monkeypatch: pytest.MonkeyPatch, value: Value, *, held: bool
) -> None:
    nodes: Any = Nodes(monkeypatch)
    nodes.refuses["block-udp"] = CheckError("path", "worker1 reaches worker2 not at all, wanted relay")
    monkeypatch.setattr(verifying_paths, "firewall_policy", lambda _site, name: nodes.asked.append(name))
    proof = [SimpleNamespace(holds=held)]
    monkeypatch.setattr(firewall, "prove", lambda *_: proof)
    nodes.site.testbed = None
    assert judge(relay_tcp(nodes))[0] is value
    assert nodes.asked == ["up nebula-relay-no-udp", "up nebula-relay", "block-udp", "down"]


def test_a_block_that_does_not_hold_is_no_word_about_the_vpn(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: Any = Nodes(monkeypatch)
    nodes.refuses["block-udp"] = CheckError("firewall", "worker1 to worker2: passes under policy block-udp")
    with pytest.raises(CheckError, match="passes under policy"):
        relay_tcp(nodes)


@pytest.fixture
def putting(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nodes that are asked for what they undo as `promised`, and that hold a lease."""
    nodes: Any = Nodes(monkeypatch)
    nodes.site.lease = SimpleNamespace(unclean=set())
    monkeypatch.setattr(verifying_outside, "promise", lambda *_: nodes.asked.append("promised"))
    return nodes


FACTS: Any = {"worker1": provisional.network_behind(), "worker2": provisional.network_behind()}
PUT = "put_for_a_while"


def test_what_was_put_on_nodes_is_removed_to_the_end_though_a_signal_comes(putting: Any) -> None:
    """What the nodes were told to undo is theirs until the scenario goes."""
    signals = [None, InterruptedRunError(15), None]

    def put(**_: object) -> None:
        if (signal := signals.pop(0)) is not None:
            raise signal

    putting.answers[PUT] = put
    with pytest.raises(InterruptedRunError), verifying_outside._put(putting, FACTS, FACTS):
        pass
    assert putting.asked == ["promised", PUT, PUT, PUT]


def test_a_node_where_it_could_not_be_removed_goes_on_owing_it(putting: Any) -> None:
    """It is named, the others have nothing to undo of it any more, and what the check saw counts."""
    with verifying_outside._put(putting, FACTS, FACTS):
        putting.answers[PUT] = raiser(failing(NodeUnreachableError("worker2", "the connection was cut")))
    assert putting.site.lease.unclean == {"worker2"}
    assert "worker2: no SSH: the connection was cut" in putting.site.complaints[0]
    assert putting.asked[-1] == "promised"


HEARD = flows.Heard((), 1, ("names.example",))


@pytest.fixture
def restarting(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nodes whose programs take the seconds of `takes` to start anew; `listened` are those of every listening."""
    nodes: Any = Nodes(monkeypatch)
    nodes.takes, nodes.listened = [], []
    nodes.rejoin = lambda: time.sleep(nodes.takes.pop(0))
    nodes.pings = lambda *_: None
    nodes.run_as = []

    def watch(places: dict[str, object], commands: list[tuple[str, Command]]) -> Any:
        nodes.listened.append(float(commands[0][1].argv[1]))
        return SimpleNamespace(heard=dict.fromkeys(places, HEARD))

    nodes.watch = watch
    monkeypatch.setattr(
        verifying_outside,
        "processes_of",
        lambda _: {"worker1": [nodes.run_as.pop(0) if nodes.run_as else f"{time.monotonic_ns()} vpnd"]},
    )
    return nodes


def test_programs_that_start_anew_for_longer_than_was_listened_do_so_once_more(restarting: Any) -> None:
    """What was heard both times counts."""
    restarting.takes = [0.2, 0.0]
    places = {"firewall": ["eth0"], "worker1": [flows.ANY]}
    heard, listened_s = verifying_outside._while_restarting(restarting, places)
    assert heard == dict.fromkeys(places, flows.Heard((), 2, ("names.example",)))
    assert restarting.listened[0] == 0.1
    assert restarting.listened[1] >= 0.4
    assert listened_s == pytest.approx(sum(restarting.listened))
    restarting.takes = [0.0]
    assert verifying_outside._while_restarting(restarting, places) == (dict.fromkeys(places, HEARD), 0.1)


def test_nothing_is_said_where_a_program_was_not_started_anew(restarting: Any) -> None:
    """Then nothing was seen of its start."""
    restarting.takes, restarting.run_as = [0.0], ["7 vpnd", "7 vpnd"]
    with pytest.raises(CheckError, match="these programs were not started anew: worker1: 7 vpnd"):
        verifying_outside._while_restarting(restarting, {"firewall": ["eth0"]})


def test_a_name_that_is_looked_up_is_told_with_its_node() -> None:
    """Who has no address for a name sends nothing there: a lookup alone is unmet. Nodes' own names are not."""
    nodes: Any = SimpleNamespace(
        site=SimpleNamespace(testbed=SimpleNamespace(nodes=[SimpleNamespace(name="relay")]))
    )
    heard = {"worker1": flows.Heard((), 0, ("logs.example", "relay")), "relay": flows.Heard(())}
    told = verifying_outside._names(nodes, heard)
    assert (told.seen, told.holds) == ("logs.example (worker1)", False)
    quiet = verifying_outside._names(nodes, {"worker1": flows.Heard((), 0, ("relay",))})
    assert (quiet.seen, quiet.holds) == ("none", True)


def test_nothing_is_said_where_they_never_start_within_what_is_listened_to(restarting: Any) -> None:
    restarting.takes = [0.15, 1.0]
    with pytest.raises(CheckError, match="give --hold more"):
        verifying_outside._while_restarting(restarting, {"firewall": ["eth0"]})


def test_members_ping_until_the_change_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss at the end of a change that takes longer than one turn of pings is counted."""
    nodes: Any = Nodes(monkeypatch)
    third_turn = threading.Event()
    turns: list[PingSummary] = []

    def pings(*_: object) -> PingSummary:
        turns.append(PingSummary(100, 100 if len(turns) < 2 else 0, None, f"turn {len(turns)}"))
        if len(turns) == 3:
            third_turn.set()
        return turns[-1]

    nodes.pings = pings
    seen = verifying_members._while_pinging(nodes, "it", lambda: third_turn.wait(10))
    assert not seen.holds
    assert seen.text.startswith("turn 0\nturn 1\nturn 2")


def secrecy(nodes: Any, *fails: str) -> list[str]:
    """The scenarios of which a marker was listened for; those of `fails` do not come up."""

    def up(scenario: Scenario) -> None:
        if scenario.name in fails:
            raise CheckError("path", "not at all")
        nodes.trials.setdefault(scenario.name, (scenario, "trial"))

    nodes.up = up
    nodes.catalogue = BUILT_IN
    return [one.what.split(":")[0] for one in encryption(nodes)]


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nodes where the marker of every trial is read nowhere."""
    nodes: Any = Nodes(monkeypatch)
    nodes.site.testbed = None
    monkeypatch.setattr(verifying_paths, "read_outside", lambda *_: ())
    monkeypatch.setattr(verifying_paths, "_heard", lambda _trial: "")
    monkeypatch.setattr(
        verifying_paths,
        "_secret",
        lambda _checks, scenario, _trial: Observation(scenario.name, "nowhere", "nowhere", holds=True),
    )
    return nodes


def test_encryption_is_tried_directly_and_relayed(unheard: Any) -> None:
    """Each only where it was not heard before, and where the solution has it."""
    assert secrecy(unheard)[:-1] == ["nebula-direct", "nebula-relay"]
    unheard.trials = {"nebula-relay": (scenario_named("nebula-relay"), "trial")}
    assert secrecy(unheard)[:-1] == ["nebula-relay", "nebula-direct"]
    unheard.trials, unheard.known = {}, {Path.DIRECT: unheard.known[Path.DIRECT]}
    assert secrecy(unheard)[:-1] == ["nebula-direct"]


def test_without_the_relayed_one_encryption_is_not_known(unheard: Any) -> None:
    with pytest.raises(UnavailableError, match="nebula-relay: path: not at all"):
        secrecy(unheard, "nebula-relay")


@pytest.mark.parametrize(("received", "value"), [(300, Value.MET), (0, Value.UNMET)])
def test_a_full_mesh_answers(monkeypatch: pytest.MonkeyPatch, received: int, value: Value) -> None:
    """Whatever both ends say of their path, and though nothing passes the relay node."""
    nodes: Any = Nodes(monkeypatch)
    relay = SimpleNamespace(name="relay", leg=SimpleNamespace(interface="eth0"), underlay="192.0.2.9")
    nodes.site.testbed = SimpleNamespace(relay=relay)
    peer = SimpleNamespace(name="", path=Path.DIRECT, endpoint="", via="")
    status = SimpleNamespace(peer=lambda _name: peer, peers=[])
    nodes.statuses = lambda: dict.fromkeys(MEMBERS, status)

    def watch(_places: object, commands: list[tuple[str, Command]]) -> Any:
        to_relay = commands[0][1].argv[-1] == relay.underlay
        found = [_ping(300 if to_relay else received) for _ in commands]
        passing = 600 * 1028 if to_relay else 0
        here, there = IPv4Address("192.0.2.8"), IPv4Address("192.0.2.9")
        flow = flows.Flow("eth0", "icmp", here, there, 0, 0, 600, passing)
        return SimpleNamespace(said=found, heard={"relay": flows.Heard((flow,))})

    nodes.watch = watch
    assert judge(full_mesh(nodes))[0] is value


def _ping(received: int) -> Any:
    times = "rtt min/avg/max/mdev = 0.1/0.2/0.3/0.1 ms\n" if received else ""
    lost = 100 - received / 3
    return SimpleNamespace(
        stdout=f"300 packets transmitted, {received} received, {lost:g}% packet loss, time 600ms\n{times}"
    )
