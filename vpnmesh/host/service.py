"""Daemons on nodes: started, found and stopped the same way with systemd and without it.

A service's pid and a digest of what it runs lie in /run/vpnmesh, so "already so" means: the process lives and runs
exactly this command with exactly this configuration. The digest is salted and the salt lies beside it on the node, so
that every controller can compare and nobody can look a short password up in it; no diff shows it.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from vpnmesh.errors import CheckError
from vpnmesh.host.files import existing, printed
from vpnmesh.host.salted import is_salted, salted
from vpnmesh.host.strangers import RUN_DIRECTORY as RUN_DIRECTORY  # noqa: PLC0414 - where services look for it
from vpnmesh.host.strangers import unless_strangers
from vpnmesh.model import Scenario
from vpnmesh.plan import Command, Completed, Fact, Plan, Secret, Step, Text, WriteFile, reveal, unified_diff

_SALT = secrets.token_hex(16)
"""Of the specs that this process writes: equal plans of it are equal, those of another one tell nothing."""

# constant scripts; everything variable comes as an argument, never as text in them
_LOOK_FIRST = 'PATH="$0:$PATH"; export PATH; exec "$@"'
_PROBE = 'd="$1"; pid=$(cat "$d.pid") && kill -0 "$pid" && cat "$d.spec"'
_START = """
d="$1"; unit="$2"; shift 2
# the log is for root alone, and the daemon keeps the umask that it was started with
(umask 077; : > "$d.pid"; : > "$d.log"; chmod 600 "$d.pid" "$d.log")
if [ -d /run/systemd/system ]; then
  rm -f "$d.log"
  systemd-run --quiet --collect --unit="$unit" -- "$@" && systemctl show -p MainPID --value "$unit" > "$d.pid"
else
  setsid -f sh -c 'echo $$ > "$0.pid"; exec "$@" > "$0.log" 2>&1 < /dev/null' "$d" "$@"
fi
i=0; while [ ! -s "$d.pid" ] && [ $i -lt 250 ]; do sleep 0.02; i=$((i+1)); done
kill -0 "$(cat "$d.pid")" || { tail -n 3 "$d.log" >&2; exit 1; }
"""
# for a daemon of which nothing tells that it answers: one that ends at once, its port taken, is still seen
_SURVIVES = 'sleep 0.2; kill -0 "$(cat "$0.pid")" || { tail -n 3 "$0.log" >&2; exit 1; }'
# what comes after the base is the daemon's own command that takes back all that it made: after it nothing is left that
# a daemon must be waited for
_STOP = """
d="$1"; shift; pid=$(cat "$d.pid" 2>/dev/null); signal=TERM
if [ -n "$pid" ] && [ $# -gt 0 ] && kill -0 "$pid" && timeout 10 "$@" > /dev/null; then signal=KILL; fi 2> /dev/null
if [ -n "$pid" ] && kill -s "$signal" "$pid" 2>/dev/null; then
  i=0; while kill -0 "$pid" 2>/dev/null && [ $i -lt 250 ]; do sleep 0.02; i=$((i+1)); done
  kill -9 "$pid" 2>/dev/null
fi
rm -f "$d.pid" "$d.spec" "$d.log"
"""

# also where it was made for all to read
_OWN_FOLDER = 'mkdir -p -m 0700 "$0" && chmod 0700 "$0"'
_LOGS = """
for f in "$1"/*.pid; do
  [ -e "$f" ] || continue
  base="${f%.pid}"; name="${base##*/}"; echo "@log $name"
  if [ -e "$base.log" ]; then tail -c "$2" "$base.log"
  else journalctl -q -u "vpnmesh-$name" -n 500 -o cat 2> /dev/null; fi
  echo
done
true
"""
NO_GOODBYES: Mapping[str, tuple[str, ...]] = MappingProxyType({})
"""Of daemons that end soon after TERM."""
LOG_BYTES = 65_536
"""How much of the end of a log is read."""
# a daemon that ended, because its port was taken or its configuration wrong, is not waited for; nor does another
# one's answer count as its own
_UNTIL = """
until "$@" > /dev/null 2>&1; do
  kill -0 "$(cat "$0.pid")" 2> /dev/null || { tail -n 3 "$0.log" >&2; exit 1; }
  sleep 0.05
