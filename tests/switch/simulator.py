"""Four network operating systems over real SSH, by FakeNOS; each keeps the access VLAN of three ports.

Run apart from the project, for FakeNOS wants an older paramiko than we do:
`uv run --no-project --with-requirements tests/switch/simulator.txt python tests/switch/simulator.py PORT...`
(one port per system, in the order of SYSTEMS). Prints `ready`; ends with its standard input.
"""

import os
import sys
from collections.abc import Callable

from fakenos import FakeNOS, Nos  # type: ignore[import-not-found]

USER, PASSWORD = "mesh", "mesh"
VIDS = range(1, 61)
# port 1 is an access port in VLAN 30, port 2 has no VLAN of its own, port 3 is a trunk
Output = str | dict[str, object] | None


class Ports:
    """The running configuration of the ports: lines below each interface."""

    def __init__(self, names: list[str]) -> None:
        self.lines: dict[str, list[str]] = {
            names[0]: ["description theirs", "switchport mode access", "switchport access vlan 30"],
            names[1]: [],
            names[2]: ["switchport mode trunk"],
        }
        self.chosen = names[0]

    def enter(self, name: str) -> None:
        """Choose an interface."""
        self.chosen = name

    def put(self, head: str, line: str) -> None:
        """Set a line, in the place of the one that begins alike; an empty line only takes away."""
        kept = [one for one in self.lines[self.chosen] if not one.startswith(head)]
        self.lines[self.chosen] = kept + ([line] if line else [])


def industry(names: list[str], show: str, indent: str) -> tuple[dict[str, object], str]:
    """The commands of IOS-XE, EOS and NX-OS, which differ in names and in one word."""
    ports = Ports(names)
    exec_, config, below = "{base_prompt}#", "{base_prompt}(config)#", "{base_prompt}(config-if)#"
    anywhere = [config, below]

    def say(name: str) -> Callable[..., str]:
        return lambda _device, **_words: "\n".join(
            [f"interface {name}", *(f"{indent}{line}" for line in ports.lines[name]), "!"]
        )

    def enter(name: str) -> Callable[..., Output]:
        def run(_device: object, **_words: object) -> Output:
            ports.enter(name)
            return {"output": None, "new_prompt": below}

        return run

    def put(head: str, line: str) -> Callable[..., Output]:
        def run(_device: object, **_words: object) -> Output:
            ports.put(head, line)
            return None

        return run

    commands: dict[str, object] = {
        "configure terminal": {"output": None, "new_prompt": config, "prompt": exec_},
        "end": {"output": None, "new_prompt": exec_, "prompt": anywhere},
        "write memory": {"output": "Copy completed successfully.", "prompt": exec_},
        "copy running-config startup-config": {"output": "Copy complete.", "prompt": exec_},
        "switchport mode access": {
            "output": put("switchport mode", "switchport mode access"),
            "prompt": below,
        },
        "no switchport mode": {"output": put("switchport mode", ""), "prompt": below},
        "no switchport access vlan": {"output": put("switchport access", ""), "prompt": below},
        "_default_": {"output": "% Invalid input detected at '^' marker."},
    }
    quiet = (
        "terminal length 0",
        "terminal width 512",
        "terminal width 511",
        "term width 32767",
        "term len 0",
    )
    commands |= {line: {"output": None} for line in quiet}
    for name in names:
        commands[show.format(name)] = {"output": say(name), "prompt": exec_}
        commands[f"interface {name}"] = {"output": enter(name), "prompt": anywhere}
    for vid in VIDS:
        line = f"switchport access vlan {vid}"
        commands[line] = {"output": put("switchport access", line), "prompt": below}
    return commands, exec_


def junos(names: list[str]) -> tuple[dict[str, object], str]:
    """Junos: set and delete into a candidate, commit."""
    exec_, config = "{base_prompt}>", "{base_prompt}#"
    unit = "interfaces {} unit 0 family ethernet-switching"
    running = {
        names[0]: [
            f"{unit.format(names[0])} interface-mode access",
            f"{unit.format(names[0])} vlan members 30",
        ],
        names[1]: [],
        names[2]: [f"{unit.format(names[2])} interface-mode trunk"],
    }
    candidate = {name: list(lines) for name, lines in running.items()}

    def say(name: str) -> Callable[..., str]:
        return lambda _device, **_words: "\n".join(f"set {line}" for line in running[name])

    def put(name: str, head: str, line: str) -> Callable[..., Output]:
        def run(_device: object, **_words: object) -> Output:
            kept = [one for one in candidate[name] if not one.startswith(head)]
            candidate[name] = kept + ([line] if line else [])
            return None

        return run

    def commit(_device: object, **_words: object) -> str:
        running.update({name: list(lines) for name, lines in candidate.items()})
        return "commit complete"

    commands: dict[str, object] = {
        "configure": {"output": None, "new_prompt": config, "prompt": exec_},
        "configure exclusive": {"output": None, "new_prompt": config, "prompt": exec_},
        "exit configuration-mode": {"output": None, "new_prompt": exec_, "prompt": config},
        "commit": {"output": commit, "prompt": config},
        "_default_": {"output": "unknown command."},
    }
    quiet = ("set cli screen-width 511", "set cli screen-length 0", "set cli complete-on-space off")
    commands |= {line: {"output": None} for line in quiet}
    for name in names:
        head = unit.format(name)
        commands[f"show configuration interfaces {name} | display set"] = {
            "output": say(name),
            "prompt": exec_,
        }
        mode, members = f"{head} interface-mode", f"{head} vlan members"
        commands[f"set {mode} access"] = {"output": put(name, mode, f"{mode} access"), "prompt": config}
        commands[f"delete {mode}"] = {"output": put(name, mode, ""), "prompt": config}
        commands[f"delete {members}"] = {"output": put(name, members, ""), "prompt": config}
        for vid in VIDS:
            commands[f"set {members} {vid}"] = {
                "output": put(name, members, f"{members} {vid}"),
                "prompt": config,
            }
    return commands, exec_


SYSTEMS: dict[str, Callable[[], tuple[dict[str, object], str]]] = {
    "cisco_iosxe": lambda: industry(
        [f"GigabitEthernet1/0/{n}" for n in (1, 2, 3)], "show running-config interface {}", " "
    ),
    "arista_eos": lambda: industry(
        [f"Ethernet{n}" for n in (1, 2, 3)], "show running-config interfaces {}", "   "
    ),
    "cisco_nxos": lambda: industry(
        [f"Ethernet1/{n}" for n in (1, 2, 3)], "show running-config interface {}", "  "
    ),
    "juniper_junos": lambda: junos([f"ge-0/0/{n}" for n in (1, 2, 3)]),
}


def main(ports: list[str]) -> None:
    """Serve until the input ends."""
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
