"""Our tasks on many SSH hosts beside bare paramiko, pyinfra and ansible-core: three commands and a guarded file.

Twice: where nothing is there, and again where nothing has to change. The hosts are an sshd each on loopback addresses
in a network of their own; their work is in the seconds of every side alike. Ours and bare paramiko are one process for
both passes and keep their connections; of pyinfra and ansible-core each pass is a command from start to end. Sides take
turns, medians. The peers are no dependency: their environment is made below `build/`.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.farm import Farm, farm
from bench.farm_work import COMMANDS, GUARDED, text_for
from bench.figures import Figure, Size, processor_s, spread
from bench.peer_sides import SIDES
from bench.sandbox import private_place
from vpnmesh.errors import UnavailableError
from vpnmesh.lab.uv import find_uv

PROJECT = Path(__file__).resolve().parents[1]
PEERS = PROJECT / "build" / "peers"
PACKAGES = ("pyinfra==3.10.0", "ansible-core==2.19.14")
HOSTS = 50
PASSES = ("first pass (nothing there)", "second pass (unchanged)")
TURNS = {"bare_paramiko": 7, "vpnmesh": 7, "pyinfra": 3, "ansible": 1}
"""How often each side is measured; the slow ones less."""
LIMIT_S = 1200.0

_FORKS = 50
_SETTINGS = f"""[defaults]
forks = {_FORKS}
home = {{folder}}/ansible
remote_tmp = /root/.ansible/tmp
[ssh_connection]
pipelining = True
control_path_dir = {{folder}}/cp
ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={{known}} -o StrictHostKeyChecking=yes
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one pass took: seconds by the clock, and of processor time on the controller's side."""

    seconds: float
    processor_s: float


Both = tuple[Taken, Taken]


def run(console: Console, size: Size) -> list[Figure]:
    """All sides that can be had; a smoke run takes the peers only where they are installed."""
    hosts = size.of(HOSTS, 6)
    turns = {name: size.of(count, 1) for name, count in TURNS.items()}
    for name in _missing(console, size):
        del turns[name]
    with private_place() as place:
        (folder := place / "farm").mkdir()
        with farm(folder, hosts) as here:
            taken = _in_turns(console, here, turns)
    console.print(_table(taken, hosts))
    return [_figure(taken, hosts, number) for number in range(len(PASSES))]


def _missing(console: Console, size: Size) -> Sequence[str]:
    """The sides that cannot be had, said with the reason."""
    try:
        install(may_fetch=size is Size.FULL)
    except UnavailableError as error:
        console.print(f"peers: pyinfra and ansible-core left out: {error}", highlight=False)
        return ("pyinfra", "ansible")
    return ()


def install(*, may_fetch: bool) -> None:
    """Make the peers' environment if it is not there; UnavailableError says why it cannot be."""
    done = PEERS / "packages"
    if done.is_file() and done.read_text() == "\n".join(PACKAGES):
        return
    uv = find_uv()
    if not may_fetch or uv is None:
        raise UnavailableError(f"not installed in {PEERS}" if uv else "uv, to install them")
    for argv in (
        (uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(PEERS)),
        (uv, "pip", "install", "--quiet", "--python", str(PEERS / "bin" / "python"), *PACKAGES),
    ):
        asked = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
        if asked.returncode:
            raise UnavailableError(asked.stderr.strip().splitlines()[-1])
    done.write_text("\n".join(PACKAGES))


def _in_turns(console: Console, here: Farm, turns: dict[str, int]) -> dict[str, list[Both]]:
    sides: dict[str, Callable[[Farm], Both]] = {name: partial(_python_side, name) for name in SIDES}
    sides |= {"pyinfra": _pyinfra, "ansible": _ansible}
    taken: dict[str, list[Both]] = {name: [] for name in turns}
    for turn in range(max(turns.values())):
        for name in (name for name, count in turns.items() if turn < count):
            for host in here.addresses:
                (here.srv(host) / Path(GUARDED).name).unlink(missing_ok=True)
            both = sides[name](here)
            taken[name].append(both)
            told = " and ".join(f"{one.seconds:.2f} s" for one in both)
            console.print(f"peers: {name}: {told}", style="dim", highlight=False)
    return taken


def _python_side(name: str, here: Farm) -> Both:
    argv = (sys.executable, "-m", "bench.peer_sides", name, str(here.folder), str(len(here.addresses)))
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, cwd=PROJECT, timeout=LIMIT_S)
    _check_written(here)
    first, second = (Taken(*one) for one in json.loads(done.stdout))
    return first, second


