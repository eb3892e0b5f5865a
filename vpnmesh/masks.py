"""Taking secrets out of text that other programs wrote, before it is kept."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache

from vpnmesh.errors import InputError
from vpnmesh.plan import Secret
from vpnmesh.solutions import SOLUTIONS

_SHAPES = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    # a JSON Web Token (RFC 7519)
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
)
"""How private keys and tokens look that any program may write; `Solution.secret_shapes` adds those of one VPN."""


@cache
def _pattern(shapes: tuple[str, ...]) -> re.Pattern[str]:
    for shape in shapes:
        try:
            re.compile(shape)
        except re.error as error:
            problem, way = f"{shape!r} is no expression: {error}", "correct it in the solution's module"
            raise InputError("secret_shapes", problem, way) from error
    return re.compile("|".join(f"(?:{shape})" for shape in shapes), re.DOTALL)


def masked(text: str, known: Iterable[Secret] = ()) -> str:
    """The text with every known secret, and whatever has the shape of one, replaced by its mask.

    A known secret is found as it is and as JSON writes it (RFC 8259, section 7), for tools print JSON too.
    """
    forms = {form: secret for secret in known for form in _forms(secret.reveal())}
    # the longest first: one secret may be a part of another
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, str(forms[form]))
    shapes = (*_SHAPES, *(shape for solution in SOLUTIONS.values() for shape in solution.secret_shapes))
    return _pattern(shapes).sub(lambda found: str(Secret(found[0])), text)


def hide_values(value: object, hide: Callable[[str], str]) -> object:
    """A value for JSON with every text in it, keys too, put through `hide`.

    To be done before the value becomes JSON, which escapes quotes and backslashes. What JSON has no form for
    becomes its text.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {hide(str(key)): hide_values(one, hide) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [hide_values(one, hide) for one in value]
    return hide(str(value))


def _forms(secret: str) -> Iterator[str]:
    if secret:
        yield secret
        yield json.dumps(secret)[1:-1]
        yield json.dumps(secret, ensure_ascii=False)[1:-1]
