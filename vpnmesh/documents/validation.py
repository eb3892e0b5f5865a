"""What pydantic found wrong with a document, as an InputError says it: which key, what it is, what it should be."""

from pydantic import ValidationError

_SHOWN = 60


def first_problem(error: ValidationError, *, skip: int = 0) -> tuple[str, str]:
    """The key of the first thing that is wrong, its parts joined by `: `, and the problem as words behind the key.

    `skip` leaves out the first parts of the key that are pydantic's own, such as a union's tag. A validator of a whole
    document says with `key` and `value` in its error's context what it is about.
    """
    first = error.errors()[0]
    more = first.get("ctx", {})
    key = ": ".join(str(part) for part in (*first["loc"][skip:], *([more["key"]] if "key" in more else [])))
    if first["type"] == "missing":
        return key, "is missing"
    wanted = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
    value = str(more.get("value", first["input"]))[:_SHOWN]
    return key, f"is {value!r}, {wanted[:1].lower()}{wanted[1:]}"
