"""Object bytes: immutable, named by their BLAKE3 hash, kept per tenant in a folder or a bucket."""

import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import obstore
from blake3 import blake3
from obstore.exceptions import AlreadyExistsError, GenericError, NotFoundError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store, from_url

from larder.contract.errors import Invalid, NotFound, Unavailable

_HASH = re.compile(r"[0-9a-f]{64}\Z")
_CHUNK = 1 << 20
_AT_ONCE = 24 << 20
"""Bytes of an object that is handed to the store in one piece, such as a pack of a data version: in parts it takes longer."""


class ObjectStore:
    """Content-addressed bytes.

    Promises: an object is visible whole or not at all; its bytes have its hash; storing it again changes nothing; a
    tenant never sees another tenant's objects.
    """

    def __init__(self, url: str) -> None:
        """`url`: a folder, `memory://`, or `s3://bucket/prefix` (credentials and endpoint from AWS_… variables)."""
        self.url = url
        if url == "memory://":
            self._store: obstore.store.ObjectStore = MemoryStore()
        elif "://" in url:
            options = {"client_options": {"allow_http": True}} if os.environ.get("AWS_ALLOW_HTTP") else {}
            self._store = from_url(url, **options)  # type: ignore[call-overload]
        else:
            self._store = LocalStore(Path(url).absolute(), mkdir=True)

    def check(self) -> None:
        """Raise Unavailable when the store cannot be written and read."""
        try:
            obstore.put(self._store, "check", b"larder")
            bytes(obstore.get(self._store, "check").bytes())
        except Exception as problem:  # every backend has its own errors; the sentence carries them
            raise Unavailable(f"the object store {self.url} does not work: {problem}",
                              hint="check the address, the credentials and the free space") from problem  # fmt: skip

    def holds(self, tenant: str, hash: str) -> bool:
        """Whether the object is there."""
        try:
            obstore.head(self._store, _path(tenant, hash))
        except (NotFoundError, FileNotFoundError):
            return False
        return True

    def size(self, tenant: str, hash: str) -> int | None:
        """The object's length in bytes, None when it is not there."""
        try:
            return int(obstore.head(self._store, _path(tenant, hash))["size"])
        except (NotFoundError, FileNotFoundError):
            return None

    def put(self, tenant: str, data: bytes) -> str:
        """Store bytes; their hash."""
        hash = blake3(data).hexdigest()
        try:
            obstore.put(self._store, _path(tenant, hash), data, mode="create")
        except AlreadyExistsError:
            pass
        return hash

    async def receive(self, tenant: str, stream: AsyncIterator[bytes], hash: str) -> None:
        """Store a stream under the hash it is said to have; Invalid, and nothing stored, when it has another."""
        path = _path(tenant, hash)
        digest = blake3()
        with tempfile.TemporaryFile(prefix="larder-upload-") as spool:
            async for chunk in stream:
                digest.update(chunk)
                spool.write(chunk)
            if digest.hexdigest() != hash:
                raise Invalid(f"the bytes do not have the hash {hash[:12]}…: they were cut or changed on the way",
                              field="hash", hint="send the file again")  # fmt: skip
            spool.seek(0)
            if spool.seek(0, os.SEEK_END) <= _AT_ONCE:
                spool.seek(0)
                try:
                    await obstore.put_async(self._store, path, spool.read(), mode="create")
                except AlreadyExistsError:
                    pass
                return
            spool.seek(0)
            if not self.holds(tenant, hash):
                await obstore.put_async(self._store, path, spool)

    def read(self, tenant: str, hash: str) -> bytes:
        """All bytes of an object; NotFound when it is not there."""
        try:
            return bytes(obstore.get(self._store, _path(tenant, hash)).bytes())
        except (NotFoundError, FileNotFoundError):
            raise NotFound(f"object {hash[:12]}… is not in the store") from None

    def chunks(self, tenant: str, hash: str) -> Iterator[bytes]:
        """The bytes of an object, a piece at a time; NotFound at once when it is not there."""
        try:
            answer = obstore.get(self._store, _path(tenant, hash))
        except (NotFoundError, FileNotFoundError):
            raise NotFound(f"object {hash[:12]}… is not in the store") from None
        return (bytes(chunk) for chunk in answer.stream(min_chunk_size=_CHUNK))

    def ranges(self, tenant: str, hash: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Some bytes of an object, for each begin and end (not included); NotFound when it is not there or shorter."""
        if not ranges:
            return []
        path = _path(tenant, hash)
        try:
            found = obstore.get_ranges(
                self._store, path, starts=[begin for begin, _ in ranges], ends=[end for _, end in ranges]
            )
        except (NotFoundError, FileNotFoundError):
            raise NotFound(f"object {hash[:12]}… is not in the store") from None
        except GenericError as problem:  # the words for a range behind the end differ from store to store
            raise NotFound(f"object {hash[:12]}… does not have these bytes") from problem
        data = [bytes(part) for part in found]
        if any(len(part) != end - begin for part, (begin, end) in zip(data, ranges, strict=True)):
            raise NotFound(f"object {hash[:12]}… does not have these bytes")
        return data

    def delete(self, tenant: str, hash: str) -> None:
        """Remove an object for good; nothing when it is not there. Who calls this knows that nobody needs it."""
        try:
            obstore.delete(self._store, _path(tenant, hash))
        except (NotFoundError, FileNotFoundError):
            pass

    def signed(self, tenant: str, hash: str, *, seconds: int) -> str:
        """An address that reads the object straight from the store for so long; empty where the store has none."""
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return ""
        return obstore.sign(self._store, "GET", _path(tenant, hash), timedelta(seconds=seconds))


def _path(tenant: str, hash: str) -> str:
    if not _HASH.match(hash):
        raise Invalid("an object's name is its BLAKE3 hash: 64 hexadecimal digits in lower case", field="hash")
    return f"{tenant}/{hash[:2]}/{hash[2:]}"
