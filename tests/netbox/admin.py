"""Objects in NetBox as a person would make them, for tests that need another state than the seeded one."""

from dataclasses import dataclass
from typing import Any

import requests

from tests.netbox.server import NetBoxServer


@dataclass(frozen=True, slots=True)
class Admin:
    """The administrator's hands: plain requests, none of the code under test."""

    server: NetBoxServer

    def make(self, path: str, **fields: Any) -> dict[str, Any]:
        """Create one object and return what NetBox made of it."""
        return self._call("post", f"{path}/", fields)

    def change(self, path: str, number: int, **fields: Any) -> dict[str, Any]:
        """Change one object."""
        return self._call("patch", f"{path}/{number}/", fields)

    def find(self, path: str, **filters: str) -> list[dict[str, Any]]:
        """All objects that the filters select, at most a page."""
        answer = requests.get(
            f"{self.server.url}/api/{path}/", params=filters, headers=self.server.headers, timeout=60
        )
        answer.raise_for_status()
        return list(answer.json()["results"])

    def one(self, path: str, **filters: str) -> int:
        """The id of the one object that the filters select."""
        (row,) = self.find(path, **filters)
        return int(row["id"])

    def _call(self, verb: str, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        answer = requests.request(
            verb, f"{self.server.url}/api/{path}", json=fields, headers=self.server.headers, timeout=60
        )
        assert answer.ok, answer.text
        return dict(answer.json())
