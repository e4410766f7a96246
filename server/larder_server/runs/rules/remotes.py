"""Where a browser finds code: the pages of the well-known hosts of git repositories, by a remote's address."""

import re

_UNSAFE = re.compile(rb"[^A-Za-z0-9_.~/-]")
_SCP = re.compile(r"(?:[\w.-]+@)?([\w.-]+):(?!//)(.+)")
_URL = re.compile(r"(?:https?|ssh|git)://(?:[^/@]*@)?([\w.-]+)(?::\d+)?/(.+)")
_HOSTS = {
    "github": ("/tree/", "/compare/{}...{}"),
    "gitlab": ("/-/tree/", "/-/compare/{}...{}"),
    "bitbucket": ("/src/", "/branches/compare/{1}..{0}"),
    "codeberg": ("/src/commit/", "/compare/{}...{}"),
}


def of_commit(remote: str, commit: str) -> str:
    """The page of the tree of a commit; empty where the host is not known."""
    home, ways = _home(remote)
    return f"{home}{ways[0]}{_quoted(commit)}" if home and commit else ""


def of_difference(remote: str, old: str, new: str) -> str:
    """The page of the difference of two commits; empty where the host is not known."""
    home, ways = _home(remote)
    return home + ways[1].format(_quoted(old), _quoted(new)) if home and old and new else ""


def _home(remote: str) -> tuple[str, tuple[str, str]]:
    found = _URL.fullmatch(remote) or _SCP.fullmatch(remote)
    if found is None:
        return "", ("", "")
    host, path = found[1].lower(), found[2].strip("/").removesuffix(".git")
    for name, ways in _HOSTS.items():
        if name in host.split("."):
            return f"https://{host}/{_quoted(path)}", ways
    return "", ("", "")


def _quoted(text: str) -> str:
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], text.encode()).decode()
