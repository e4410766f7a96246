"""What a project may be called. Pure."""

from larder.contract.errors import Invalid


def name(text: str) -> str:
    """The name, when it may be a project's: 1 to 200 printable characters, no `..`, no leading or trailing slash."""
    if not 0 < len(text) <= 200:
        raise Invalid(f"a project's name has 1 to 200 characters, not {len(text)}", field="project")
    if not text.isprintable():
        raise Invalid("a project's name has printable characters only", field="project")
    if text != text.strip(" /") or ".." in text:
        raise Invalid(f"a project's name has no '..' and no space or slash at its ends: {text!r}", field="project")
    return text
