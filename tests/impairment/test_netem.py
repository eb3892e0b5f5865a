"""Netem's plans, and what is read of `tc`; the captures are from a kernel that has it, in an emulator."""

import dataclasses
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from vpnmesh.errors import CheckError, ToolError
from vpnmesh.impairment.engine import Impairment, InstalledImpairment, check_held
from vpnmesh.impairment.netem import NetemEngine
from vpnmesh.impairment.targets import Target
from vpnmesh.model import Condition
from vpnmesh.plan import Command, Completed, Plan, WriteFile
from vpnmesh.tools import netem as tc

FIVE_AT_50 = Impairment(Condition(loss_pct=5, delay_ms=50), 6098)
WHOLE = Target("worker1", "underlay-client", "eth0")
PREFIXES = (IPv4Network("192.88.99.0/27"), IPv4Network("192.88.99.32/29"))
SHARED = dataclasses.replace(WHOLE, destinations=PREFIXES)
POD = Target("worker1", "pod-client", "eth0", netns="vpnmesh-pod")
ENGINE = NetemEngine()
NETEM = "netem limit 6098 delay 50ms loss 5%"
FILES = "underlay-client.deadman.pid\nunderlay-client.deadman.sh\n"
FOLDER = "/run/vpnmesh/impairment"


class Node:
    """What a node answers to the engine's questions."""

    def __init__(self, captured: Path) -> None:
        self.captured = captured

    def held(
        self,
        target: Target,
        qdiscs: str,
        filters: str = "",
        former: str = "",
        files: str = "",
        armed: int = 3,
    ) -> InstalledImpairment:
        """Have the engine read captured qdiscs and filters, a noted former root, files, and the deadman's status."""
        answers = (
            self._captured(qdiscs),
            self._captured(filters) if filters else (0, "[ ]"),
            (0, former) if former else (1, ""),
            (armed, ""),
            (0, files) if files else (2, ""),
        )
        fact = ENGINE.observe(target)
        assert len(fact.commands) == len(answers)
        return fact.parse(
            [
                Completed(command.argv, code, text, "Cannot find device" if code else "")
                for command, (code, text) in zip(fact.commands, answers, strict=True)
            ]
        )

    def _captured(self, case: str) -> tuple[int, str]:
        return (1, "") if case == "no-device" else (0, (self.captured / "tc" / case / "stdout").read_text())


@pytest.fixture
def node(captured: Path) -> Node:
    return Node(captured)


def argvs(plan: Plan, only: str = "tc") -> list[str]:
    """The plan's commands as text, those that call `only`."""
    commands = [" ".join(step.argv) for step in plan.steps if isinstance(step, Command)]
    return [text for text in commands if only in text.split()]


def test_a_whole_device(node: Node) -> None:
    """One netem at the root, with the limit said, after the deadman was armed."""
    plan = ENGINE.set(WHOLE, FIVE_AT_50, node.held(WHOLE, "noqueue-default"))
    netem = "tc qdisc replace dev eth0 root handle 2130: netem limit 6098 delay 50ms loss 5%"
    assert argvs(plan) == [netem]
    assert " ".join(plan.steps[-1].argv if isinstance(plan.steps[-1], Command) else ()) == netem
    assert plan.diff.splitlines()[-2:] == ["+netem limit 6098 delay 50ms loss 5%", "+deadman armed"]


def test_set_twice_is_nothing(node: Node) -> None:
    """What tc shows of our netem is what we want, so the second plan is empty and the check passes."""
    held = node.held(WHOLE, "netem-root", files=FILES, armed=0)
    assert ENGINE.set(WHOLE, FIVE_AT_50, held) == Plan()
    check_held(held, FIVE_AT_50)


def test_another_condition_replaces(node: Node) -> None:
    """350 ms at limit 42683 is not 50 ms and 5 %: all is undone and made anew."""
    held = node.held(WHOLE, "netem-delay-only", files=FILES, armed=0)
    assert (held.condition, held.limit_packets) == (Condition(delay_ms=350), 42683)
    plan = ENGINE.set(WHOLE, FIVE_AT_50, held)
    assert argvs(plan)[0] == "tc qdisc del dev eth0 root"
    assert "-netem limit 42683 delay 350ms" in plan.diff.splitlines()


