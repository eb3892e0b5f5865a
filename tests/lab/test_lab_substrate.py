"""What is missing is said in one sentence, with the package that brings it."""

import os

import pytest

from tests.needs import needs
from vpnmesh.errors import UnavailableError
from vpnmesh.host.probes import PROBES, PROGRAMS, Program
from vpnmesh.lab.substrate import (
    NEEDED,
    READ_ONLY_ROOT,
    Capability,
    Substrate,
    missing_programs,
    require,
    try_inside,
)


def _substrate(*, lacks: tuple[str, ...] = (), missing: tuple[Program, ...] = ()) -> Substrate:
    needed = {probe.name: probe.needed for probe in PROBES} | {READ_ONLY_ROOT: True}
    capabilities = (
        Capability(name, available=name not in lacks, detail="said so", needed=needed[name])
        for name in sorted(NEEDED)
    )
    return Substrate("namespaces", "6.1", tuple(capabilities), missing)


def test_a_usual_kernel_carries_a_lab() -> None:
    """Nothing is raised where all is there."""
    require(_substrate(), shaped=True)


def test_missing_programs_come_with_their_packages() -> None:
    """All needed ones at once, those that only some tasks need not at all."""
    missing = tuple(program for program in PROGRAMS if program.name in ("tini", "sshd", "iperf3"))
    with pytest.raises(UnavailableError) as caught:
        require(_substrate(missing=missing), shaped=False)
    assert str(caught.value) == "not installed: sshd, tini; apt-get install openssh-server tini"


@pytest.mark.parametrize(
    ("lacks", "sentence"),
    [
        (("bridge",), "this kernel has no bridge (said so)"),
        ((READ_ONLY_ROOT,), "this kernel has no read-only-root (said so)"),
        (
            ("port-isolation", "nft-bridge"),
            "this kernel can keep management ports apart neither by bridge nor by nft",
        ),
        (("tbf",), "this kernel cannot shape ports (tbf); bring the lab up with --port-rate none"),
    ],
)
def test_a_lacking_kernel_is_one_sentence(lacks: tuple[str, ...], sentence: str) -> None:
    """What it lacks, and the way out where there is one."""
    with pytest.raises(UnavailableError) as caught:
        require(_substrate(lacks=lacks), shaped=True)
    assert sentence == str(caught.value)


def test_a_probe_without_an_answer_says_nothing_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is slow is not taken for one that lacks something."""
    needs(os.geteuid() == 0, "namespaces need root")
    monkeypatch.setattr("vpnmesh.lab.substrate._TIMEOUT_S", 0.05)
    refusal = try_inside((("sleep", "60"),))
    assert refusal == "no answer in 0.05 s"
    silent = Capability("namespaces", available=False, detail=f"one set per node: {refusal}", needed=True)
    with pytest.raises(UnavailableError) as caught:
        require(Substrate("namespaces", "6.1", (silent,), ()), shaped=False)
    asked = "is this machine too busy? Nothing says whether its kernel has namespaces"
    assert str(caught.value) == f"{asked} (one set per node: no answer in 0.05 s)"


def test_an_unshaped_lab_needs_no_tbf_and_one_isolation_is_enough() -> None:
    """A feature that is not used is not asked for."""
    require(_substrate(lacks=("tbf", "port-isolation")), shaped=False)


def test_programs_of_vpns_are_looked_for_by_what_the_vpns_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that a Debian package brings, once, and none of them keeps a lab from being built."""
    monkeypatch.setattr("vpnmesh.lab.substrate._PATH", "")
    missing = {program.name: program for program in missing_programs()}
    assert (missing["wg"].package, missing["wireguard-go"].package) == ("wireguard-tools", "wireguard-go")
    assert missing["nebula"] == Program("nebula", "nebula")
    assert len(missing) == len(missing_programs())
    own = {program.name for program in PROGRAMS}
    assert [name for name, program in missing.items() if name not in own and program.needed] == []
