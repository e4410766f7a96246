"""From nothing to files again, on every kind of store."""

import random

from larder.contract.datasets import Address, ReadQuery
from larder_server.datasets import service
from tests.server.datasets.hands import Hands, digest


def test_what_is_committed_comes_back(stored):
    hands = Hands(stored)
    rng = random.Random(5)
    files = {
        "a.txt": b"bread" * 100, "empty": b"", "photos/one.jpg": rng.randbytes(3_000), "photos/two.jpg": b"x",
        "photos/deep/large.bin": rng.randbytes(3_500_000), "copy": b"bread" * 100,
    }  # fmt: skip
    dataset = hands.dataset()
    version = hands.version(dataset, files, message="first", tags=["good"])
    assert (version.number, version.files, version.bytes) == (1, 6, sum(map(len, files.values())))
    assert (version.added, version.removed, version.changed) == (6, 0, 0)
    assert hands.do(service.resolve, Address(address="shelf")).id == version.id
    assert hands.files(version) == files
    for path, data in files.items():
        stream = service.read(hands.steps, ReadQuery(path=path), version_id=version.id)
        assert b"".join(stream.pieces) == data and stream.size == len(data)
    sent = hands.sent
    child = hands.version(dataset, {"moved.jpg": files["photos/one.jpg"]}, version, removed=["photos/one.jpg"])
    assert hands.sent == sent and child.parents == [version.id] and child.number == 2
    assert hands.files(child) == {**{path: data for path, data in files.items() if path != "photos/one.jpg"},
                                  "moved.jpg": files["photos/one.jpg"]}  # fmt: skip
    assert hands.entries(version).keys() == files.keys()
    assert digest(files["a.txt"]) == hands.entries(child)["a.txt"][0]
