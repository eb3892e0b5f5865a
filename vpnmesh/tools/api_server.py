"""A Kubernetes API server with its etcd for one test; sent to a node as text, so it imports only Python's own.

Both programs live as long as this one: it ends them when it is told to end (TERM), and where it is killed the kernel
does (`setpriv --pdeathsig`). Everything that they write is in one folder, which is removed at the end; what a kill left
of it is removed at the next start.

The argument is JSON: `folder`, `address`, `port`, `apiserver` (its argv), `nodes` (names of the node objects), `pods`
(how many), `namespace`. Printed is one line of JSON, with the token of a service account that may list pods, then
`@ready`. The token lives as long as this server: its key is made here and never leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

READY = "@ready"
START_S = 60.0
ACCOUNT = "api-test"
OPENSSL = """
umask 077
new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $new -keyout ca.key -out ca.crt -days 2 -subj /CN=vpnmesh-api-test
openssl req -new $new -keyout server.key -out server.csr -subj /CN=api-test
printf 'subjectAltName=IP:%s\\n' "$1" > server.ext
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.crt
openssl ecparam -genkey -name prime256v1 -noout -out account.key
rm ca.key
"""


class RefusedError(Exception):
    """It cannot be had; the reason is its text."""


def etcd() -> list[str]:
    """The store, on sockets in the folder alone."""
    client, peer = "unix://etcd.sock:0", "unix://peer.sock:0"
    return [
        "etcd", "--data-dir", "etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        "--logger", "zap", "--log-level", "error",
    ]  # fmt: skip


def apiserver(wanted: dict[str, object]) -> list[str]:
    """The API server, with the roles of every cluster; nothing here makes default service accounts for pods."""
    address, port = wanted["address"], wanted["port"]
    return [
        *list(wanted["apiserver"]),  # type: ignore[call-overload]
        "--etcd-servers", "unix://etcd.sock:0", "--bind-address", str(address), "--advertise-address", str(address),
        "--secure-port", str(port), "--tls-cert-file", "server.crt", "--tls-private-key-file", "server.key",
        "--token-auth-file", "tokens.csv", "--authorization-mode", "RBAC",
        "--service-account-key-file", "account.key", "--service-account-signing-key-file", "account.key",
        "--service-account-issuer", f"https://{address}:{port}", "--service-cluster-ip-range", "10.43.0.0/24",
        "--disable-admission-plugins", "ServiceAccount", "--profiling=false",
    ]  # fmt: skip


def objects(namespace: str, nodes: list[str], pods: int) -> Iterator[tuple[str, dict[str, object]]]:
    """What is made, in order: (collection, object). No kubelet takes the pods: they stay Pending."""
    own = f"/api/v1/namespaces/{namespace}"
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    yield "/api/v1/namespaces", {"metadata": {"name": namespace}}
    yield f"{own}/serviceaccounts", {"metadata": {"name": ACCOUNT}}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    yield f"{roles}/roles", {"metadata": {"name": ACCOUNT}, "rules": rules}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT}
    yield (
        f"{roles}/rolebindings",
        {"metadata": {"name": ACCOUNT}, "roleRef": reference, "subjects": [subject]},
    )
    for node in nodes:
        yield "/api/v1/nodes", {"metadata": {"name": node}}
    for number in range(pods):
        yield f"{own}/pods", pod(f"listed-{number:02}", nodes[number % len(nodes)])


def pod(name: str, node: str) -> dict[str, object]:
    """A pod as a deployment writes one: what is listed has about its size."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10}
    container = {
        "name": "main",
        "image": "registry.invalid/listed:1",
        "ports": [{"containerPort": 8080}],
        "env": [{"name": f"SETTING_{number}", "value": "as a deployment has them"} for number in range(8)],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "livenessProbe": probe,
        "readinessProbe": probe,
    }
    labels = {"app.kubernetes.io/name": "listed", "app.kubernetes.io/instance": name}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"nodeName": node, "containers": [container]},
    }


