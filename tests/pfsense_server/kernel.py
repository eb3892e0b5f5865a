"""The loaded rules as nftables in the namespace that the stand-in runs in: then they stop real packets."""

import re
import subprocess
from dataclasses import dataclass
from ipaddress import ip_network

from tests.pfsense_server.config import Config
from tests.pfsense_server.filter import Loaded, State, Translation, load, translations

_FLOW = re.compile(r"^(?:ipv4\s+\d+\s+)?(tcp|udp|icmp)\s.*?src=(\S+) dst=(\S+)(?: sport=(\d+) dport=(\d+))?")


@dataclass
class NftKernel:
    """pf's behaviour by other means: states first, then the first rule that fits, at the end the default deny."""

    config: Config

    def reload(self) -> None:
        """Load the rules in one transaction; tracked connections stay, as pf's states do."""
        _run(["nft", "-f", "-"], script(self.config, load(self.config), translations(self.config)))

    def list_states(self) -> list[State]:
        """The connections that the kernel tracks."""
        listing = _run(["conntrack", "-L"])
        found = (_FLOW.match(line) for line in listing.splitlines())
        return [State(m[1], f"{m[2]}:{m[4] or 0}", f"{m[3]}:{m[5] or 0}") for m in found if m]

    def kill(self, source: str, destination: str) -> None:
        """Forget the connections between two hosts."""
        _run(["conntrack", "-D", "-s", source, "-d", destination], ok=(0, 1))


def script(config: Config, rules: tuple[Loaded, ...], nat: tuple[Translation, ...]) -> str:
    """The table `pfsense`; nothing reaches the firewall's own addresses through it, so `!(self)` needs no match."""
    lines = ["ct state established,related accept"]
    lines += [line for rule in rules for line in _lines(rule)]
    chains = ["  chain forward {", "    type filter hook forward priority 0; policy drop;"]
    chains += [*(f"    {line}" for line in lines), "  }"]
    chains += ["  chain outbound {", "    type nat hook postrouting priority 100;"]
    for one in nat:
        how = "masquerade persistent" if one.keeps_port else "masquerade random,fully-random"
        chains.append(f'    oifname "{one.interface}" ip saddr {one.source} counter {how}')
    text = "\n".join([*chains, "  }"])
    return f"table inet pfsense {{}}\ndelete table inet pfsense\ntable inet pfsense {{\n{text}\n}}\n"


def _lines(rule: Loaded) -> list[str]:
    """One line per address family that the rule has an address in."""
    verdict = "accept" if rule.action == "pass" else "drop"
    names = ", ".join(f'"{name}"' for name in rule.interfaces)
    if rule.sources:
        raise RuntimeError(f"{rule.descr}: the stand-in's kernel side knows no source addresses")
    family = "" if len(rule.families) > 1 else f"meta nfproto ipv{rule.families[0]} "
    head = (f"iifname {{ {names} }} " if names else "") + family
    ports = f"th dport {rule.port} " if rule.port else ""
    protocols = f"meta l4proto {{ {', '.join(rule.protocols)} }} {ports}" if rule.protocols else ""
    if not rule.destinations:
        return [f"{head}{protocols}counter {verdict}"]
    lines = []
    for word, version in (("ip", 4), ("ip6", 6)):
        networks = [one for one in rule.destinations if ip_network(one, strict=False).version == version]
        if networks and version in rule.families:
            lines.append(f"{head}{word} daddr {{ {', '.join(networks)} }} {protocols}counter {verdict}")
    return lines


def _run(argv: list[str], stdin: str = "", ok: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode not in ok:
        raise RuntimeError(f"{argv}: {done.stderr.strip()}")
    return done.stdout
