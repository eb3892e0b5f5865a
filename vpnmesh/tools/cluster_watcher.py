"""Watches a Kubernetes cluster from one node or pod, a line per observation, until it is ended.

A program of its own: its text is handed to the node's python3, whose library is all that it needs. The only argument
is JSON with the keys of `Orders`; what is secret is read from a file, which is deleted at once. A line is
`SECONDS KIND JSON`, the seconds by the node's own clock.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import ssl
import sys
import threading
import time
import urllib.parse
from typing import Any

IDLE_S = 45.0
"""A watch that heard nothing for so long is broken, as in client-go: 30 s until it pings, 15 s for the answer."""
QUIET_S = 150.0
"""The same of what may not change for long: there is a bookmark every minute."""
DIAL_S = 30.0
"""How long a watch waits for its connection, as in client-go."""
RETRY_S = 1.0
_AT_ONCE = 60
_LOCK = threading.Lock()
Item = dict[str, Any]
"""An object of Kubernetes' API."""


def say(kind: str, **facts: object) -> None:
    """Print one line."""
    with _LOCK:
        sys.stdout.write(f"{time.time():.3f} {kind} {json.dumps(facts, separators=(',', ':'))}\n")
        sys.stdout.flush()


class Orders:
    """What to watch: API server and its certificate authority, how often, and which interface and resources."""

    def __init__(self, text: str) -> None:
        told = json.loads(text)
        self.server = urllib.parse.urlsplit(told["server"])
        self.every_s = told["every_s"]
        self.patience_s = told["patience_s"]
        self.interface = told.get("interface", "")
        self.resources = told.get("resources", {})
        self.tls = ssl.create_default_context(cadata=told["authority"])
        self.token = _taken(told["token_file"]) if told.get("token_file") else ""

    def get(
        self, path: str, timeout_s: float, token: str = ""
    ) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        """A connection of its own for one question, and its answer; the connection is the caller's to close."""
        host, port = self.server.hostname, self.server.port
        link = http.client.HTTPSConnection(host or "", port, timeout=min(timeout_s, DIAL_S), context=self.tls)
        try:
            link.connect()
            link.sock.settimeout(timeout_s)
            link.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            return link, link.getresponse()
        except BaseException:
            link.close()
            raise


def _taken(path: str) -> str:
    with open(path) as file:  # noqa: PTH123
        text = file.read().strip()
    os.unlink(path)  # noqa: PTH108
    return text


def why(error: Exception) -> str:
    """A failure in one word or two."""
    return f"{type(error).__name__} {error}".strip()[:120]


def ask_forever(orders: Orders) -> None:
    """Ask whether the API server is ready, each time over a new connection, in step whatever becomes of the former."""
    slots, due = threading.Semaphore(_AT_ONCE), time.monotonic()
    while True:
        if slots.acquire(blocking=False):
            threading.Thread(target=ask_once, args=(orders, slots), daemon=True).start()
        due += orders.every_s
        time.sleep(max(0.0, due - time.monotonic()))


def ask_once(orders: Orders, slots: threading.Semaphore) -> None:
    """One question; any answer below 500 is one, also a refusal of a server that wants to know who asks."""
    began_s = time.time()
    try:
        link, answer = orders.get("/readyz", orders.patience_s)
        with contextlib.closing(link):
            answer.read()
            say("api", began=round(began_s, 3), code=answer.status)
    except (OSError, http.client.HTTPException) as error:
        say("api", began=round(began_s, 3), error=why(error))
    finally:
        slots.release()


def look_forever(orders: Orders) -> None:
    """Look at the pods' interface and its routes, and say what is there whenever it changed."""
    before: tuple[bool, list[str]] | None = None
    while True:
        found = seen_of(orders.interface)
        if found != before:
            say("link", there=found[0], routes=found[1])
            before = found
        time.sleep(orders.every_s)


def seen_of(interface: str) -> tuple[bool, list[str]]:
    """Whether the interface is there, and the networks that are routed over it (/proc/net/route)."""
    routes = []
    with open("/proc/net/route") as file:  # noqa: PTH123
        for line in file.readlines()[1:]:
            words = line.split()
            if words[0] == interface:
                length = bin(int(words[7], 16)).count("1")  # noqa: FURB161 - Python 3.9
                routes.append(f"{_dotted(words[1])}/{length}")
    return os.path.exists(f"/sys/class/net/{interface}"), sorted(routes)  # noqa: PTH110


