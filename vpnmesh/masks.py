"""Taking secrets out of text that other programs wrote, before it is kept."""

import base64
import html
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from urllib.parse import quote, quote_plus

from vpnmesh.documents.secret_shapes import JSON_WEB_TOKEN, PRIVATE_KEY
from vpnmesh.errors import InputError
from vpnmesh.plan import Secret
from vpnmesh.solutions import SOLUTIONS

_LINE = 16
"""From how many characters on a line of a secret counts as secret by itself."""
_CORE = 8
"""From how many characters on a text in base64 is looked for: fewer are found by chance."""


@cache
def _pattern(shape: str) -> re.Pattern[str]:
    try:
        return re.compile(shape, re.DOTALL)
    except re.error as error:
        problem, way = f"{shape!r} is no expression: {error}", "correct it in the solution's module"
        raise InputError("secret_shapes", problem, way) from error


def masked(text: str, known: Iterable[Secret] = ()) -> str:
    """The text with every known secret, and whatever has the shape of one, replaced by its mask.

    A known secret is found as it is and as JSON, Python, shells, URLs, HTML and base64 write it, for tools print these
    too; of one with several lines also every line.
    """
    return mask_for(known)(text)


def mask_for(known: Iterable[Secret] = ()) -> Callable[[str], str]:
    """`masked` for many texts: what is looked for is gathered once."""
    masks = {form: str(secret) for secret in known for form in _forms(secret.reveal())}
    # the longest first: one secret may be a part of another
    forms = sorted(masks, key=len, reverse=True)
    shapes = [shape for solution in SOLUTIONS.values() for shape in solution.secret_shapes]
    # one after another: of an expression alone that begins with letters these are looked for, at fifty times the pace
    patterns = [_pattern(shape) for shape in (PRIVATE_KEY, JSON_WEB_TOKEN, *shapes)]

    def mask(text: str) -> str:
        for form in forms:
            text = text.replace(form, masks[form])
        for pattern in patterns:
            text = pattern.sub(lambda found: str(Secret(found[0])), text)
        return text

    return mask


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


@cache
def _forms(secret: str) -> frozenset[str]:
    plain = {secret, *(line.strip() for line in secret.splitlines() if _tells(line))}
    written = {form for text in plain for form in _written(text)}
    # JSON that is a text in JSON again, as in a journal
    written |= {json.dumps(form)[1:-1] for form in written}
    return frozenset(plain | written | set(_in_base64(secret.encode()))) - {""}


def _tells(line: str) -> bool:
    """Whether a line of a secret is one by itself: not a short one, nor what all PEM files begin with."""
    return len(line.strip()) >= _LINE and not line.startswith("-----")


def _written(text: str) -> Iterator[str]:
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]
    yield shlex.quote(text)[1:-1] if shlex.quote(text) != text else text
    yield text.replace("\\", "\\\\").replace('"', '\\"')
    for percent in (quote(text), quote(text, safe=""), quote_plus(text)):
        yield percent
        # RFC 3986, section 2.1: the digits of either case are the same
        yield re.sub("%..", lambda found: found[0].lower(), percent)
    yield html.escape(text)
    yield html.escape(text, quote=False)


def _in_base64(secret: bytes) -> Iterator[str]:
    """The characters that the secret alone decides, wherever it begins in what was encoded.

    A header of HTTP's Basic scheme encodes a name before it (RFC 7617).
    """
    for before in range(3):
        padded = bytes(before) + secret
        first, last = -(-before * 8 // 6), len(padded) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            core = encode(padded).decode()[first:last]
            if len(core) >= _CORE:
                yield core
