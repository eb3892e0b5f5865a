"""Daemons on nodes: started, found and stopped the same way with systemd and without it.

A service's pid and the digest of what it runs lie in /run/vpnmesh, so "already so" means: the process lives
and runs exactly this command with exactly this configuration.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vpnmesh.plan import Command, Completed, Fact, Plan, Step, Text, WriteFile, reveal, unified_diff

RUN_DIRECTORY = "/run/vpnmesh"

# constant scripts; everything variable comes as an argument, never as text in them
_PROBE = 'd="$1"; pid=$(cat "$d.pid") && kill -0 "$pid" && cat "$d.spec"'
_START = """
d="$1"; unit="$2"; shift 2
if [ -d /run/systemd/system ]; then
  systemd-run --quiet --collect --unit="$unit" -- "$@" && systemctl show -p MainPID --value "$unit" > "$d.pid"
else
  setsid -f sh -c 'echo $$ > "$0.pid"; exec "$@" > "$0.log" 2>&1 < /dev/null' "$d" "$@"
fi
i=0; while [ ! -s "$d.pid" ] && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done
sleep 0.2; kill -0 "$(cat "$d.pid")" || { tail -n 3 "$d.log" >&2; exit 1; }
"""
_STOP = """
d="$1"; pid=$(cat "$d.pid" 2>/dev/null)
if [ -n "$pid" ] && kill "$pid" 2>/dev/null; then
  i=0; while kill -0 "$pid" 2>/dev/null && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done
  kill -9 "$pid" 2>/dev/null
fi
rm -f "$d.pid" "$d.spec" "$d.log"
"""


@dataclass(frozen=True, slots=True)
class Service:
    """A daemon: its name (a file name), what it runs, and the files it reads."""

    name: str
    argv: tuple[str, ...]
    files: tuple[WriteFile, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The path that pid file, digest and log share."""
        return f"{RUN_DIRECTORY}/{self.name}"

    @property
    def command(self) -> tuple[str, ...]:
        """The argv with its environment in front."""
        pairs = tuple(f"{key}={value}" for key, value in sorted(self.environment.items()))
        return ("env", *pairs, *self.argv) if pairs else self.argv

    @property
    def digest(self) -> str:
        """What is wanted to run, in short; a changed file or argument changes it."""
        parts: list[Text] = [
            *self.command,
            *(part for file in self.files for part in (file.path, file.content)),
        ]
        return hashlib.sha256("\0".join(reveal(part) for part in parts).encode()).hexdigest()[:16]


def running(service: Service) -> Fact[Plan]:
    """Have the service run with exactly these files: an empty plan when it does."""
    return probe(service.name).map(lambda found: _start_plan(service, found))


def probe(name: str) -> Fact[str]:
    """The digest that the running service was started with, "" when it does not run."""

    def parse(completed: Sequence[Completed]) -> str:
        return completed[0].stdout.strip() if completed[0].exit_code == 0 else ""

    return Fact((Command(("sh", "-c", _PROBE, "sh", f"{RUN_DIRECTORY}/{name}"), ok=(0, 1)),), parse)


def stopped(name: str, *paths: str) -> Fact[Plan]:
    """Have no such service, and none of these files and folders of it."""
    files = tuple(f"{RUN_DIRECTORY}/{name}.{end}" for end in ("pid", "spec", "log")) + paths

    def parse(completed: Sequence[Completed]) -> Plan:
        left = completed[0].stdout.split()
        if not left:
            return Plan()
        steps = (stop(name), *((Command(("rm", "-rf", "--", *paths)),) if paths else ()))
        return Plan(steps, unified_diff(f"service {name}", "\n".join(left), ""))

    find = ("sh", "-c", 'for f in "$@"; do [ -e "$f" ] && echo "$f"; done; true', "sh", *files)
    return Fact((Command(find),), parse)


def stop(name: str) -> Command:
    """End the service: TERM, then KILL after five seconds; fine if it does not run."""
    return Command(("sh", "-c", _STOP, "sh", f"{RUN_DIRECTORY}/{name}"))


def _start_plan(service: Service, found: str) -> Plan:
    if found == service.digest:
        return Plan()
    start = Command(("sh", "-c", _START, "sh", service.base, f"vpnmesh-{service.name}", *service.command))
    steps: tuple[Step, ...] = (
        stop(service.name),
        Command(("mkdir", "-p", "-m", "0755", RUN_DIRECTORY)),
        *service.files,
        start,
        WriteFile(f"{service.base}.spec", service.digest),
    )
    diffs = [unified_diff(f"service {service.name}", found and f"runs {found}", f"runs {service.digest}")]
    diffs += [unified_diff(file.path, None, file.content) for file in service.files]
    return Plan(steps, "\n".join(diffs))