def _dotted(word: str) -> str:
    return ".".join(str(int(word[index : index + 2], 16)) for index in (6, 4, 2, 0))


class Watch:
    """One resource, listed and then watched as clients of Kubernetes do it; says every change, end and beginning."""

    def __init__(self, orders: Orders, kind: str, path: str) -> None:
        self.orders, self.kind, self.path = orders, kind, path
        self.version, self.begun = "", False
        self.told: dict[str, Item | None] = {}

    def forever(self) -> None:
        """Watch, and begin again where it ended."""
        while True:
            try:
                if not self.version:
                    self.list()
                self.stream()
                ended = "closed"
            except (OSError, ValueError, http.client.HTTPException) as error:
                ended = why(error)
            say("watch", of=self.kind, what="end" if self.begun else "failed", why=ended)
            self.begun = False
            time.sleep(RETRY_S)

    def list(self) -> None:
        """All of them as they are, and the version to go on from; those that went meanwhile are gone."""
        link, answer = self.orders.get(self.path, self.orders.patience_s, self.orders.token)
        with contextlib.closing(link):
            said = json.loads(answer.read())
        if answer.status != http.client.OK:
            raise ValueError(f"{answer.status} {said.get('message', '')}")
        for item in said["items"] or []:
            self.tell("ADDED", item)
        self.version = said["metadata"]["resourceVersion"]

    def stream(self) -> None:
        """Say every change until the stream ends; a version that is too old makes the next begin with a list."""
        mark = "&" if "?" in self.path else "?"
        path = f"{self.path}{mark}watch=1&allowWatchBookmarks=true&resourceVersion={self.version}"
        link, answer = self.orders.get(path, IDLE_S if self.kind == "lease" else QUIET_S, self.orders.token)
        with contextlib.closing(link):
            if answer.status != http.client.OK:
                self.version = ""
                raise ValueError(f"{answer.status} {answer.read(200).decode(errors='replace')}")
            self.begun = True
            say("watch", of=self.kind, what="begin")
            for line in answer:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    self.version = ""
                    raise ValueError(str(event["object"].get("message", "")))
                self.version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self.tell(event["type"], event["object"])

    def tell(self, event: str, item: Item) -> None:
        """Say what matters of an object, where that changed."""
        name, facts = item["metadata"]["name"], FACTS[self.kind](item)
        if event == "DELETED" or self.told.get(name) != facts:
            say(self.kind, name=name, event=event, **facts)
        self.told[name] = None if event == "DELETED" else facts


def node_facts(item: Item) -> Item:
    """Whether it is ready, and what the reason is."""
    ready = condition(item, "Ready")
    return {"ready": ready.get("status", "Unknown"), "reason": ready.get("reason", "")}


def lease_facts(item: Item) -> Item:
    """When its holder last renewed it."""
    return {"renewed": item.get("spec", {}).get("renewTime", "")}


def pod_facts(item: Item) -> Item:
    """Where it is, and how."""
    return {
        "uid": item["metadata"].get("uid", ""),
        "node": item.get("spec", {}).get("nodeName", ""),
        "phase": item.get("status", {}).get("phase", ""),
        "ready": condition(item, "Ready").get("status", "Unknown"),
        "deleting": "deletionTimestamp" in item["metadata"],
    }


def slice_facts(item: Item) -> Item:
    """The addresses that are sent to."""
    ends = item.get("endpoints") or []
    ready = [end for end in ends if end.get("conditions", {}).get("ready", True)]
    return {"ready": sorted(address for end in ready for address in end.get("addresses", []))}


def condition(item: Item, kind: str) -> Item:
    """The condition of that type, as the object has it."""
    found = item.get("status", {}).get("conditions") or []
    return next((dict(one) for one in found if one.get("type") == kind), {})


FACTS = {"node": node_facts, "lease": lease_facts, "pod": pod_facts, "slice": slice_facts}


def main() -> None:
    """Start everything that was ordered; the lines come until the process is ended."""
    orders = Orders(sys.argv[1])
    say("begin", python=sys.version.split()[0])
    jobs = [functools.partial(ask_forever, orders)]
    jobs += [functools.partial(look_forever, orders)] if orders.interface else []
    jobs += [
        functools.partial(Watch.forever, Watch(orders, kind, path)) for kind, path in orders.resources.items()
    ]
    for job in jobs:
        threading.Thread(target=job, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
