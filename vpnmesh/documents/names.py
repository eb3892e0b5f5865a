"""What names may look like before they reach a shell, a path, a firewall rule or a page: what is wrong, or "".

Every function answers with a problem in words that fit behind the name, so that the caller adds file, host and key.
"""

import re
from ipaddress import ip_address

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_SLUG = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?")
_INTERFACE = re.compile(r"[A-Za-z0-9_.+=@%-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_FOLDER = re.compile(r"(?:/[A-Za-z0-9_+@~.-]+)+/?")
MOST_INTERFACE_BYTES = 15
MOST_HOST_CHARACTERS = 253
MOST_TITLE_CHARACTERS = 64
MOST_LINE_CHARACTERS = 1000
MOST_FOLDER_CHARACTERS = 1000


def label_problem(name: str) -> str:
    """A node or testbed: one label of a DNS name (RFC 1123, section 2.1)."""
    if _LABEL.fullmatch(name):
        return ""
    return "is no name: 1 to 63 letters, digits and hyphens, no hyphen at either end (RFC 1123)"


def host_problem(name: str) -> str:
    """Where a node is managed: an IP address or a DNS name."""
    try:
        ip_address(name)
    except ValueError:
        labels = name.removesuffix(".").split(".")
        numeric = labels[-1].isdecimal()
        if len(name) <= MOST_HOST_CHARACTERS and not numeric and all(map(_LABEL.fullmatch, labels)):
            return ""
        return "is neither an IP address nor a DNS name"
    return ""


def interface_problem(name: str) -> str:
    """A network interface: what the kernel takes (`dev_valid_name`) and no nft, tc or shell reads as more.

    The kernel refuses nothing, more than 15 bytes, `.`, `..`, slashes, colons and blanks. Quotes, wildcards and the
    like would be legal names, and are no interface that anybody has.
    """
    if not 0 < len(name.encode("utf-8", "surrogatepass")) <= MOST_INTERFACE_BYTES:
        return f"is no interface: a name has 1 to {MOST_INTERFACE_BYTES} bytes"
    if name in (".", "..") or name.startswith("-") or not _INTERFACE.fullmatch(name):
        return "is no interface: letters, digits and . _ - + = @ % only, and no hyphen first"
    return ""


def slug_problem(name: str) -> str:
    """A group or a site: what NetBox calls a slug, dots between them allowed."""
    return "" if _SLUG.fullmatch(name) else "is no name: up to 100 letters, digits and . _ - only"


def title_problem(name: str) -> str:
    """A text for people, such as a VLAN's name: one line of what can be printed."""
    if 0 < len(name) <= MOST_TITLE_CHARACTERS and name.isprintable():
        return ""
    return f"is no name: 1 to {MOST_TITLE_CHARACTERS} characters that can be printed"


def environment_problem(name: str) -> str:
    """A variable of a program's environment (POSIX.1-2017, section 8.1; small letters are in use, too)."""
    return "" if _VARIABLE.fullmatch(name) else "is no name: letters, digits and _ only, and no digit first"


def line_problem(text: str) -> str:
    """A value of an environment, or words for people: one line of what can be printed."""
    if 0 < len(text) <= MOST_LINE_CHARACTERS and text.isprintable():
        return ""
    return f"is no line of text: 1 to {MOST_LINE_CHARACTERS} characters that can be printed"


def folder_problem(path: str) -> str:
    """A folder of programs on a node, that can be put into PATH: absolute, and without blanks, colons and `..`."""
    if len(path) <= MOST_FOLDER_CHARACTERS and _FOLDER.fullmatch(path) and ".." not in path.split("/"):
        return ""
    return "is no folder: an absolute path of letters, digits and _ + @ ~ . - is, such as /opt/vpn-1.9"
