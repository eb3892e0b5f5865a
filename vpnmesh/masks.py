"""Taking secrets out of text that other programs wrote, before it is kept."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from vpnmesh.plan import Secret

_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:(?:ts|hs)key-[\w-]{8,}|privkey:[0-9a-f]{16,}|nbp_\w{8,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
    # a ZeroTier identity with its private half
    r"|\b[0-9a-f]{10}:0:[0-9a-f]{128}:[0-9a-f]{64,}",
    re.DOTALL,
)
"""How private keys and tokens look that no node publishes: PEM, Tailscale's, NetBird's, JWTs, ZeroTier's."""


def masked(text: str, known: Iterable[Secret] = ()) -> str:
    """The text with every known secret, and whatever has the shape of one, replaced by its mask.

    A known secret is found as it is and as JSON writes it (RFC 8259, section 7), for tools print JSON too.
    """
    forms = {form: secret for secret in known for form in _forms(secret.reveal())}
    # the longest first: one secret may be a part of another
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, str(forms[form]))
    return _SHAPES.sub(lambda found: str(Secret(found[0])), text)


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
