"""A certificate of this run for a service on one node: self-signed, by address and name, its key never travels."""

from collections.abc import Sequence

from vpnmesh.host.dual_stack import Address
from vpnmesh.host.service import content, made
from vpnmesh.plan import Command, Fact, Plan, Text

VALID_DAYS = 30

# constant script: folder, names it is for, days, what its files are called
_MAKE = """
umask 077; mkdir -p "$1"; cd "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$3" -subj /CN=vpnmesh \
  -addext "subjectAltName=$2" -keyout "$4.key" -out "$4.new" 2> /dev/null
mv "$4.new" "$4.crt"
"""


def certificate(folder: str, hosts: Sequence[Address | str], name: str = "") -> Fact[Plan]:
    """Ensure `tls.crt` and `tls.key` for these addresses and names in the folder; with a name, for that, called so."""
    named = [f"DNS:{one}" if isinstance(one, str) else f"IP:{one}" for one in hosts]
    names = ",".join([*named, *([f"DNS:{name}"] if name else [])])
    stem = name or "tls"
    script = Command(("sh", "-ec", _MAKE, "sh", folder, names, str(VALID_DAYS), stem))
    return made(f"{folder}/{stem}.crt", script, "<a new certificate>")


def read_certificate(folder: str, name: str = "") -> Fact[dict[str, Text]]:
    """What others need to trust it."""
    return Fact(
        (Command(("cat", f"{folder}/{name or 'tls'}.crt")),),
        lambda completed: {"certificate": f"{content(completed[0])}\n"},
    )
