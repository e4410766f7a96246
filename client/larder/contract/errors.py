"""Every refusal, one tree; the class docstring is the default sentence.

LarderError
  Invalid            (400, exit 2)  the request makes no sense
  Denied             (403, exit 3)  this token may not do that
    Unauthenticated  (401, exit 3)  no token, or one that is unknown or expired
  NotFound           (404, exit 4)  no such thing in this tenant
  Conflict           (409, exit 1)  the state does not allow it
  Unavailable        (503, exit 5)  the server cannot be reached or cannot answer now: try again
"""


class LarderError(Exception):
    """Something went wrong."""

    code = "error"
    status = 500
    exit_code = 1

    def __init__(self, message: str = "", *, hint: str = "", field: str = "", position: int | None = None) -> None:
        super().__init__(message or self.__doc__ or self.code)
        self.hint = hint
        self.field = field
        self.position = position
        """Index of the character at fault, for a text that did not parse."""


class Invalid(LarderError):
    """The request makes no sense."""

    code, status, exit_code = "invalid", 400, 2


class Denied(LarderError):
    """This token may not do that."""

    code, status, exit_code = "denied", 403, 3


class Unauthenticated(Denied):
    """A valid token is needed."""

    code, status, exit_code = "unauthenticated", 401, 3


class NotFound(LarderError):
    """There is no such thing."""

    code, status, exit_code = "not_found", 404, 4


class Conflict(LarderError):
    """The state does not allow it."""

    code, status, exit_code = "conflict", 409, 1


class Unavailable(LarderError):
    """The server cannot answer now; try again."""

    code, status, exit_code = "unavailable", 503, 5


BY_CODE: dict[str, type[LarderError]] = {
    kind.code: kind for kind in (LarderError, Invalid, Denied, Unauthenticated, NotFound, Conflict, Unavailable)
}
