"""How a check says what it has found."""


class Failed(AssertionError):
    """An implementation does not keep a promise; the message says which one, and what it did instead."""


def expect(true: object, promise: str, found: object = None) -> None:
    """Failed, with what was found, unless it is true."""
    if not true:
        raise Failed(promise if found is None else f"{promise}; found {found!r}")
