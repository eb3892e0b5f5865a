"""A real NetBox for tests and benchmarks: PostgreSQL, Redis and gunicorn in one private directory.

`python -m tests.netbox.server install` puts NetBox into its own environment under `build/netbox`; `NetBoxServer`
runs it on the database that `netbox-*.sql.xz` beside this file holds (tests/netbox/dump.py makes it). Every process
is unprivileged, hears only unix sockets or a loopback port chosen by the kernel, and dies with the process that
started it.
"""

import contextlib
import lzma
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from tests.netbox.install import POSTGRES, VERSION, CannotRunError, NoPythonError, Say, install, run, silent

DUMP = Path(__file__).with_name(f"netbox-{VERSION}-pg15.sql.xz")
TOKEN_V1 = "0123456789abcdef0123456789abcdef01234567"
TOKEN_V2 = f"nbt_TestKey00001.{'T' * 40}"
START_SECONDS = 300.0
PREFIX = "vpnmesh-netbox-"

CONFIGURATION = """
ALLOWED_HOSTS = ["*"]
DATABASES = {{"default": {{"NAME": "netbox", "USER": "netbox", "HOST": "{directory}", "CONN_MAX_AGE": 0}}}}
REDIS = {{
    name: {{"URL": "unix://{directory}/redis.sock?db=" + str(number), "DATABASE": number}}
    for number, name in enumerate(("tasks", "caching"))
}}
SECRET_KEY = "test-only-" + "k" * 50
API_TOKEN_PEPPERS = {{1: "test-only-pepper-" + "p" * 50}}
RELEASE_CHECK_URL = None
CENSUS_REPORTING_ENABLED = False
"""

MISFIT = "the dump does not fit this NetBox"
# every worker would load all URLs by itself at its first request; loaded before the fork, they share them
WARM = f"""
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.urls import get_resolver
from netbox.wsgi import application
executor = MigrationExecutor(connection)
lacking = executor.migration_plan(executor.loader.graph.leaf_nodes())
known = executor.loader.disk_migrations
# a squashed migration is recorded under its own name and under those that it replaced
squashed = {{tuple(name) for one in known.values() for name in one.replaces}}
foreign = set(executor.loader.applied_migrations) - set(known) - squashed
connection.close()
if lacking or foreign:
    raise SystemExit(f"{MISFIT}: it lacks {{len(lacking)}} of NetBox's migrations and has {{len(foreign)}} others")
get_resolver().url_patterns
"""


def unprivileged(*argv: str) -> tuple[str, ...]:
    """The command as a process that is root nowhere, in a PID namespace that ends with the caller.

    initdb refuses root, and root's home may hide the interpreter from others: a user namespace serves both.
    """
    if os.geteuid():
        return ("setpriv", "--pdeathsig", "KILL", "--", *argv)
    inside = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--pid", "--fork", "--kill-child")
    return ("setpriv", "--pdeathsig", "KILL", "--", *inside, "--", *argv)