done
kill -0 "$(cat "$0.pid")" 2> /dev/null || { tail -n 3 "$0.log" >&2; exit 1; }
"""
# a socket that listens, not the file of one: a daemon that was killed leaves its file behind
_LISTENS = 'ss -Hln "$@" | grep -q .'


@dataclass(frozen=True, slots=True)
class Service:
    """A daemon: its name (a file name), what it runs, the files it reads, and what succeeds once it answers.

    `folder` is where its program is looked for first.
    """

    name: str
    argv: tuple[str, ...]
    files: tuple[WriteFile, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Command | None = None
    folder: str = ""

    def under(self, scenario: Scenario) -> "Service":
        """The same daemon with the scenario's environment above its own, and its program from the scenario's folder."""
        environment = {**self.environment, **scenario.environment}
        return replace(self, environment=environment, folder=scenario.program_folder)

    @property
    def base(self) -> str:
        """The path that pid file, spec and log share."""
        return f"{RUN_DIRECTORY}/{self.name}"

    @property
    def command(self) -> tuple[str, ...]:
        """The argv with folder and environment in front, in whatever PATH the node starts it."""
        pairs = tuple(f"{key}={value}" for key, value in sorted(self.environment.items()))
        return looking_in(self.folder, ("env", *pairs, *self.argv) if pairs else self.argv)

    def spec(self, salt: str = _SALT) -> str:
        """What is wanted to run, in short, with the salt in front; a changed file or argument changes it."""
        return salted(self._content(), salt)

    def is_what_runs(self, found: str) -> bool:
        """Whether a spec that a node holds was made of exactly this."""
        return bool(found) and is_salted(found, self._content())

    def _content(self) -> bytes:
        parts: list[Text] = [
            *self.command,
            *(part for file in self.files for part in (file.path, file.content)),
        ]
        return "\0".join(reveal(part) for part in parts).encode()


def looking_in(folder: str, argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command with the folder put before PATH, for its own program and all that it starts; "" changes nothing."""
    return ("sh", "-c", _LOOK_FIRST, folder, *argv) if folder else argv


def running(service: Service, scenario: Scenario | None = None) -> Fact[Plan]:
    """Ensure that the service runs with exactly these files, as the scenario wants it: an empty plan when it does.

    A solution always hands in its mesh's scenario, or the scenario's environment would never reach the daemon.
    """
    wanted = service if scenario is None else service.under(scenario)
    return probe(service.name).map(lambda found: _start_plan(wanted, found))


def probe(name: str) -> Fact[str]:
    """The spec that the running service was started with, "" when it does not run."""

    def parse(completed: Sequence[Completed]) -> str:
        return printed(completed[0]).strip()

    return Fact((Command(("sh", "-c", _PROBE, "sh", f"{RUN_DIRECTORY}/{name}"), ok=(0, 1)),), parse)


def answering(service: Service) -> Fact[Plan]:
    """Ensure that a service which was started without waiting answers now; `ready` says what that is."""
    if service.ready is None:
        raise CheckError("provision", f"nothing says when {service.name} answers")
    wait = _awaited(service.base, service.ready)
    look = replace(service.ready, ok=tuple(range(256)))

    def plan(completed: Sequence[Completed]) -> Plan:
        diff = unified_diff(f"service {service.name}", "starts", "answers")
        return Plan((wait,), diff) if completed[0].exit_code else Plan()

    return Fact((look,), plan)


def stopped(name: str, *paths: str) -> Fact[Plan]:
    """Ensure that there is no such service, and none of these files and folders of it."""
    files = tuple(f"{RUN_DIRECTORY}/{name}.{end}" for end in ("pid", "spec", "log")) + paths

    def parse(completed: Sequence[Completed]) -> Plan:
        left = completed[0].stdout.split()
        if not left:
            return Plan()
        steps = (stop(name), *((Command(("rm", "-rf", "--", *paths)),) if paths else ()))
        return Plan(steps, unified_diff(f"service {name}", "\n".join(left), ""))

    return Fact((existing(*files),), parse)


