"""The live check of isolated meshes against nodes that are made up: who reaches whom is a rule of the test."""

from collections.abc import Callable
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest

from vpnmesh.criteria.catalogue import Value
from vpnmesh.criteria.observation import Part, judge
from vpnmesh.errors import ToolError, UnavailableError
from vpnmesh.solutions.control import SecondMesh
from workflows.run import verifying
from workflows.run import verifying_meshes as meshes

MEMBERS = ("master", "worker1", "worker2")
FIRST = {name: IPv4Address(f"10.0.0.{number}") for number, name in enumerate(MEMBERS, 1)}
SECOND = {name: IPv4Address(f"10.0.1.{number}") for number, name in enumerate(MEMBERS, 1)}
Leak = Callable[["Lab", str, str, str], bool]


class Lab:
    """Three members, and which of them is in which mesh; `leaks` says what passes though it should not."""

    def __init__(self, leaks: Leak = lambda *_: False, *, both: bool = True) -> None:
        self.second: SecondMesh | None = None
        self.asked: list[SecondMesh | None] = []
        self.tried: list[tuple[str, str, str]] = []
        self.leaks, self.ended = leaks, False
        self.client, self.server, self.third, self.direct = "worker1", "worker2", "master", "direct"
        statuses = {name: SimpleNamespace(interface="vpn0") for name in MEMBERS}
        self.solution = SimpleNamespace(
            second_mesh=lambda _mesh, second: (second,),
            in_second=lambda _mesh, node: ("vpn1", SECOND[node]) if both else ("vpn0", FIRST[node]),
            member_of_two=both,
            processes=(),
            parted_by="by two networks",
        )
        self.standing = SimpleNamespace(solution=self.solution, mesh="mesh", statuses=statuses)
        bed = SimpleNamespace(node=lambda name: name)
        self.site: Any = SimpleNamespace(k8s=list(MEMBERS), testbed=bed, all_nodes=MEMBERS)

    def up(self, _scenario: object) -> Any:
        return self.standing

    def down(self) -> None:
        self.ended = True

    def address(self, name: str) -> IPv4Address:
        return FIRST[name]

    def stages(self, stages: Any) -> None:
        (self.second,) = stages
        self.asked.append(self.second)

    def run(self, node: str, *argv: str) -> str:
        if argv[0] != "sh":
            return ""
        if argv[4] == "/run/vpnmesh":
            return ""
        count, interface, address = int(argv[4]), argv[6], argv[7]
        self.tried.append((node, interface, address))
        passes = self._passes(node, interface, address)
        times = "rtt min/avg/max/mdev = 0.1/0.2/0.3/0.1 ms\n" if passes else ""
        lost = 0 if passes else 100
        received = count if passes else 0
        return f"{count} packets transmitted, {received} received, {lost}% packet loss, time 600ms\n{times}"

    def meshes_of(self, name: str) -> set[str]:
        if self.second is None or name not in self.second.members:
            return {"first"}
        return {"first", "second"} if name in self.second.both else {"second"}

    def _passes(self, node: str, interface: str, address: str) -> bool:
        to = next(name for name in MEMBERS if address in (str(FIRST[name]), str(SECOND[name])))
        common = self.meshes_of(node) & self.meshes_of(to)
        return bool(common) or self.leaks(self, node, interface, address)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that is not good is not waited for."""
    monkeypatch.setattr(verifying.wait_for, "__defaults__", (0.0,))


def verdict(lab: Any) -> tuple[Value, str]:
    return judge(meshes.isolated(lab))


def test_one_member_is_in_both_and_the_others_are_apart() -> None:
    """Tried by the interface of the own mesh, at the address of either; no pair with a mesh in common is."""
    lab = Lab()
    value, reason = verdict(lab)
    assert value is Value.MET
    assert lab.asked == [SecondMesh(("worker2", "master"), both=("master",)), None]
    assert lab.ended
    assert "master and worker1 in one mesh, worker2 and master in another: members of one mesh" in reason
    assert "of 4 ways: 4 after" in reason
    assert "by 3 ways, that are answered: 0 of 60" in reason
    assert reason.endswith("how they are parted: by two networks")
    across = {
        one for one in lab.tried if "master" not in one[0] and one[2] not in map(str, (FIRST["master"],))
    }
    assert ("worker1", "vpn0", str(SECOND["worker2"])) in across
    assert ("worker2", "vpn1", str(FIRST["worker1"])) in across


def test_who_can_be_in_one_mesh_alone_is_beside_one_and_then_the_other() -> None:
    lab = Lab(both=False)
    value, reason = verdict(lab)
    assert value is Value.MET
    assert lab.asked == [SecondMesh(("worker2", "master")), SecondMesh(("worker2",)), None]
    assert "worker1 in one mesh, worker2 and master in another: " in reason
    assert "master and worker1 in one mesh, worker2 in another: " in reason


@pytest.mark.parametrize("source", ["worker1", "worker2"])
def test_one_way_that_is_open_is_unmet(source: str) -> None:
    """In one direction is enough, and it is named."""
    value, reason = verdict(Lab(lambda _lab, node, _interface, _address: node == source))
    assert value is Value.UNMET
    assert (
        f"that are answered: {'6 of 9' if source == 'worker1' else '3 of 9'} within 60 s: {source} by "
        in reason
    )


def test_a_way_that_opens_later_is_unmet() -> None:
    """Few pings at first, many once it seems to hold."""
    seen: list[str] = []

    def late(lab: Lab, node: str, interface: str, address: str) -> bool:
        seen.append(f"{node} {interface} {address}")
        return lab.second is not None and seen.count(seen[-1]) > 1

    value, reason = verdict(Lab(late))
    assert (value, "that are answered: 60 of 60" in reason) == (Value.UNMET, True)


def test_without_a_mesh_before_nothing_is_proven() -> None:
    """Nothing that is silent then says that anything was parted."""
    lab = Lab()
    lab.meshes_of = lambda name: {name}  # type: ignore[method-assign]
    assert verdict(lab)[0] is Value.UNKNOWN


def test_an_interface_that_is_not_there_is_no_silence() -> None:
    """What was never sent is not unanswered: the check ends with ping's own words, and what stands is removed."""
    lab: Any = Lab()
    ping = lab.run

    def run(node: str, *argv: str) -> str:
        gone = argv[0] == "sh" and argv[4].isdigit() and argv[6] == "vpn1" and node == "worker2"
        return "ping: unknown iface vpn1\n" if gone else str(ping(node, *argv))

    lab.run = run
    with pytest.raises(ToolError, match="unknown iface vpn1"):
        meshes.isolated(lab)
    assert lab.ended


def test_two_members_are_not_enough() -> None:
    lab: Any = Lab()
    lab.site.k8s = ["worker1", "worker2"]
    with pytest.raises(UnavailableError, match="a third member is needed"):
        meshes.isolated(lab)


def test_the_third_is_in_both_by_either_half() -> None:
    """Every pair of members of one mesh is tried in that mesh, there and back."""
    lab = Lab()
    found = [one for one in meshes.isolated(lab) if one.part is Part.DECIDES]  # type: ignore[arg-type]
    within = found[0].text.split("\n\n")[0].splitlines()
    assert within == [
        "master by vpn0 to worker1 at 10.0.0.2: 3 of 3 answered",
        "master by vpn1 to worker2 at 10.0.1.3: 3 of 3 answered",
        "worker1 by vpn0 to master at 10.0.0.1: 3 of 3 answered",
        "worker2 by vpn1 to master at 10.0.1.1: 3 of 3 answered",
    ]