def environment(directory: Path) -> dict[str, str]:
    """What the servers see: nothing of the caller's but PATH."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "LC_ALL": "C.UTF-8",
        "NETBOX_ROOT": str(directory),
        "PGHOST": str(directory),
        "PGUSER": "netbox",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@dataclass
class NetBoxServer:
    """One NetBox, from `with` to its end; `page_size` is its MAX_PAGE_SIZE.

    Its database is restored from `dump`; without one it is empty and no web server is started. `say` is told what
    takes long.
    """

    page_size: int = 1000
    workers: int = 2
    dump: Path | None = DUMP
    say: Say = silent

    def __enter__(self) -> Self:
        check_dump(self.dump)
        self.venv = install(self.say)
        remove_orphans()
        self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.processes: list[subprocess.Popen[bytes]] = []
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        self._start_databases()
        self.psql("CREATE DATABASE netbox", database="postgres")
        if self.dump is None:
            return
        self.say("starting NetBox on the restored dump; about 20 s")
        self.psql(lzma.decompress(self.dump.read_bytes()).decode())
        self.snapshot("pristine")
        self._start_web()

    def _start_databases(self) -> None:
        data = self.directory / "postgres"
        (self.directory / "conf").mkdir()
        for folder in ("media", "reports", "scripts", "static"):
            (self.directory / folder).mkdir()
        configuration = CONFIGURATION.format(directory=self.directory)
        configuration += f"MAX_PAGE_SIZE = {self.page_size}\nPAGINATE_COUNT = {min(50, self.page_size)}\n"
        (self.directory / "conf" / "configuration.py").write_text(configuration)
        initdb = (str(POSTGRES / "initdb"), "-D", str(data), "-U", "netbox", "-A", "trust", "--no-sync")
        run(*unprivileged(*initdb), env=environment(self.directory))
        # a database that lives for one test run need not survive a power cut
        self._spawn(
            *("postgres", str(POSTGRES / "postgres"), "-D", str(data), "-cmax_connections=60"),
            *(f"-cunix_socket_directories={self.directory}", "-clisten_addresses=", "-cfsync=off"),
            *("-csynchronous_commit=off", "-cfull_page_writes=off", "-cjit=off", "-cautovacuum=off"),
        )
        self._spawn(
            *("redis", "redis-server", "--port", "0", "--unixsocket", str(self.directory / "redis.sock")),
            *("--save", "", "--appendonly", "no", "--dir", str(self.directory)),
        )
        ask = (str(POSTGRES / "pg_isready"), "-q")
        self._wait(lambda: not subprocess.run(ask, env=environment(self.directory), check=False).returncode)

    def _start_web(self) -> None:
        (self.directory / "warm.py").write_text(WARM)
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        gunicorn = (str(self.venv / "bin" / "gunicorn"), "--bind", f"fd://{listener.fileno()}")
        self._spawn(
            *("web", *gunicorn, "--workers", str(self.workers), "--threads", "2", "--timeout", "120"),
            *(
                "--preload",
                # as a web server before it would; with its own two seconds it closes while a busy client sends
                "--keep-alive",
                "75",
                "--worker-tmp-dir",
                str(self.directory),
                "--no-control-socket",
                "--pythonpath",
                str(self.directory),
                "warm",
            ),
            fds=(listener.fileno(),),
        )
        listener.close()
        self._wait(self._answers)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/api/status/", timeout=30, headers=self.headers).ok
        except requests.RequestException:
            return False

    @property
    def headers(self) -> dict[str, str]:
        """The admin's authorization, for requests that set a test up."""
        return {"Authorization": f"Token {TOKEN_V1}"}

    def _spawn(self, name: str, *argv: str, fds: tuple[int, ...] = ()) -> None:
        log = (self.directory / f"{name}.log").open("wb")
        self.processes.append(
            subprocess.Popen(
                unprivileged(*argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=environment(self.directory),
                pass_fds=fds,
                start_new_session=True,
            )
        )
        log.close()

    def _wait(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            dead = [process.args for process in self.processes if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(
                    path.read_text(errors="replace")[-800:] for path in self.directory.glob("*.log")
                )
                if MISFIT in logs:
                    raise misfit(logs[logs.index(MISFIT) :].splitlines()[0])
                raise CannotRunError(f"a server of NetBox ended or did not answer: {dead}\n{logs}")
            time.sleep(0.1)

    def psql(self, script: str, database: str = "netbox") -> str:
        """Run SQL as the database's owner."""
        argv = (str(POSTGRES.parent / "bin" / "psql"), "-qXtA", "-v", "ON_ERROR_STOP=1", "-d", database)
        return run(*argv, env=environment(self.directory), stdin=script)

    def snapshot(self, name: str) -> None:
        """Keep the database as it is under `name`."""
        self._copy("netbox", name)

    def reset(self, name: str = "pristine") -> None:
        """Bring the database back to a snapshot; takes well under a second."""
        self._copy(name, "netbox")

    def _copy(self, source: str, target: str) -> None:
        # one statement per call: neither may run inside a transaction block
        self.psql(f"DROP DATABASE IF EXISTS {target} WITH (FORCE);\n", database="postgres")
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{source}'"
        self.psql(
            f"{end};\nCREATE DATABASE {target} TEMPLATE {source} STRATEGY file_copy;\n", database="postgres"
        )

    def shell(self, script: str) -> str:
        """Run Python inside NetBox, with its ORM at hand."""
        python = str(self.venv / "bin" / "python")
        start = "import django, sys; django.setup(); exec(sys.stdin.read())"
        settings = {"DJANGO_SETTINGS_MODULE": "netbox.settings"}
        return run(python, "-c", start, env={**environment(self.directory), **settings}, stdin=script)

    def stop(self) -> None:
        """End the servers and remove their directory; harmless when called twice."""
        for process in reversed(self.processes):
            # the namespace's init dies with `unshare`, and everything in the namespace with its init
            process.kill()
            process.wait()
        self.processes.clear()
        shutil.rmtree(self.directory, ignore_errors=True)


def remains(server: NetBoxServer) -> list[str]:
    """What is left of a server that was stopped: its directory, and processes that name it."""
    left = [str(server.directory)] if server.directory.exists() else []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            left += [line] if str(server.directory) in line else []
    return left


def remove_orphans() -> None:
    """Remove the directories whose owner was killed; its servers died with it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def check_dump(dump: Path | None) -> None:
    """CannotRunError, with the way out, where the dump for this version of NetBox is not there."""
    if dump and not dump.is_file():
        others = ", ".join(path.name for path in DUMP.parent.glob("netbox-*.sql.xz"))
        raise misfit(f"{dump.name} is not there ({others or 'nor another'})")


def misfit(what: str) -> CannotRunError:
    """The error about a dump, with the command that makes a new one."""
    return CannotRunError(f"{what}; make a new one: python -m tests.netbox.dump (about ten minutes)")


def main(argv: list[str]) -> Iterator[str]:
    """`install`: everything that takes long, beforehand; `run`: a server until Ctrl-C.

    Without a Python that NetBox runs on `install` has nothing to do: the tests are skipped with that reason.
    """
    started = time.monotonic()
    match argv:
        case ["install"]:
            try:
                place = install(lambda line: print(line, flush=True))
            except NoPythonError as error:
                yield f"left out, its tests will be skipped: {error}"
            else:
                yield f"{place} is ready: {time.monotonic() - started:.1f} s"
        case ["run"]:
            with NetBoxServer() as server:
                yield f"NETBOX_URL={server.url} NETBOX_TOKEN={TOKEN_V1} # {time.monotonic() - started:.1f} s"
                sys.stdin.read()
        case _:
            yield "usage: python -m tests.netbox.server install | run"


if __name__ == "__main__":
    try:
        for line in main(sys.argv[1:]):
            print(line, flush=True)
    except CannotRunError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
