"""How programs and people reach the API server, and who they are there: kubeconfig files."""

import base64

import yaml

from vpnmesh.cluster.protocol import Cluster

NAME = "vpnmesh"


def of_files(cluster: Cluster, authority: str, stem: str) -> str:
    """One that names the files of a certificate and its key, which stay where they are: nothing in it is secret."""
    user = {"client-certificate": f"{stem}.crt", "client-key": f"{stem}.key"}
    return _document({"certificate-authority": authority, "server": cluster.server}, user)


def with_keys(server: str, authority: str, certificate: str, key: str) -> str:
    """One that holds all that it needs, as people take it along: a secret."""
    user = {"client-certificate-data": _coded(certificate), "client-key-data": _coded(key)}
    return _document({"certificate-authority-data": _coded(authority), "server": server}, user)


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _document(cluster: dict[str, str], user: dict[str, str]) -> str:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": user}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
        "current-context": NAME,
    }
    return yaml.safe_dump(document, sort_keys=False)
