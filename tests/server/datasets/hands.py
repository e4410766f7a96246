"""A writer and a reader of data versions as small as can be, over the service itself."""

import asyncio
import os
import random
from dataclasses import dataclass, field

import numpy as np
import zstandard
from blake3 import blake3

from larder.contract import datasets as contract
from larder.contract.datasets import (
    Commit,
    Contents,
    Dataset,
    Entries,
    EntryQuery,
    Mode,
    NewDataset,
    NewPack,
    NewVersion,
    PackIndex,
    PackQuery,
    Version,
    WrittenEntries,
)
from larder.contract.endpoint import Nothing, Role
from larder.contract.tenants import Identity
from larder_server.datasets import service
from larder_server.kernel.runtime import Runtime
from larder_server.kernel.steps import Steps

ALICE = Identity(tenant="acme", user="alice", role=Role.ADMIN)
NOTHING = Nothing()


def digest(data: bytes) -> bytes:
    return blake3(data).digest()


def cut(column: bytes, width: int = 32) -> list[bytes]:
    return [column[place : place + width] for place in range(0, len(column), width)]


def u4(values) -> bytes:
    return np.array(list(values), "<u4").tobytes()


def pack_of(chunks: list[bytes], *, squeeze: bool = True) -> tuple[bytes, PackIndex]:
    body = bytearray(b"LPK1" + os.urandom(12))
    places, lengths = [], []
    for chunk in chunks:
        packed = zstandard.ZstdCompressor().compress(chunk) if squeeze else chunk
        stored = packed if len(packed) < len(chunk) else chunk
        places.append(len(body))
        lengths.append(len(stored))
        body += stored
    return bytes(body), PackIndex(
        hashes=b"".join(map(digest, chunks)), offsets=u4(places), lengths=u4(lengths), sizes=u4(map(len, chunks))
    )


def entries_of(files: dict[str, bytes], modes: dict[str, Mode] | None = None) -> Entries:
    paths = sorted(files, key=str.encode)
    return Entries(
        paths=b"".join(path.encode() + b"\0" for path in paths),
        hashes=b"".join(digest(files[path]) for path in paths),
        sizes=np.array([len(files[path]) for path in paths], "<i8").tobytes(),
        modes=bytes((modes or {}).get(path, Mode.FILE).number for path in paths),
    )


def column(paths) -> bytes:
    return b"".join(path.encode() + b"\0" for path in paths)


@dataclass
class Hands:
    """One who writes and reads, by the service's own doors; each call commits."""

    runtime: Runtime
    identity: Identity = ALICE
    sent: int = 0
    chunk: int = 1 << 20
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    @property
    def steps(self) -> Steps:
        return Steps(runtime=self.runtime, identity=self.identity)

    def do(self, use_case, body=NOTHING, **arguments):
        """A use case in a transaction of its own."""
        return self.runtime.transact(self.identity, lambda context: use_case(context, body, **arguments))

    def dataset(self, name: str = "shelf", **more) -> Dataset:
        return self.do(service.create, NewDataset(name=name, project="bakery", **more))

    def open(self, dataset: Dataset, *parents: Version, **more) -> Version:
        order = NewVersion(parents=[parent.id for parent in parents], **more)
        return self.do(service.open_, order, dataset_id=dataset.id)

    def lacking(self, version: Version, hashes: list[bytes]) -> list[bytes]:
        return cut(self.do(service.lacking, Contents(hashes=b"".join(hashes)), version_id=version.id).hashes)

    def receive(self, data: bytes) -> str:
        async def stream():
            yield data

        hash = blake3(data).hexdigest()
        asyncio.run(self.runtime.objects.receive(self.identity.tenant, stream(), hash))
        return hash

    def send_pack(self, version: Version, chunks: list[bytes]) -> str:
        body, index = pack_of(chunks)
        hash = blake3(body).hexdigest()
        self.do(service.open_pack, NewPack(hash=hash, bytes=len(body)), version_id=version.id)
        self.receive(body)
        service.close_pack(self.steps, index, version_id=version.id, hash=hash)
        self.sent += len(body)
        return hash

    def pieces(self, data: bytes) -> list[bytes]:
        return [data[place : place + self.chunk] for place in range(0, len(data), self.chunk)]

    def send(self, version: Version, contents: list[bytes]) -> dict[bytes, bytes]:
        """Send what the server lacks; the lists of chunks of long contents by hash."""
        lists = {}
        chunks: dict[bytes, bytes] = {}
        for data in contents:
            if len(data) > contract.WHOLE:
                parts = self.pieces(data)
                lists[digest(data)] = b"".join(map(digest, parts))
                chunks.update((digest(part), part) for part in parts)
            elif data:
                chunks[digest(data)] = data
        lacking = self.lacking(version, list(chunks)) if chunks else []
        if lacking:
            self.send_pack(version, [chunks[hash] for hash in lacking])
        return lists

    def write(self, version: Version, files: dict[str, bytes], removed=(), *, part: int = 0, modes=None) -> None:
        lists = self.send(version, list(files.values()))
        entries = entries_of(files, modes)
        hashes = cut(entries.hashes)
        listed = {place: lists[hash] for place, hash in enumerate(hashes) if hash in lists}
        service.write(
            self.steps,
            WrittenEntries(part=part, entries=entries, removed=column(removed), lists=listed),
            version_id=version.id,
        )

    def commit(self, version: Version, **more) -> Version:
        return service.commit(self.steps, Commit(**more), version_id=version.id)

    def version(self, dataset: Dataset, files: dict[str, bytes], *parents: Version, removed=(), **more) -> Version:
        """A committed version."""
        opened = self.open(dataset, *parents)
        self.write(opened, files, removed)
        return self.commit(opened, **more)

    def entries(self, version: Version, **query) -> dict[str, tuple[bytes, int]]:
        found, after = {}, ""
        while True:
            page = service.entries(self.steps, EntryQuery(after=after, **query), version_id=version.id)
            entries = page.entries
            paths = entries.paths.decode().split("\0")[:-1]
            sizes = np.frombuffer(entries.sizes, "<i8").tolist()
            found.update(zip(paths, zip(cut(entries.hashes), sizes)))
            if not page.next:
                return found
            after = page.next

    def fetch(self, version: Version, hashes: list[bytes]) -> list[bytes]:
        """Contents by the places and the bytes of packs, as a client gets them."""
        places = service.places(self.steps, Contents(hashes=b"".join(hashes)), version_id=version.id)
        counts = np.frombuffer(places.counts, "<u4").tolist()
        columns = [
            np.frombuffer(one, "<u4").tolist() for one in (places.pack, places.offsets, places.lengths, places.sizes)
        ]
        found = []
        chunks = iter(zip(cut(places.hashes), *columns))
        for count in counts:
            data = b""
            for _ in range(count):
                hash, pack, place, length, size = next(chunks)
                query = PackQuery(ranges=f"{place}-{place + length}")
                stream = service.pack_bytes(self.steps, query, version_id=version.id, hash=places.packs[pack].hash)
                stored = b"".join(stream.pieces)
                chunk = stored if length == size else zstandard.ZstdDecompressor().decompress(stored, size)
                assert digest(chunk) == hash
                data += chunk
            found.append(data)
        return found

    def files(self, version: Version) -> dict[str, bytes]:
        """The whole tree with its bytes."""
        entries = self.entries(version)
        hashes = sorted({hash for hash, _ in entries.values()})
        contents = dict(zip(hashes, self.fetch(version, hashes))) if hashes else {}
        return {path: contents[hash] for path, (hash, _) in entries.items()}
