"""What of a testbed's surroundings does not leave with a bundle: the management network, and people's home folders.

Node names and the addresses of VLANs, overlay and pods stay, for raw output is read again by them.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network

MANAGEMENT = "(management)"
HOME = "(home)"
# also behind a line's end as JSON writes it
_BEGINS = r"(?:(?<![\w.-])|(?<=\\n)|(?<=\\t))"
_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)")
_HOMES = re.compile(rf"{_BEGINS}/(?:home|Users)/[^/\s\"'\\:,;<>&]+")
_NEAR = 24
"""Who is managed in one network has addresses that agree in so many bits."""


@dataclass(frozen=True, slots=True)
class Hiding:
    """What is hidden: management names and interfaces, and networks but for those that are measured in."""

    names: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    networks: frozenset[IPv4Network] = frozenset()
    measured: tuple[IPv4Network, ...] = ()

    def text(self, text: str) -> tuple[str, int]:
        """The text without them, and how many places that were."""
        count = 0
        for pattern, instead in self._patterns():
            text, found = pattern.subn(instead, text)
            count += found
        kept = 0

        def address(found: re.Match[str]) -> str:
            nonlocal kept
            hide = self._hides(found[0])
            kept += not hide
            return MANAGEMENT if hide else found[0]

        text, found = _IPV4.subn(address, text)
        return text, count + found - kept

    def _patterns(self) -> Iterator[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]]:
        yield _HOMES, HOME
        for name in self.names:
            yield re.compile(rf"{_BEGINS}{re.escape(name)}(?![\w-]|\.\w)"), MANAGEMENT
        for name in self.interfaces:
            # what `ip -br address` says of it, addresses of IPv6 among it
            said = rf"{_BEGINS}({re.escape(name)}(?:@\w+)? +[A-Z]+ ++)(?!\(management\))[^\n\\\"]*[^\s\\\"]"
            yield re.compile(said), rf"\1{MANAGEMENT}"

    def _hides(self, address: str) -> bool:
        try:
            found = IPv4Address(address)
        except AddressValueError:
            return False
        near = IPv4Network((found, _NEAR), strict=False)
        return near in self.networks and not any(found in network for network in self.measured)


def hiding_of(testbed: Mapping[str, object]) -> Hiding:
    """What a manifest's testbed tells; nothing but home folders where there is none."""
    nodes = [node for node in _list(testbed.get("nodes")) if isinstance(node, Mapping)]
    places = {str(node.get("management") or "") for node in nodes} - {""}
    addresses = {place for place in places if _IPV4.fullmatch(place)}
    legs = [leg for node in nodes for leg in _list(node.get("legs")) if isinstance(leg, Mapping)]
    measured = [IPv4Interface(str(leg["address"])).network for leg in legs if "address" in leg]
    measured += [IPv4Network(str(testbed[key])) for key in ("overlay", "pods") if testbed.get(key)]
    interfaces = {str(node.get("management_interface") or "") for node in nodes} - {""}
    # managed over a leg: its addresses are those of the underlay
    interfaces -= {str(leg.get("interface")) for leg in legs}
    return Hiding(
        tuple(sorted(places - addresses, key=len, reverse=True)),
        tuple(sorted(interfaces)),
        frozenset(IPv4Network((IPv4Address(address), _NEAR), strict=False) for address in addresses),
        tuple(measured),
    )


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()