def test_clear_leaves_the_kernels_default(node: Node) -> None:
    """Clear takes the root away, the deadman and the files; on a clean device it is nothing."""
    plan = ENGINE.clear(WHOLE, node.held(WHOLE, "netem-root", files=FILES, armed=0))
    assert argvs(plan) == ["tc qdisc del dev eth0 root"]
    assert len(argvs(plan, "start-stop-daemon")) == 1
    assert len(argvs(plan, "rm")) == 1
    assert ENGINE.clear(WHOLE, node.held(WHOLE, "noqueue-default")) == Plan()


def test_none_means_clear(node: Node) -> None:
    """Setting the condition `none` is clearing."""
    held = node.held(WHOLE, "netem-root", files=FILES, armed=0)
    assert ENGINE.set(WHOLE, Impairment(Condition(), 1000), held) == ENGINE.clear(WHOLE, held)


def test_under_a_shaper(node: Node) -> None:
    """A tbf keeps its rate: netem becomes its child, and clearing makes the tbf as it was."""
    held = node.held(WHOLE, "tbf")
    handle = tc.parse_qdiscs(held.former)[0].handle
    plan = ENGINE.set(WHOLE, FIVE_AT_50, held)
    assert argvs(plan) == [
        f"tc qdisc replace dev eth0 parent {handle}1 handle 2130: netem limit 6098 delay 50ms loss 5%"
    ]
    standing = node.held(WHOLE, "netem-under-tbf", files=FILES + "underlay-client.former\n", armed=0)
    assert argvs(ENGINE.clear(WHOLE, standing)) == [
        "tc qdisc del dev eth0 root",
        "tc qdisc replace dev eth0 root handle 8001: tbf rate 1000000000bit burst 262187 latency 20000us",
    ]
    assert ENGINE.set(WHOLE, FIVE_AT_50, standing) == Plan()


def test_a_former_root_is_noted_and_comes_back(node: Node) -> None:
    """A pfifo that somebody set gives way to netem, is noted on the node, and comes back."""
    held = node.held(WHOLE, "pfifo")
    notes = [step for step in ENGINE.set(WHOLE, FIVE_AT_50, held).steps if isinstance(step, WriteFile)]
    assert [note.path for note in notes] == [
        f"{FOLDER}/underlay-client.former",
        f"{FOLDER}/underlay-client.deadman.sh",
    ]
    standing = node.held(WHOLE, "netem-root", former=str(notes[0].content), files=FILES, armed=0)
    handle = tc.parse_qdiscs(held.former)[0].handle
    restored = f"tc qdisc replace dev eth0 root handle {handle} pfifo limit 500"
    assert argvs(ENGINE.clear(WHOLE, standing)) == ["tc qdisc del dev eth0 root", restored]
    assert restored in str(notes[1].content)


@pytest.mark.parametrize("case", ["htb", "mq", "netem-foreign"])
def test_what_cannot_come_back_is_not_touched(node: Node, case: str) -> None:
    """A root that we could not make again, somebody's netem among them, is refused with a sentence."""
    with pytest.raises(CheckError, match=r"worker1: eth0 has a root qdisc .* could not be put back"):
        ENGINE.set(WHOLE, FIVE_AT_50, node.held(WHOLE, case))


def test_no_such_device(node: Node) -> None:
    """A missing device (no pods yet) is said in tc's words; clearing there is nothing."""
    held = node.held(POD, "no-device")
    with pytest.raises(CheckError, match="worker1: eth0: Cannot find device"):
        ENGINE.set(POD, FIVE_AT_50, held)
    assert ENGINE.clear(POD, held) == Plan()


def test_beside_management(node: Node) -> None:
    """On a shared NIC a fourth band of a prio, which only the testbed's prefixes reach, holds the netem."""
    plan = ENGINE.set(SHARED, FIVE_AT_50, node.held(SHARED, "noqueue-default"))
    into = "tc filter add dev eth0 parent 2130: protocol ip prio 1 flower dst_ip"
    assert argvs(plan) == [
        "tc qdisc replace dev eth0 root handle 2130: prio bands 4 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1",
        "tc qdisc replace dev eth0 parent 2130:4 handle 2140: netem limit 6098 delay 50ms loss 5%",
        f"{into} 192.88.99.0/27 classid 2130:4",
        f"{into} 192.88.99.32/29 classid 2130:4",
    ]
    held = node.held(SHARED, "netem-shared", "flower-shared", files=FILES, armed=0)
    assert ENGINE.set(SHARED, FIVE_AT_50, held) == Plan()
    check_held(held, FIVE_AT_50)


