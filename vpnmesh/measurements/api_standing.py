"""The API server of one repetition: started on the master, asked from a client's pod, gone with the session."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from vpnmesh.errors import CheckError, VpnmeshError
from vpnmesh.host import api_leftovers
from vpnmesh.host.pods import tunnel_address
from vpnmesh.measurements.protocol import Question, Session
from vpnmesh.plan import Secret
from vpnmesh.tools import api_requests
from vpnmesh.tools.api_server import ENDED, READY, START_S

PORT = 7443
"""Not a real cluster's (6443, and K3s' own 6444), which may stand on the same nodes."""
NAMESPACE = "vpnmesh"
PODS = 30
"""How many pods the list holds."""
STAGE = "api-server"
FILE = "server.txt"
_FIND = "command -v kube-apiserver || command -v kubernetes"
_SLACK_S = 30.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How the server is asked; the token is good as long as it stands."""

    url: str
    token: Secret
    certificate: str
    list_bytes: int
    ready_s: float


@contextmanager
def api_server(session: Session, *, asked_s: float) -> Iterator[Standing]:
    """A server that stands for `asked_s` at most; CheckError where it cannot be had, or ended before its time."""
    argv = ("setpriv", "--pdeathsig", "TERM", "--", "python3", "-I", "-c", api_requests.server_source())
    wanted = json.dumps(_wanted(session, _program(session)))
    process = session.start("server", (*argv, wanted), in_pod=False, timeout_s=START_S + asked_s + _SLACK_S)
    # a program that ends by itself leaves its channel open: it says so
    said = process.read_until(lambda text: READY in text or ENDED in text, within_s=START_S + _SLACK_S)
    if READY not in said:
        done = process.stop()
        raise CheckError(STAGE, _last_line(said + done.stdout, done.stderr))
    try:
        yield _standing(said)
    except VpnmeshError:
        with suppress(VpnmeshError):
            process.stop()
        raise
    done = process.stop()
    if done.exit_code:
        raise CheckError(STAGE, _last_line(done.stdout, done.stderr))


def _wanted(session: Session, program: str) -> dict[str, object]:
    question = session.question
    whole = program.endswith("kube-apiserver")
    return {
        "folder": api_leftovers.FOLDER,
        "address": str(tunnel_address(question.testbed, question.node("server"))),
        "port": PORT,
        "apiserver": [program] if whole else [program, "kube-apiserver"],
        "nodes": _nodes(question),
        "pods": PODS,
        "namespace": NAMESPACE,
    }


def _nodes(question: Question) -> list[str]:
    master = question.testbed.master.name
    return [node.name for node in question.testbed.k8s if node.name != master] or [master]


def _program(session: Session) -> str:
    """Where the node has the API server."""
    found = session.run("server", ("sh", "-c", _FIND), in_pod=False, ok=(0, 1, 127)).stdout.split()
    session.keep(FILE, "\n".join(found))
    if not found:
        raise CheckError(STAGE, "no kube-apiserver and no kubernetes on PATH (make kube)")
    return found[0]


def _standing(said: str) -> Standing:
    try:
        told = json.loads(said.partition(READY)[0])
        return Standing(
            str(told["url"]),
            Secret(str(told["token"])),
            str(told["ca"]),
            int(told["list_bytes"]),
            float(told["ready_s"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CheckError(STAGE, f"said nothing that can be read ({type(error).__name__})") from error


def _last_line(*texts: str) -> str:
    """The last line of the first text that has one: what the program says of itself comes before its shell's words."""
    for text in texts:
        lines = [
            line for line in text.splitlines() if line.strip() not in ("", ENDED) and "token" not in line
        ]
        if lines:
            return lines[-1].strip()
    return "ended without a word"
