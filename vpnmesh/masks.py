"""Taking secrets out of text that other programs wrote, before it is kept."""

import re
from collections.abc import Iterable

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
    """The text with every known secret, and whatever has the shape of one, replaced by its mask."""
    # the longest first: one secret may be a part of another
    for secret in sorted(known, key=lambda one: len(one.reveal()), reverse=True):
        if secret.reveal():
            text = text.replace(secret.reveal(), str(secret))
    return _SHAPES.sub(lambda found: str(Secret(found[0])), text)
