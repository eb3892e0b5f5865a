"""What the API accepts: every request is held against `openapi.yaml`, and unknown keys are refused."""

import json
from pathlib import Path
from typing import Any

import yaml
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest

OPENAPI = Path(__file__).with_name("openapi.yaml")

# control parameters that the package documents for every endpoint; the schema does not list them
CONTROL = {"apply", "async", "append", "remove", "placement", "dry_run", "all"}
QUERY_CONTROL = {"id", "limit", "offset", "sort_by", "sort_order", "sort_flags", "reverse", "apply", "all"}
FILTERS = {
    "exact",
    "startswith",
    "endswith",
    "contains",
    "in",
    "except",
    "lt",
    "lte",
    "gt",
    "gte",
    "format",
    "regex",
}


class RefusedError(Exception):
    """The request is not what the schema allows."""


class Schema:
    """The schema of the API, ready to judge requests."""

    def __init__(self, path: Path = OPENAPI) -> None:
        self.document = _unlimited(yaml.safe_load(path.read_text(encoding="utf-8")))
        self._openapi = OpenAPI.from_dict(self.document)

    def covers(self, path: str, method: str) -> bool:
        """Whether the schema has this call."""
        return method.lower() in self.document["paths"].get(path, {})

    def check(self, method: str, path: str, query: dict[str, str], body: Any, content_type: str) -> None:
        """RefusedError says which rule the request breaks."""
        if method in ("POST", "PATCH", "PUT") and content_type.partition(";")[0] != "application/json":
            raise RefusedError(f"Content-Type '{content_type}' is not application/json")
        if self.covers(path, method):
            self._check_schema(method, path, query, body)
        self._check_keys(method, path, body)
        self._check_query(path, query)

    def fields(self, path: str) -> set[str]:
        """The fields of the objects behind a path."""
        model = self.document["paths"].get(path, {}).get("x-model")
        return set(self.document["components"]["schemas"][model]["properties"]) if model else set()

    def _check_schema(self, method: str, path: str, query: dict[str, str], body: Any) -> None:
        request = MockRequest(
            "https://firewall",
            method,
            path,
            headers={"x-api-key": "checked elsewhere"},
            args=dict(query),
            data=json.dumps(body).encode() if body is not None else b"",
            content_type="application/json",
        )
        try:
            self._openapi.validate_request(request)
        except OpenAPIError as error:
            raise RefusedError(f"{error}: {error.__cause__}") from error

    def _check_keys(self, method: str, path: str, body: Any) -> None:
        if method not in ("POST", "PATCH") or not isinstance(body, dict):
            return
        known = self.fields(path) | CONTROL | ({"id"} if method == "PATCH" else set())
        if unknown := set(body) - known:
            raise RefusedError(f"unknown keys {sorted(unknown)}")

    def _check_query(self, path: str, query: dict[str, str]) -> None:
        fields = self.fields(path)
        for key in query:
            name, _, kind = key.partition("__")
            if key not in QUERY_CONTROL and (name not in fields or (kind and kind not in FILTERS)):
                raise RefusedError(f"unknown query parameter '{key}'")


def _unlimited(node: Any) -> Any:
    """The package writes `maxItems: 0` where it means no limit; taken at its word no alias could hold an address."""
    if isinstance(node, dict):
        return {key: _unlimited(value) for key, value in node.items() if (key, value) != ("maxItems", 0)}
    return [_unlimited(value) for value in node] if isinstance(node, list) else node
