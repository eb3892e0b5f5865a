"""The Go module: what a folder of `programs/` pins, built by the ordinary Go client."""

import os
import platform
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from vpnmesh.errors import ToolError, UnavailableError
from vpnmesh.host.binaries import Arch, GoBuild, ProgramPackage
from vpnmesh.lab.binaries.go_client import go_client, parse_version, run_go
from vpnmesh.lab.binaries.places import cache_directory, cache_folder, cache_root
from vpnmesh.lab.binaries.recipe import FLAGS, linker_flags, module_folder, recipe_files
from vpnmesh.lab.binaries.source import Passing, Say

LIMIT_S = 3600.0
"""For one program: ten times what the slowest took on two cores."""
MEASURED_CORES = 2
"""Of the machine that the pinned seconds were measured on."""
MORE_HELPS = 8
"""Cores beyond these make a build little faster."""
_NOT_AS_PINNED = re.compile(
    r"checksum mismatch|SECURITY ERROR|missing go\.sum entry|updates to go\.mod needed|malformed go\.sum"
    r"|errors parsing go\.mod|inconsistent vendoring"
)
_PACKAGE = re.compile(r"^[^\s:#]+$")
"""A line of `go build -v`: the package that is compiled now."""


class GoModule:
    """Programs that a folder of `programs/` pins by go.mod and go.sum."""

    name = "the Go module"

    def serves(self, product: ProgramPackage, _arch: Arch, /) -> bool:
        """Whether a module is pinned."""
        return product.build is not None

    def get(self, product: ProgramPackage, arch: Arch, into: Path, say: Say, /) -> None:
        """Build each program; one that was finished before is taken from where it was put down."""
        if not (build := product.build):
            raise UnavailableError(f"{product.name}: {product.way()}")
        place = _Workshop(
            product, build, arch, cache_directory(arch) / f".built-{cache_folder(product, arch).name}"
        )
        place.open(say)
        for program in product.programs:
            if not (place.folder / program).exists():
                place.build_program(program, into, say)
        for program in product.programs:
            (place.folder / program).rename(into / program)
        shutil.rmtree(place.folder)


def expected_s(product: ProgramPackage) -> float:
    """About how long the build takes on this machine with empty caches; 0 for what is not built."""
    cores = len(os.sched_getaffinity(0))
    return product.build.seconds * MEASURED_CORES / min(cores, MORE_HELPS) if product.build else 0.0


def clock(seconds: float) -> str:
    """Seconds as people say them: `40 s`, `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@dataclass(slots=True)
class _Workshop:
    """A copy of what the build reads, and the programs that are finished; it outlives a build that was cut short."""

    product: ProgramPackage
    pins: GoBuild
    arch: Arch
    folder: Path
    go: Path = Path()
    began: float = field(default_factory=time.monotonic)

    def open(self, say: Say) -> None:
        """Make it ready; UnavailableError where something is missing that the build needs."""
        source = module_folder(self.pins)
        if not (source / "go.mod").is_file():
            raise UnavailableError(f"{self.product.name}: there is no programs/{self.pins.folder}/go.mod")
        self._check_compiler()
        self.folder.mkdir(exist_ok=True)
        for file in recipe_files(self.pins):
            shutil.copyfile(file, self.folder / file.name)
        line = next(
            (one for one in (source / "go.mod").read_text().splitlines() if one.startswith("go ")), ""
        )
        self.go = go_client(parse_version(line), cache_root(), say)

    def _check_compiler(self) -> None:
        """A program that needs C is built on a machine of its own architecture, with a compiler."""
        program = next((one for one in self.product.programs if one in self.pins.cgo), None)
        if program is None:
            return
        if self.arch != Arch.parse(platform.machine()):
            raise UnavailableError(
                f"{program} needs a C compiler for {self.arch}: build it on a machine of that architecture"
            )
        if not (shutil.which("gcc") or os.environ.get("CC")):
            raise UnavailableError(f"{program} needs a C compiler: apt-get install gcc libc6-dev")

    def build_program(self, program: str, into: Path, say: Say) -> None:
        """Build one and put it down finished, in one move."""
        say(f"building {program} {self.product.version} from programs/{self.pins.folder}")
        argv = self._argv(program, into / program)
        code, said = run_go(
            argv,
            self._environment(program),
            self.folder,
            lambda line: say(self._state(program, line)),
            LIMIT_S,
        )
        if code:
            raise self._failure(program, said)
        (into / program).rename(self.folder / program)

    def _state(self, program: str, line: str) -> Passing:
        gone, expected = time.monotonic() - self.began, expected_s(self.product)
        left = (
            f"about {clock(expected - gone)} left" if gone < expected else f"{clock(expected)} were expected"
        )
        doing = f"; now {line.removeprefix('go: ')[:70]}" if line else ""
        return Passing(f"{program}: {clock(gone)}, {left}{doing}")

    def _argv(self, program: str, target: Path) -> tuple[str, ...]:
        flags = linker_flags(self.product, self.pins)
        return (
            str(self.go),
            "build",
            "-v",
            *FLAGS,
            "-ldflags",
            flags,
            "-o",
            str(target),
            self.pins.packages[program],
        )

    def _environment(self, program: str) -> dict[str, str]:
        """What the user says of proxies stays; what could change the program does not."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("GOBIN", "GOROOT", "GOEXPERIMENT")
        }
        stable = cache_root() / "go"
        return kept | {
            "GOPATH": str(stable),
            "GOMODCACHE": str(stable / "mod"),
            "GOCACHE": str(stable / "build"),
            "GOFLAGS": "-modcacherw",
            "GOWORK": "off",
            "GOTOOLCHAIN": "local",
            "GO111MODULE": "on",
            "GOOS": "linux",
            "GOARCH": self.arch,
            "CGO_ENABLED": "1" if program in self.pins.cgo else "0",
        }

    def _failure(self, program: str, said: str) -> Exception:
        lines = [line.strip() for line in said.splitlines() if not _PACKAGE.match(line) and line.strip()]
        if wrong := next((line for line in lines if _NOT_AS_PINNED.search(line)), None):
            return ToolError("checksum", f"programs/{self.pins.folder}/go.sum, building {program}: {wrong}")
        last = " | ".join(lines[-3:])
        return UnavailableError(f"{self.product.name}: go build {program}: {last or 'no message'}")
