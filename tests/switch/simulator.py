"""Four network operating systems over real SSH, by FakeNOS; each keeps the access VLAN of three ports.

Run apart from the project, for FakeNOS wants an older paramiko than we do:
`uv run --no-project --with-requirements tests/switch/simulator.txt python tests/switch/simulator.py PORT...`
(one port per system, in the order of SYSTEMS). Prints `ready`; ends with its standard input.
"""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import paramiko
from fakenos import FakeNOS, Nos  # type: ignore[import-not-found]

USER, PASSWORD = "mesh", "mesh"
VIDS = range(1, 61)
DROPS = 59
"""A port that is put into this VLAN takes the connection down, once."""
# port 1 is an access port in VLAN 30, port 2 has no VLAN of its own, port 3 is a trunk
Output = str | dict[str, object] | None


class Ports:
    """What each port's lines are: those that run, and those being edited, which on IOS-XE and NX-OS are the same."""

    def __init__(self, lines: dict[str, list[str]], *, apart: bool) -> None:
        self.running = lines
        self.apart = apart
        self.edited = lines
        self.chosen = next(iter(lines))
        self.discard()

    def discard(self) -> None:
        """Edit what runs, from now on."""
        self.edited = (
            {name: list(lines) for name, lines in self.running.items()} if self.apart else self.running
        )

    def commit(self) -> None:
        """Let the edited lines run."""
        self.running = {name: list(lines) for name, lines in self.edited.items()}

    def enter(self, name: str) -> None:
        """Choose an interface."""
        self.chosen = name

    def put(self, head: str, line: str, name: str = "") -> None:
        """Set a line, in the place of the one that begins alike; an empty line only takes away."""
        name = name or self.chosen
        kept = [one for one in self.edited[name] if not one.startswith(head)]
        self.edited[name] = kept + ([line] if line else [])


def port_of(connection: paramiko.Transport) -> int:
    """Where it came in; 0 for one that is closed already."""
    with contextlib.suppress(OSError):
        if isinstance(connection.sock, socket.socket):
            return int(connection.sock.getsockname()[1])
    return 0


def drop(name: str, change: Callable[[], None]) -> Callable[..., Output]:
    """The command on which the switch closes its connections without a word, and what that changes."""

    def act() -> Output:
        change()
        for one in threading.enumerate():
            if isinstance(one, paramiko.Transport) and port_of(one) == LISTENING[name]:
                one.close()
        return None

    return answer(act)


def answer(act: Callable[[], Output]) -> Callable[..., Output]:
    """What FakeNOS calls for a command."""
    return lambda _device, **_words: act()


def put(ports: Ports, head: str, line: str, name: str = "") -> Callable[..., Output]:
    """The command that sets a line; it prints nothing."""
    return answer(lambda: ports.put(head, line, name))


def enter(ports: Ports, name: str, prompt: str) -> Callable[..., Output]:
    """The command that chooses an interface."""

    def act() -> Output:
        ports.enter(name)
        return {"output": None, "new_prompt": prompt}

    return answer(act)


def end(change: Callable[[], None], prompt: str) -> Callable[..., Output]:
    """The command that commits or discards a session, and leaves it."""

    def act() -> Output:
        change()
        return {"output": None, "new_prompt": prompt}

    return answer(act)


def said(change: Callable[[], None], text: str) -> Callable[..., Output]:
    """The command that commits or discards and says so."""

    def act() -> Output:
        change()
        return text

    return answer(act)


def left(ports: Ports, prompt: str) -> Output:
    """What Junos does when an exclusive candidate is left."""
    if ports.edited != ports.running:
        asks = "Discard uncommitted changes? [yes,no] (yes) "
        return {"output": f"The configuration has been changed but not committed\n{asks}"}
    return {"output": "Exiting configuration mode", "new_prompt": prompt}


