"""What a project may be called. Pure."""

from larder.contract.errors import Invalid

LONGEST_DESCRIPTION = 10_000


def name(text: str, field: str = "project") -> str:
    """The name, when it may be a project's: 1 to 200 printable characters, no `..`, no leading or trailing slash."""
    if not 0 < len(text) <= 200:
        raise Invalid(f"a project's name has 1 to 200 characters, not {len(text)}", field=field)
    if not text.isprintable():
        raise Invalid("a project's name has printable characters only", field=field)
    if text != text.strip(" /") or ".." in text:
        raise Invalid(f"a project's name has no '..' and no space or slash at its ends: {text!r}", field=field)
    return text


def description(text: str) -> str:
    """The text, when it may describe a project: at most 10,000 characters and no NUL, which PostgreSQL cannot hold."""
    if len(text) > LONGEST_DESCRIPTION or "\0" in text:
        raise Invalid(f"a description has at most {LONGEST_DESCRIPTION} characters and no NUL", field="description")
    return text
