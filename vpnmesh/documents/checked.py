"""A mapping that somebody wrote, checked against a pydantic model: what is wrong is one sentence with its key."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vpnmesh.errors import InputError, UnknownNameError

Model = TypeVar("Model", bound=BaseModel)
MOST_SHOWN = 40

_SENTENCES = {
    "missing": ("is missing", ""),
    "string_type": ("{shown} is no text", "write it in quotes"),
    "int_type": ("{shown} is no whole number", ""),
    "float_type": ("{shown} is no number", ""),
    "bool_type": ("{shown} is neither true nor false", ""),
    "dict_type": ("{shown} is no mapping", "write NAME: VALUE, one to a line below it"),
    "tuple_type": ("{shown} is no list", "write [A, B]"),
    "enum": ("unknown value {shown}", "known are: {expected}"),
    "greater_than_equal": ("{shown} is less than {ge}", ""),
    "less_than_equal": ("{shown} is more than {le}", ""),
    "greater_than": ("{shown} is not more than {gt}", ""),
    "string_pattern_mismatch": ("{shown} does not look like {pattern}", ""),
}
"""By pydantic's names of errors: problem, and way out."""


def checked(model: type[Model], keys: Mapping[Any, object], where: str, page: str) -> Model:
    """The mapping as that model; InputError names the first key that is wrong, `page` is where all are explained."""
    for key in keys:
        if not isinstance(key, str):
            raise InputError(f"{where}: {shown(key)}", "the key is no text", "write it in quotes")
    try:
        return model.model_validate(dict(keys))
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0], model, where, page) from None


def shown(value: object) -> str:
    """A value as a message shows it: short, and on one line."""
    return "nothing" if value is None else repr(str(value)[:MOST_SHOWN])


def _refusal(error: ErrorDetails, model: type[BaseModel], where: str, page: str) -> InputError:
    key = ".".join(str(part) for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        return UnknownNameError(where, "key", key[:MOST_SHOWN], list(model.model_fields))
    problem, way_out = _SENTENCES.get(error["type"], ("{shown}: {message}", ""))
    words = {"shown": shown(error["input"]), "message": error["msg"].lower(), **error.get("ctx", {})}
    way_out = way_out or f"{page} says what it takes"
    return InputError(f"{where}: {key}", problem.format_map(words), way_out.format_map(words))
