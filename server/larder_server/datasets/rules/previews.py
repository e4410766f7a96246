"""What a file of a version is to a browser that shows it, by its name. Pure."""

_TEXT = "text/plain; charset=utf-8"
_PICTURES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "avif": "image/avif", "bmp": "image/bmp", "svg": "image/svg+xml",
}  # fmt: skip
_TEXTS = (
    "txt", "text", "log", "md", "rst", "json", "jsonl", "ndjson", "yaml", "yml", "toml", "ini", "cfg", "csv", "tsv",
    "xml", "html", "htm", "py", "sh", "sql", "diff", "patch", "r", "js", "ts", "css", "tex", "eml", "geojson",
)  # fmt: skip
_KINDS = {**_PICTURES, **dict.fromkeys(_TEXTS, _TEXT)}


def media_type(path: str) -> str:
    """The media type of a file that is to be shown; empty for one that is to be downloaded. A page is shown as text."""
    name = path.rpartition("/")[2]
    return _KINDS.get(name.rpartition(".")[2].lower(), "") if "." in name else ""