def test_a_lost_filter_is_noticed(node: Node) -> None:
    """Netem without its filters impairs nothing, and says so."""
    held = node.held(SHARED, "netem-shared", files=FILES, armed=0)
    assert not held.condition
    with pytest.raises(CheckError, match="filters on eth0 are not the testbed's prefixes"):
        check_held(held, FIVE_AT_50)


def test_foreign_options_are_noticed(node: Node) -> None:
    """What no condition has, a gap and correlated reordering, is said."""
    held = node.held(WHOLE, "netem-jitter", files=FILES, armed=0)
    with pytest.raises(CheckError, match="what nobody asked for: gap, reordering correlation"):
        check_held(held, FIVE_AT_50)


def test_without_a_deadman_it_is_made_anew(node: Node) -> None:
    """An impairment that nobody would lift is a fault, and setting it again arms the deadman and awaits it."""
    held = node.held(WHOLE, "netem-root", files=FILES, armed=1)
    with pytest.raises(CheckError, match="no deadman would lift it"):
        check_held(held, FIVE_AT_50)
    assert len(argvs(ENGINE.set(WHOLE, FIVE_AT_50, held), "start-stop-daemon")) == 3


def test_in_a_pods_namespace(node: Node) -> None:
    """A pod's netem stands inside its namespace, the deadman and the files on the node."""
    plan = ENGINE.set(POD, FIVE_AT_50, node.held(POD, "noqueue-default"))
    assert argvs(plan) == [f"ip netns exec vpnmesh-pod tc qdisc replace dev eth0 root handle 2130: {NETEM}"]


def test_renew_restarts_only_the_deadman(node: Node) -> None:
    """Renewing touches no qdisc; with nothing held it is nothing."""
    held = node.held(WHOLE, "netem-root", files=FILES, armed=0)
    plan = ENGINE.renew(WHOLE, FIVE_AT_50, held)
    assert argvs(plan) == []
    assert len(argvs(plan, "start-stop-daemon")) == 3
    assert ENGINE.renew(WHOLE, FIVE_AT_50, node.held(WHOLE, "noqueue-default")) == Plan()


@pytest.mark.parametrize("text", ["[{", '{"kind": 1}', "RTNETLINK answers: Operation not permitted"])
def test_unreadable_tc(text: str) -> None:
    """What is no list of qdiscs is a ToolError, never an empty device."""
    with pytest.raises(ToolError, match="tc: unreadable qdiscs"):
        tc.parse_qdiscs(text)


def test_a_former_qdisc_survives_the_note(captured: Path) -> None:
    """What is noted of a root reads back as the same qdisc."""
    (found,) = tc.parse_qdiscs((captured / "tc" / "tbf" / "stdout").read_text())
    assert tc.parse_qdiscs(tc.dump_qdisc(found)) == (found,)


def test_words_for_fq_codel() -> None:
    """tc prints microseconds bare and rounded down, and reads them with a unit (tried on Linux 6.1)."""
    options = {"limit": 10240, "flows": 1024, "quantum": 1514, "target": 4999, "interval": 99999, "ecn": True}
    words = "fq_codel limit 10240 flows 1024 quantum 1514 target 5000us interval 100000us ecn"
    assert tc.Qdisc("fq_codel", "1:", root=True, options=options).words == tuple(words.split())


def test_fq_codel_comes_back_as_captured(captured: Path) -> None:
    """Debian's default, when somebody set it by hand, is made again option by option."""
    (found,) = tc.parse_qdiscs((captured / "tc" / "fq-codel" / "stdout").read_text())
    words = "limit 10240 flows 1024 quantum 1514 target 5000us interval 100000us memory_limit 33554432 drop_batch 64"
    assert found.words == ("fq_codel", *words.split(), "ecn")