def _pyinfra(here: Farm) -> Both:
    common = {"ssh_user": "root", "ssh_key": str(here.key), "ssh_known_hosts_file": str(here.known_hosts)}
    common |= {"ssh_strict_host_key_checking": "yes"}
    hosts = [(name, common | {"ssh_hostname": address}) for name, address in here.addresses.items()]
    (here.folder / "hosts.py").write_text(f"hosts = {hosts!r}\n")
    deploy = (
        "from io import StringIO",
        "from pyinfra import host",
        "from pyinfra.operations import files, server",
        f"server.shell(commands={[' '.join(argv) for argv in COMMANDS]!r})",
        f"texts = { ({name: text_for(name) for name in here.addresses})!r}",
        f"files.put(src=StringIO(texts[host.name]), dest={GUARDED!r}, mode='644')",
    )
    (here.folder / "deploy.py").write_text("\n".join(deploy) + "\n")
    argv = (str(PEERS / "bin" / "pyinfra"), "hosts.py", "deploy.py", "-y", "--parallel", str(_FORKS))
    return _commands(here, argv, {})


def _ansible(here: Farm) -> Both:
    hosts = {
        name: {"ansible_host": address, "wanted": text_for(name)} for name, address in here.addresses.items()
    }
    common = {"ansible_user": "root", "ansible_ssh_private_key_file": str(here.key)}
    common |= {"ansible_python_interpreter": "/usr/bin/python3"}
    (here.folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
    tasks: list[dict[str, object]] = [{"ansible.builtin.command": " ".join(argv)} for argv in COMMANDS]
    tasks.append({"ansible.builtin.copy": {"content": "{{ wanted }}", "dest": GUARDED, "mode": "0644"}})
    play = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
    (here.folder / "play.json").write_text(json.dumps(play))
    settings = here.folder / "ansible.cfg"
    settings.write_text(_SETTINGS.format(folder=here.folder, known=here.known_hosts))
    argv = (str(PEERS / "bin" / "ansible-playbook"), "-i", "hosts.json", "play.json")
    return _commands(here, argv, {"ANSIBLE_CONFIG": str(settings)})


def _commands(here: Farm, argv: Sequence[str], told: dict[str, str]) -> Both:
    """The same command twice, each from start to end."""
    first, second = (_command(here, argv, told) for _ in PASSES)
    return first, second


def _command(here: Farm, argv: Sequence[str], told: dict[str, str]) -> Taken:
    environment = {**os.environ, **told, "LC_ALL": "C.UTF-8", "PATH": f"{PEERS}/bin:{os.environ['PATH']}"}
    begun, used = time.monotonic(), processor_s(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        argv, check=False, capture_output=True, text=True, cwd=here.folder, env=environment, timeout=LIMIT_S
    )
    taken = Taken(time.monotonic() - begun, processor_s(resource.RUSAGE_CHILDREN) - used)
    if done.returncode:
        raise OSError(f"{argv[0]}: exit {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    _check_written(here)
    return taken


def _check_written(here: Farm) -> None:
    """OSError unless every host has exactly the file that is wanted."""
    for name in here.addresses:
        if (here.srv(name) / Path(GUARDED).name).read_text() != text_for(name):
            raise OSError(f"{name}: another file than was asked for")


def _table(taken: dict[str, list[Both]], hosts: int) -> Table:
    table = Table(
        title=f"{hosts} SSH hosts: seconds by the clock, and of the controller's processor",
        title_justify="left",
    )
    table.add_column("side")
    for words in PASSES:
        table.add_column(words, justify="right")
    for name, both in taken.items():
        cells = [
            f"{spread(one[number].seconds for one in both)} s; {median(one[number].processor_s for one in both):.2f} s"
            for number in range(len(PASSES))
        ]
        table.add_row(name.replace("_", " "), *cells)
    return table


def _figure(taken: dict[str, list[Both]], hosts: int, number: int) -> Figure:
    """Ours over bare paramiko; the ratio is the median of the turns' own, since a machine's load changes in between."""
    seconds = {name: [both[number].seconds for both in found] for name, found in taken.items()}
    ratio = median(
        ours / bare for ours, bare in zip(seconds["vpnmesh"], seconds["bare_paramiko"], strict=True)
    )
    others = [f"{name} {median(found):.1f} s" for name, found in seconds.items() if name not in SIDES]
    against = ", ".join([f"{spread(seconds['bare_paramiko'])} s bare paramiko", *others])
    return Figure(
        f"{hosts} SSH hosts, {PASSES[number]}", f"{spread(seconds['vpnmesh'])} s", against, f"{ratio:.2f}"
    )
