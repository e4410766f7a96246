"""Pictures as PNG: from files, PIL, figures and arrays, with no library where none is installed."""

import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"RIFF": "webp",
    b"<svg": "svg",
}


def image(picture: Any) -> tuple[str, bytes | Path]:
    """The format of a picture and its bytes: of a file as it is, of everything else as PNG."""
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        if not path.is_file():
            raise FileNotFoundError(f"there is no image file {path}")
        with path.open("rb") as file:
            return _format(file.read(16)) or path.suffix.lstrip(".").lower() or "bin", path
    if isinstance(picture, bytes):
        return _format(picture[:16]) or "bin", picture
    if callable(getattr(picture, "savefig", None)):
        return figure(picture)
    if callable(getattr(picture, "save", None)) and hasattr(picture, "mode"):  # PIL
        return "png", _saved(picture)
    return "png", _encoded(_array(picture))


def figure(drawing: Any) -> tuple[str, bytes]:
    """A figure of matplotlib (also what has one: axes, seaborn grids) as PNG, of plotly and its like as a page."""
    import io

    for candidate in (drawing, getattr(drawing, "figure", None), getattr(drawing, "fig", None)):
        save = getattr(candidate, "savefig", None)
        if callable(save):
            buffer = io.BytesIO()
            save(buffer, format="png", bbox_inches="tight")
            return "png", buffer.getvalue()
    if callable(getattr(drawing, "to_html", None)):  # plotly, altair
        return "html", str(drawing.to_html()).encode()
    if isinstance(drawing, str | os.PathLike | bytes) or hasattr(drawing, "mode"):
        kind, content = image(drawing)
        return kind, content if isinstance(content, bytes) else content.read_bytes()
    raise TypeError(
        f"a {type(drawing).__name__} is no figure; give one of matplotlib or plotly, or the path of an image"
    )


def png(width: int, height: int, channels: int, pixels: bytes) -> bytes:
    """A PNG of 8-bit samples in rows: 1 channel grey, 2 grey and alpha, 3 colour, 4 colour and alpha."""
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    row = width * channels
    if len(pixels) != row * height:
        raise ValueError(f"{len(pixels)} samples do not make {width} × {height} pixels of {channels}")
    raw = b"".join(b"\0" + pixels[start : start + row] for start in range(0, len(pixels), row or 1))
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(raw, 6)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _format(head: bytes) -> str:
    return next((kind for signature, kind in SIGNATURES.items() if head.startswith(signature)), "")


def _array(picture: Any) -> Any:
    """Rows × columns × channels of 8-bit samples."""
    if callable(getattr(picture, "detach", None)):  # torch
        picture = picture.detach().cpu()
    if not hasattr(picture, "__array__"):
        raise TypeError(f"a {type(picture).__name__} is no image; give a path, an array, or an image of PIL")
    import numpy  # type: ignore[import-not-found,unused-ignore]  # who gives an array has it

    array = numpy.asarray(picture)
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 2, 3, 4):
        array = array.transpose(1, 2, 0)  # torch puts the channels first
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise ValueError(f"an array of shape {tuple(array.shape)} is no image")
    if array.dtype == bool:
        return array.astype("uint8") * 255
    if array.dtype.kind == "f":
        finite = numpy.nan_to_num(array, nan=0.0, posinf=1.0, neginf=0.0)
        scale = 255.0 if finite.max() <= 1.0 else 1.0
        array = numpy.rint(finite * scale)
    return array.clip(0, 255).astype("uint8")


def _encoded(array: Any) -> bytes:
    height, width, channels = array.shape
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and channels in (1, 3, 4):
        return _saved(pillow.fromarray(array[:, :, 0] if channels == 1 else array))
    return png(width, height, channels, array.tobytes())


def _saved(picture: Any) -> bytes:
    import io

    buffer = io.BytesIO()
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"):
        picture = picture.convert("RGB")
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
