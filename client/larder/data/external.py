"""What a version records but does not store: files of a mounted folder, of an object store, of the web.

Size and hash are recorded; whoever reads it later gets exactly these bytes, or is told that they are others by now.
"""

import os
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from blake3 import blake3

from larder.contract.errors import Conflict, Invalid, NotFound, Unavailable
from larder.data.scanning import hash_file
from larder.transport import Transport

STORES = ("s3", "gs", "az", "abfs")
"""Schemes that the library `obstore` reads (extra `stores`)."""

Silent = Callable[[int], None]


def normal(address: "str | Path") -> str:
    """One spelling of an address: `https://…`, `s3://…`, or `file:///…` for a mounted folder."""
    text = str(address)
    scheme = urllib.parse.urlsplit(text).scheme if "://" in text else ""
    if scheme in ("http", "https", *STORES):
        return text
    if scheme == "file":
        return text
    if scheme:
        raise Invalid(
            f"{text!r} cannot be an external reference: nobody here reads {scheme}://.",
            hint="Use a path, https://, or s3://, gs:// or az://.",
        )
    return Path(text).expanduser().absolute().as_uri()


def mounted(address: str) -> Path | None:
    """The path of an address on a mounted folder; None for all others."""
    parts = urllib.parse.urlsplit(address)
    return Path(urllib.parse.unquote(parts.path)) if parts.scheme == "file" else None


def look(address: str, transport: Transport, hear: Silent = lambda count: None) -> tuple[bytes, int]:
    """Hash and size of what lies there now: all of it is read once."""
    place = mounted(address)
    if place is not None:
        try:
            return hash_file(place, hear)
        except OSError as error:
            raise NotFound(f"{place} cannot be read: {error.strerror}.", hint="Is it mounted?") from error
    hasher, size = blake3(max_threads=blake3.AUTO), 0
    for piece in _read(address, transport):
        hasher.update(piece)
        size += len(piece)
        hear(len(piece))
    return hasher.digest(), size


def bring(address: str, hash: bytes, size: int, to: "str | Path", transport: Transport, name: str) -> None:
    """Write what lies there to the file `to`; Conflict when it is not what was recorded."""
    hasher, count = blake3(max_threads=blake3.AUTO), 0
    with open(to, "wb") as file:
        for piece in _read(address, transport):
            hasher.update(piece)
            count += len(piece)
            if count > size:
                break
            file.write(piece)
    if count != size or hasher.digest() != hash:
        os.unlink(to)
        raise altered(name, address)


def altered(name: str, address: str) -> Conflict:
    """That something external is no longer what it was."""
    return Conflict(
        f"{name} is recorded as {address}, and what lies there is no longer what was recorded.",
        hint="Put the old content back, or commit a version that records the new one.",
    )


def _read(address: str, transport: Transport) -> Iterator[bytes]:
    if urllib.parse.urlsplit(address).scheme in ("http", "https"):
        return transport.stream_from(address)
    return _stored(address)


def _stored(address: str) -> Iterator[bytes]:
    try:
        import obstore
        from obstore.store import from_url
    except ImportError as error:
        raise Invalid(
            f"{address} needs the library obstore, which is not installed.", hint="pip install 'larder[stores]'"
        ) from error
    bucket, _, path = address.partition("://")[2].partition("/")
    options: dict[str, Any] = {"client_options": {"allow_http": True}} if os.environ.get("AWS_ALLOW_HTTP") else {}
    store = from_url(f"{address.partition('://')[0]}://{bucket}", **options)
    try:
        for piece in obstore.get(store, path).stream(min_chunk_size=1 << 20):
            yield bytes(piece)
    except FileNotFoundError as error:
        raise NotFound(f"{address} is not there") from error
    except Exception as error:  # each store has errors of its own; the sentence carries them
        raise Unavailable(f"{address} cannot be read: {' '.join(str(error).split())[:300]}") from error
