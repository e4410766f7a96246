"""Objects: whole or not at all, named by their hash, per tenant."""

import asyncio
import urllib.request

import pytest
from blake3 import blake3

from larder.contract.errors import Invalid, NotFound
from larder_server.kernel.objects import ObjectStore


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def store(request, tmp_path):
    url = {"folder": lambda: str(tmp_path / "objects"), "memory": lambda: "memory://"}.get(
        request.param, lambda: request.getfixturevalue("s3_url")
    )()
    store = ObjectStore(url)
    store.check()
    return store


async def _stream(*parts):
    for part in parts:
        yield part


def test_bytes_come_back_under_their_hash(store):
    hash = store.put("acme", b"bread")
    assert hash == blake3(b"bread").hexdigest() == store.put("acme", b"bread")
    assert store.read("acme", hash) == b"bread" and store.size("acme", hash) == 5


def test_a_large_stream_is_stored(store):
    data = bytes(range(256)) * (28 << 12)
    hash = blake3(data).hexdigest()
    parts = [data[i : i + (1 << 20)] for i in range(0, len(data), 1 << 20)]
    for _ in range(2):
        asyncio.run(store.receive("acme", _stream(*parts), hash))
    assert b"".join(store.chunks("acme", hash)) == data


def test_a_stream_with_another_hash_leaves_nothing(store):
    hash = blake3(b"whole").hexdigest()
    with pytest.raises(Invalid, match="hash"):
        asyncio.run(store.receive("acme", _stream(b"who"), hash))
    assert not store.holds("acme", hash)


def test_a_stream_that_breaks_off_leaves_nothing(store):
    async def broken():
        yield b"who"
        raise ConnectionError

    hash = blake3(b"who").hexdigest()
    with pytest.raises(ConnectionError):
        asyncio.run(store.receive("acme", broken(), hash))
    assert not store.holds("acme", hash)


def test_another_tenant_has_other_objects(store):
    hash = store.put("acme", b"bread")
    assert not store.holds("globex", hash)
    with pytest.raises(NotFound):
        store.read("globex", hash)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 63, "A" * 64])
def test_a_name_that_is_no_hash_is_refused(store, name):
    with pytest.raises(Invalid):
        store.read("acme", name)


def test_stretches_of_an_object_are_read_and_it_is_removed_for_good(store):
    hash = store.put("acme", b"bread and butter")
    assert store.ranges("acme", hash, [(0, 5), (10, 16), (0, 16)]) == [b"bread", b"butter", b"bread and butter"]
    assert store.ranges("acme", hash, []) == []
    for wrong in ([(10, 17)], [(20, 25)]):
        with pytest.raises(NotFound, match="these bytes"):
            store.ranges("acme", hash, wrong)
    with pytest.raises(NotFound):
        store.ranges("globex", hash, [(0, 5)])
    store.delete("globex", hash)
    assert store.holds("acme", hash)
    for _ in range(2):
        store.delete("acme", hash)
    assert not store.holds("acme", hash)


@pytest.mark.s3
def test_a_bucket_has_addresses_that_open_one_object(s3_url, tmp_path):
    store = ObjectStore(s3_url)
    address = store.signed("acme", store.put("acme", b"bread"), seconds=60)
    with urllib.request.urlopen(address, timeout=5) as answer:
        assert answer.read() == b"bread"
    assert ObjectStore(str(tmp_path)).signed("acme", "a" * 64, seconds=60) == ""
