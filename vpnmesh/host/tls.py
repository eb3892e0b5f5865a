"""A certificate of this run for a service on one node: self-signed, named by address, its key never travels."""

from ipaddress import IPv4Address

from vpnmesh.host.service import content, made
from vpnmesh.plan import Command, Fact, Plan, Text

VALID_DAYS = 30

_MAKE = """
umask 077; mkdir -p "$1"; cd "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$3" -subj /CN=vpnmesh \
  -addext "subjectAltName=IP:$2" -keyout tls.key -out tls.new 2> /dev/null
mv tls.new tls.crt
"""


def certificate(folder: str, address: IPv4Address) -> Fact[Plan]:
    """Ensure `tls.crt` and `tls.key` for that address in the folder."""
    script = Command(("sh", "-ec", _MAKE, "sh", folder, str(address), str(VALID_DAYS)))
    return made(f"{folder}/tls.crt", script, "<a new certificate>")


def read_certificate(folder: str) -> Fact[dict[str, Text]]:
    """What others need to trust it."""
    return Fact(
        (Command(("cat", f"{folder}/tls.crt")),),
        lambda completed: {"certificate": f"{content(completed[0])}\n"},
    )