class Api:
    """The server as its administrator asks it."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token
        tls = ssl.create_default_context(cafile="ca.crt")
        proxies = urllib.request.ProxyHandler({})
        self.opener = urllib.request.build_opener(proxies, urllib.request.HTTPSHandler(context=tls))

    def ask(self, path: str, content: dict[str, object] | None = None, token: str = "") -> bytes:
        """GET, or POST with content."""
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310 - the URL is ours
        with self.opener.open(request, timeout=10) as answer:
            return bytes(answer.read())

    def is_ready(self) -> bool:
        """Whether it says so."""
        try:
            return self.ask("/readyz") == b"ok"
        except OSError:
            return False


async def started(name: str, argv: list[str]) -> asyncio.subprocess.Process:
    """Start a program that dies with this one; what it says is in the folder."""
    with open(f"{name}.log", "wb") as log:
        return await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", "--", *argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def last_words(name: str) -> str:
    """The end of what a program said."""
    with contextlib.suppress(OSError), open(f"{name}.log", errors="replace") as log:
        lines = [line.strip() for line in log if line.strip()]
        wrong = [line for line in lines if line.startswith(("Error", "error", "F"))]
        return (wrong or lines or [""])[-1][-300:]
    return ""


async def certificates(address: str) -> None:
    """A certificate authority of this start, the server's certificate, and the key that signs tokens."""
    making = await asyncio.create_subprocess_exec(
        "sh", "-ec", OPENSSL, "sh", address, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await making.communicate()
    if making.returncode:
        raise RefusedError(f"openssl: {said.decode(errors='replace').strip()[-300:]}")


async def until_ready(api: Api, programs: dict[str, asyncio.subprocess.Process]) -> None:
    """Wait until it is ready; RefusedError where a program ended, or in the end."""
    deadline = time.monotonic() + START_S
    while not await asyncio.get_running_loop().run_in_executor(None, api.is_ready):
        for name, program in programs.items():
            if program.returncode is not None:
                raise RefusedError(f"{name} ended: {last_words(name)}")
        if time.monotonic() > deadline:
            raise RefusedError(f"not ready after {START_S:.0f} s: {last_words('kube-apiserver')}")
        await asyncio.sleep(0.1)


def fill(api: Api, wanted: dict[str, object]) -> dict[str, object]:
    """Make all objects; what a client must know to ask for the list, and how long that is."""
    namespace = str(wanted["namespace"])
    path = f"/api/v1/namespaces/{namespace}/pods"
    try:
        for collection, one in objects(namespace, list(wanted["nodes"]), int(str(wanted["pods"]))):  # type: ignore[call-overload]
            api.ask(collection, one)
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/{ACCOUNT}/token"
        answer = json.loads(api.ask(account, {"spec": {"expirationSeconds": 86400}}))
        token = str(answer["status"]["token"])
        listed = api.ask(path, token=token)
    except urllib.error.HTTPError as error:
        raise RefusedError(f"the API server refused an object: {error.code} {error.read(300)!r}") from error
    except (OSError, ValueError, KeyError) as error:
        raise RefusedError(f"the API server could not be filled: {error}") from error
    with open("ca.crt") as file:
        return {"url": api.url + path, "token": token, "ca": file.read(), "list_bytes": len(listed)}


async def serve(wanted: dict[str, object], told: asyncio.Event) -> str:
    """Run both until told to end; why it ended where nobody asked for it, else ""."""
    began = time.monotonic()
    token = secrets.token_hex(24)
    with open("tokens.csv", "w") as file:
        file.write(f"{token},admin,admin,system:masters\n")
    programs: dict[str, asyncio.subprocess.Process] = {}
    try:
        await certificates(str(wanted["address"]))
        programs["etcd"] = await started("etcd", etcd())
        programs["kube-apiserver"] = await started("kube-apiserver", apiserver(wanted))
        api = Api(f"https://{wanted['address']}:{wanted['port']}", token)
        ending = asyncio.ensure_future(told.wait())
        readying = asyncio.ensure_future(until_ready(api, programs))
        await asyncio.wait({ending, readying}, return_when=asyncio.FIRST_COMPLETED)
        if told.is_set():
            readying.cancel()
            return ""
        readying.result()
        access = await asyncio.get_running_loop().run_in_executor(None, fill, api, wanted)
        print(
            json.dumps({**access, "ready_s": round(time.monotonic() - began, 3)}) + f"\n{READY}", flush=True
        )
        ends = {asyncio.ensure_future(one.wait()): name for name, one in programs.items()}
        await asyncio.wait({ending, *ends}, return_when=asyncio.FIRST_COMPLETED)
        ended = [name for one, name in ends.items() if one.done()]
        return "" if told.is_set() else f"{ended[0]} ended during the test: {last_words(ended[0])}"
    except RefusedError as reason:
        return str(reason)
    finally:
        # the API server first: without its store it would only wait
        for name in ("kube-apiserver", "etcd"):
            with contextlib.suppress(ProcessLookupError, KeyError):
                programs[name].kill()
                await programs[name].wait()


async def guarded(wanted: dict[str, object]) -> int:
    """Serve in a folder of its own, and leave none."""
    folder, told = str(wanted["folder"]), asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(one, told.set)
    os.umask(0o077)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.chdir(folder)
    try:
        reason = await serve(wanted, told)
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)
    print(reason or "stopped", flush=True)
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(guarded(json.loads(sys.argv[1]))))
