"""docs/from-lab-to-your-machines.md, walked step by step on hosts that are somebody else's."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.live.conftest import place_for_a_lab
from tests.live.ladder_hosts import (
    Controller,
    RealHosts,
    hosts_file,
    owners_vpn_lives,
    real_hosts,
    settled,
    take_labs_engine,
)
from tests.live.ladder_page import Step, steps_of, unlike
from vpnmesh.lab.substrate import examine

pytestmark = pytest.mark.live

PAGE = ROOT / "docs" / "from-lab-to-your-machines.md"
ASKS = "inventory trust"
"""The one command that asks its user, and takes no option instead without the very keys."""
BEFORE_HOSTS = "2 Write the inventory"


@pytest.fixture
def place(root: None, tmp_path: Path) -> Iterator[Path]:
    """Where the hosts may stand."""
    del root
    with place_for_a_lab(tmp_path / "hosts") as directory:
        yield directory


def follow(step: Step, controller: Controller, hosts: RealHosts | None) -> list[str]:
    """Type what the page says; what is otherwise than it says."""
    begun = time.monotonic()
    if step.on_nodes:
        assert hosts
        if "userdel" in step.command:
            hosts.await_logout()
        said = {name: hosts.as_root(name, step.command) for name in hosts.names}
        wrong = [f"{name}: {line!r}" for name, text in said.items() if (line := unlike(step, text))]
    else:
        done = controller.answer(step.command, "y") if ASKS in step.command else controller.run(step.command)
        said = {"": done.stdout}
        wrong = [f"{line!r}"] if (line := unlike(step, done.stdout)) else []
        if done.returncode != step.exit_code:
            wrong.append(f"exit code {done.returncode}")
    print(f"\n== {time.monotonic() - begun:.1f} s  {step.command}\n{next(iter(said.values()))}", flush=True)
    return [f"{step.heading}: {step.command}: {one}" for one in wrong]


def test_the_page_as_it_is_written(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    controller = Controller(home, tmp_path / "state", tmp_path / "etc-hosts")
    controller.hosts.write_text("127.0.0.1 localhost\n")
    steps = steps_of(PAGE)
    first = [step for step in steps if step.heading == BEFORE_HOSTS]
    rest = [step for step in steps if step.heading != BEFORE_HOSTS]
    wrong = [one for step in first for one in follow(step, controller, None)]
    if not examine(["netem"]).has("netem"):
        take_labs_engine(home / "my-testbed" / "hosts.yaml")
    with real_hosts(home / "my-testbed", place) as hosts:
        controller.hosts.write_text(hosts_file(hosts))
        before = hosts.listing()
        for step in rest:
            public = home / ".ssh" / "id_ed25519.pub"
            if public.exists():
                hosts.variables["KEY"] = public.read_text().strip()
            hosts.variables["CONTROLLER"] = hosts.lab.record.controller.partition("/")[0]
            wrong += follow(step, controller, hosts)
        assert owners_vpn_lives(hosts)
        assert settled(hosts, before) == {}
    assert wrong == []
