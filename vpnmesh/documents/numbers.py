"""Numbers of documents that other programs wrote: a finite one, or none at all."""

import math

_ALL_PCT = 100


def finite(value: object) -> float | None:
    """The number; None for NaN, what is infinite or too large for a float, true and false, and what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def amount(value: object) -> float | None:
    """A finite number that is not below zero, else None."""
    number = finite(value)
    return number if number is not None and number >= 0 else None


def written_amount(value: object) -> float | None:
    """As `amount`, also where the number is written as text."""
    if not isinstance(value, str):
        return amount(value)
    try:
        return amount(float(value))
    except ValueError:
        return None


def percentage(value: object) -> float | None:
    """From 0 to 100, as `written_amount` reads it, else None: no more than all can be lost."""
    number = written_amount(value)
    return number if number is not None and number <= _ALL_PCT else None
