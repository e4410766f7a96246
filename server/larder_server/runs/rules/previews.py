"""What a file of an artifact is to a browser, by its name, and by the artifact's format where the name says nothing."""

_TEXT = "text/plain; charset=utf-8"
_PAGE = "text/html; charset=utf-8"
_PICTURES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "avif": "image/avif", "bmp": "image/bmp", "svg": "image/svg+xml",
}  # fmt: skip
_TEXTS = (
    "txt", "text", "log", "md", "rst", "json", "jsonl", "yaml", "yml", "toml", "ini", "cfg", "csv", "tsv", "xml", "py",
    "sh", "sql", "diff", "patch", "r", "js", "ts", "css", "c", "h", "cpp", "java", "go", "rs", "ipynb", "tex",
)  # fmt: skip
_KINDS = {**_PICTURES, **dict.fromkeys(_TEXTS, _TEXT), "html": _PAGE, "htm": _PAGE}


def media_type(name: str, *, kind: str, format: str) -> str:
    """The media type of a file that is to be shown; empty for one that is to be downloaded."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    return _KINDS.get(ending) or _KINDS.get(format.lower()) or (_TEXT if kind == "text" else "")
