"""Digests of what may hold a secret: salted, with the salt in front, so that nobody can look a short password up.

Whoever has a digest can compare with it, for the salt lies in it.
"""

import hashlib
import hmac


def salted(content: bytes, salt: str, size: int = 16) -> str:
    """The salt, and the content's digest of that many bytes under it."""
    return f"{salt} {hashlib.blake2b(content, key=salt.encode()[:64], digest_size=size).hexdigest()}"


def is_salted(found: str, content: bytes, size: int = 16) -> bool:
    """Whether a digest that somebody kept is one of this content."""
    wanted = salted(content, found.partition(" ")[0], size)
    return hmac.compare_digest(wanted.encode(), found.encode())