@dataclass(frozen=True)
class Industry:
    """How one of IOS-XE, EOS and NX-OS words the configuration of a port.

    After the vendors' documents, not after the driver: Catalyst 9300 "show running-config interface" prints how many
    bytes follow, the access VLAN above the mode, and `end`; on EOS and NX-OS access is the default mode of a switched
    port (EOS user manual, "switchport mode"; Nexus 9000 interfaces guide, "Default Settings"), and a running
    configuration leaves defaults out; NX-OS prints `!Command:` and the version first. EOS edits in a session
    ("Configure Session": `commit` or `abort`, prompt `(config-s-NAME)#`).
    """

    names: tuple[str, ...]
    show: str
    above: str
    below: str
    indent: str
    hides_access: bool
    session: bool

    def text(self, lines: list[str], name: str) -> str:
        """What `show` prints of a port."""
        shown = [one for one in sorted(lines) if not (self.hides_access and one == "switchport mode access")]
        port = "\n".join([f"interface {name}", *(self.indent + one for one in shown)])
        return self.above.format(len(port)) + port + self.below


def industry(system: str, kind: Industry) -> tuple[dict[str, object], str]:
    """The commands of a system that edits below `interface`."""
    one, other, third = kind.names
    ports = Ports(
        {
            one: ["description theirs", "switchport mode access", "switchport access vlan 30"],
            other: [],
            third: ["switchport mode trunk"],
        },
        apart=kind.session,
    )
    exec_ = "{base_prompt}#"
    head = "config-s-vpnmes" if kind.session else "config"
    config, below = f"{{base_prompt}}({head})#", f"{{base_prompt}}({head}-if)#"
    anywhere = [config, below]

    commands: dict[str, object] = {
        "write memory": {"output": "Copy completed successfully.", "prompt": exec_},
        "copy running-config startup-config": {"output": "Copy complete.", "prompt": exec_},
        "switchport mode access": {
            "output": put(ports, "switchport mode", "switchport mode access"),
            "prompt": below,
        },
        "no switchport mode": {"output": put(ports, "switchport mode", ""), "prompt": below},
        "no switchport access vlan": {"output": put(ports, "switchport access", ""), "prompt": below},
        "end": {"output": None, "new_prompt": exec_, "prompt": anywhere},
        "_default_": {"output": "% Invalid input detected at '^' marker."},
    }
    opening = "configure session vpnmesh" if kind.session else "configure terminal"
    commands[opening] = {"output": None, "new_prompt": config, "prompt": exec_}
    if kind.session:
        commands["commit"] = {"output": end(ports.commit, exec_), "prompt": anywhere}
        commands["abort"] = {"output": end(ports.discard, exec_), "prompt": anywhere}
        # whoever enters a session that was not ended goes on with its lines
        commands["no configure session vpnmesh"] = {"output": answer(ports.discard), "prompt": exec_}
    quiet = (
        "terminal length 0",
        "terminal width 512",
        "terminal width 511",
        "term width 32767",
        "term width 512",
        "term width 511",
        "term len 0",
    )
    commands |= {line: {"output": None} for line in quiet}
    for name in kind.names:
        commands[kind.show.format(name)] = {
            "output": answer(lambda name=name: kind.text(ports.running[name], name)),  # type: ignore[misc]
            "prompt": exec_,
        }
        commands[f"interface {name}"] = {"output": enter(ports, name, below), "prompt": anywhere}
    for vid in VIDS:
        line = f"switchport access vlan {vid}"
        commands[line] = {"output": put(ports, "switchport access", line), "prompt": below}
    commands[f"switchport access vlan {DROPS}"] = {"output": drop(system, lambda: None), "prompt": below}
    return commands, exec_