def removed(
    services: Sequence[str],
    paths: Sequence[str],
    *,
    interfaces: Sequence[str] = (),
    strangers: Sequence[str] = (),
    find: Sequence[Command] = (),
    cleanup: Sequence[Command] = (),
    goodbyes: Mapping[str, tuple[str, ...]] = NO_GOODBYES,
) -> Fact[Plan]:
    """Remove these services, files, folders and interfaces; also where only the `find` commands print something.

    `cleanup` runs between stopping and deleting. Interfaces, what `find` finds and `cleanup` takes away have names that
    another installation of the same product has, too: where one of the processes `strangers` runs that is not ours,
    all of these are its own, and stay. `goodbyes` are commands, by service, as `stop` takes them.
    """
    runs = [f"{RUN_DIRECTORY}/{name}.{end}" for name in services for end in ("pid", "spec", "log")]
    links = existing(*(f"/sys/class/net/{name}" for name in interfaces))
    shared = [unless_strangers(one, strangers, at_once=True) for one in (links, *find)]
    deleted = (Command(("ip", "link", "delete", name), ok=(0, 1)) for name in interfaces)
    taken = [unless_strangers(one, strangers) for one in (*cleanup, *deleted)]

    def parse(completed: Sequence[Completed]) -> Plan:
        left = "\n".join(one.stdout.strip() for one in completed if one.stdout.strip())
        if not left:
            return Plan()
        steps = (
            *(stop(name, *goodbyes.get(name, ())) for name in services),
            *taken,
            Command(("rm", "-rf", "--", *paths)),
        )
        return Plan(steps, unified_diff("left", left, ""))

    return Fact((existing(*runs, *paths), *shared), parse)


def made(path: str, script: Command, what: str) -> Fact[Plan]:
    """Ensure that a file exists which only the node itself can make: keys, certificates, tokens."""

    def plan(completed: Sequence[Completed]) -> Plan:
        return Plan() if completed[0].exit_code == 0 else Plan((script,), unified_diff(path, "", what))

    return Fact((Command(("test", "-s", path), ok=(0, 1)),), plan)


def content(completed: Completed) -> str:
    """What a command printed that has to print something, a key or a certificate; CheckError when it did not."""
    if completed.exit_code or not completed.stdout.strip():
        said = completed.stderr.strip() or f"exit {completed.exit_code}"
        raise CheckError("provision", f"{' '.join(completed.argv[:4])} gave nothing: {said}")
    return completed.stdout.strip()


def logs() -> Fact[dict[str, str]]:
    """The ends of the logs of all our services on a node, by name; as they are, so mask them before keeping them."""

    def parse(completed: Sequence[Completed]) -> dict[str, str]:
        _, *parts = f"\n{completed[0].stdout}".split("\n@log ")
        return {name: text.strip("\n") for name, _, text in (part.partition("\n") for part in parts)}

    return Fact((Command(("sh", "-c", _LOGS, "sh", RUN_DIRECTORY, str(LOG_BYTES))),), parse)


def until(*argv: str, deadline_s: float) -> Command:
    """A service's `ready`: tried 20 times a second until it succeeds, the daemon ends or the deadline passes."""
    return Command(argv, timeout_s=deadline_s)


def listens(*socket: str, deadline_s: float = 20) -> Command:
    """A service's `ready`: a socket listens that `ss` finds by these words, such as `-t`, `sport = :443`."""
    return until("sh", "-c", _LISTENS, "sh", *socket, deadline_s=deadline_s)


def listens_at(path: str) -> Command:
    """A service's `ready`: it listens at that Unix socket."""
    return listens("-x", "src", path)


def stop(name: str, *goodbye: str) -> Command:
    """End the service: TERM, then KILL after five seconds; fine if it does not run.

    With a `goodbye`, a command by which a daemon takes back all that it made on the node, it gets that first, and where
    that succeeds KILL at once.
    """
    return Command(("sh", "-c", _STOP, "sh", f"{RUN_DIRECTORY}/{name}", *goodbye))


def _start_plan(service: Service, found: str) -> Plan:
    if service.is_what_runs(found):
        return Plan()
    start = Command(("sh", "-c", _START, "sh", service.base, f"vpnmesh-{service.name}", *service.command))
    steps: tuple[Step, ...] = (
        stop(service.name),
        Command(("sh", "-c", _OWN_FOLDER, RUN_DIRECTORY)),
        *service.files,
        start,
        _awaited(service.base, service.ready) if service.ready else _survives(service.base),
        WriteFile(f"{service.base}.spec", Secret(service.spec())),
    )
    diffs = [unified_diff(f"service {service.name}", found and "runs, with other files or arguments", "runs")]
    diffs += [unified_diff(file.path, None, file.content) for file in service.files]
    return Plan(steps, "\n".join(diffs))


def _survives(base: str) -> Command:
    return Command(("sh", "-c", _SURVIVES, base))


def _awaited(base: str, ready: Command) -> Command:
    return Command(("sh", "-c", _UNTIL, base, *ready.argv), timeout_s=ready.timeout_s)
