"""Serves a folder of built files: small, from memory, kept for good by browsers where the name holds a hash.

Beside `name` the folder may hold `name.br` and `name.gz`, made by the build; what the browser understands best is sent.
"""

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
_FOR_GOOD = "public, max-age=31536000, immutable"
_ASK_EACH_TIME = "no-cache"
_KINDS = {".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".json": "application/json"}


@dataclass(frozen=True)
class _Kept:
    changed: int
    body: bytes
    tag: str


class Folder:
    """The files below a folder. May be asked from any thread; a file that is built anew is read anew."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._kept: dict[Path, _Kept] = {}

    def text(self, name: str) -> str | None:
        """The whole text of a file, None where it is not there."""
        kept = self._read(self._root / name)
        return None if kept is None else kept.body.decode("utf-8")

    def answer(
        self, request: Request, name: str, *, headers: Mapping[str, str] | None = None, status: int = 200
    ) -> Response | None:
        """The file as an answer; None where there is no such file, or where its name leads out of the folder."""
        path = self._root / name
        if not _is_inside(name):
            return None
        best, encoding = self._best(request, path)
        if best is None:
            return None
        said = {
            "etag": best.tag,
            "vary": "accept-encoding",
            "cache-control": _FOR_GOOD if name.startswith("assets/") else _ASK_EACH_TIME,
            "x-content-type-options": "nosniff",
            **(headers or {}),
        }
        if encoding:
            said["content-encoding"] = encoding
        if status == 200 and request.headers.get("if-none-match") == best.tag:
            return Response(status_code=304, headers=said)
        kind = _KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Response(best.body, status, said, media_type=kind)

    def _best(self, request: Request, path: Path) -> tuple[_Kept | None, str]:
        understood = {
            part.partition(";")[0].strip()
            for part in request.headers.get("accept-encoding", "").split(",")
            if not part.replace(" ", "").endswith(";q=0")
        }
        for encoding, suffix in _ENCODINGS:
            if encoding in understood and (kept := self._read(path.with_name(path.name + suffix))) is not None:
                return kept, encoding
        return self._read(path), ""

    def _read(self, path: Path) -> _Kept | None:
        try:
            changed = path.stat().st_mtime_ns
            kept = self._kept.get(path)
            if kept is None or kept.changed != changed:
                body = path.read_bytes()
                kept = _Kept(changed, body, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"')
                self._kept[path] = kept
        except OSError:  # not there, or a folder
            return None
        return kept


def _is_inside(name: str) -> bool:
    return all(part not in ("", ".", "..") for part in name.split("/")) and "\\" not in name and "\0" not in name