def junos(names: list[str]) -> tuple[dict[str, object], str]:
    """Junos: set and delete into an exclusive candidate, then commit, or roll back to 0.

    After the CLI user guide ("Using the configure exclusive Command"): an edited candidate is asked about when it is
    left; `display set` prints every statement of the interface as a line that begins with `set interfaces`.
    """
    exec_, config = "{base_prompt}>", "{base_prompt}#"
    unit = "interfaces {} unit 0 family ethernet-switching"
    ports = Ports(
        {
            names[0]: [
                f"interfaces {names[0]} description theirs",
                f"{unit.format(names[0])} interface-mode access",
                f"{unit.format(names[0])} vlan members 30",
            ],
            names[1]: [],
            names[2]: [f"{unit.format(names[2])} interface-mode trunk"],
        },
        apart=True,
    )

    commands: dict[str, object] = {
        "configure": {"output": None, "new_prompt": config, "prompt": exec_},
        "configure exclusive": {
            "output": "warning: uncommitted changes will be discarded on exit\nEntering configuration mode",
            "new_prompt": config,
            "prompt": exec_,
        },
        "exit configuration-mode": {"output": answer(lambda: left(ports, exec_)), "prompt": config},
        "commit": {"output": said(ports.commit, "commit complete"), "prompt": config},
        "rollback 0": {"output": said(ports.discard, "load complete"), "prompt": config},
        "_default_": {"output": "unknown command."},
    }
    quiet = ("set cli screen-width 511", "set cli screen-length 0", "set cli complete-on-space off")
    commands |= {line: {"output": None} for line in quiet}
    for name in names:
        head = unit.format(name)
        commands[f"show configuration interfaces {name} | display set"] = {
            "output": answer(lambda name=name: "\n".join(f"set {line}" for line in ports.running[name])),  # type: ignore[misc]
            "prompt": exec_,
        }
        mode, members = f"{head} interface-mode", f"{head} vlan members"
        commands[f"set {mode} access"] = {
            "output": put(ports, mode, f"{mode} access", name),
            "prompt": config,
        }
        commands[f"delete {mode}"] = {"output": put(ports, mode, "", name), "prompt": config}
        commands[f"delete {members}"] = {"output": put(ports, members, "", name), "prompt": config}
        for vid in VIDS:
            commands[f"set {members} {vid}"] = {
                "output": put(ports, members, f"{members} {vid}", name),
                "prompt": config,
            }
        # an exclusive candidate ends with its login
        commands[f"set {members} {DROPS}"] = {
            "output": drop("juniper_junos", ports.discard),
            "prompt": config,
        }
    return commands, exec_


IOSXE = Industry(
    tuple(f"GigabitEthernet1/0/{n}" for n in (1, 2, 3)),
    "show running-config interface {}",
    "Building configuration...\n\nCurrent configuration : {} bytes\n!\n",
    "\nend\n",
    " ",
    hides_access=False,
    session=False,
)
EOS = Industry(
    tuple(f"Ethernet{n}" for n in (1, 2, 3)),
    "show running-config interfaces {}",
    "",
    "",
    "   ",
    hides_access=True,
    session=True,
)
NXOS = Industry(
    tuple(f"Ethernet1/{n}" for n in (1, 2, 3)),
    "show running-config interface {}",
    "\n!Command: show running-config interface\n!Time: Thu Jan  1 00:00:{:02d} 1970\n\nversion 10.4(1)\n\n",
    "\n\n",
    "  ",
    hides_access=True,
    session=False,
)
SYSTEMS: dict[str, Callable[[], tuple[dict[str, object], str]]] = {
    "cisco_iosxe": lambda: industry("cisco_iosxe", IOSXE),
    "arista_eos": lambda: industry("arista_eos", EOS),
    "cisco_nxos": lambda: industry("cisco_nxos", NXOS),
    "juniper_junos": lambda: junos([f"ge-0/0/{n}" for n in (1, 2, 3)]),
}


LISTENING: dict[str, int] = {}


def main(ports: list[str]) -> None:
    """Serve until the input ends."""
    LISTENING.update(zip(SYSTEMS, map(int, ports), strict=True))
    plugins, hosts = [], {}
    for (name, make), port in zip(SYSTEMS.items(), ports, strict=True):
        commands, prompt = make()
        plugins.append(Nos(name=name, commands=commands, initial_prompt=prompt))
        hosts[name.replace("_", "-")] = {
            "username": USER,
            "password": PASSWORD,
            "port": int(port),
            "nos": {"plugin": name},
        }
    net = FakeNOS(
        inventory={
            "default": {"server": {"plugin": "ParamikoSshServer", "configuration": {}}},
            "hosts": hosts,
        },
        plugins=plugins,
    )
    net.start()
    print("ready", flush=True)
    sys.stdin.read()
    # FakeNOS's own stop waits for sessions that are long gone
    os._exit(0)


main(sys.argv[1:])
