"""Writing: idempotent, refused with a sentence, and never half."""

import random
import struct

import pytest
from blake3 import blake3

from larder.contract.datasets import Commit, Entries, Mode, NewPack, PackIndex, VersionState, WrittenEntries
from larder.contract.endpoint import Role
from larder.contract.errors import Conflict, Denied, Invalid, NotFound
from larder.contract.tenants import Identity
from larder_server.datasets import service
from larder_server.datasets.rules import packs
from tests.server.datasets.hands import NOTHING, Hands, column, digest, entries_of, pack_of, u4

BOB = Identity(tenant="acme", user="bob", role=Role.CONTRIBUTOR)
BAD_PATHS = ["../x", "/etc/passwd", "a//b", "a/./b", "a/", "", "a/../b", "x" * 256, "a/" * 2_100 + "a"]


def write(hands, version, *, part=0, entries=Entries(), removed=b"", lists={}):
    order = WrittenEntries(part=part, entries=entries, removed=removed, lists=lists)
    service.write(hands.steps, order, version_id=version.id)


def test_a_killed_writer_goes_on_under_its_key(hands):
    dataset = hands.dataset()
    first = hands.open(dataset, key="folder")
    hands.write(first, {"a": b"1", "b": b"2"})
    again = hands.open(dataset, key="folder")
    assert again.id == first.id and hands.open(dataset, key="other").id != first.id
    hands.write(again, {"a": b"1"}, part=0)  # replaces what the part held
    done = hands.commit(again)
    assert hands.files(done) == {"a": b"1"} and done.state is VersionState.COMMITTED
    assert hands.commit(again) == done
    assert hands.open(dataset, key="folder").id != first.id


def test_a_pack_may_be_announced_and_closed_twice(hands):
    version = hands.open(hands.dataset())
    body, index = pack_of([b"bread", b"butter" * 100])
    name = blake3(body).hexdigest()
    with pytest.raises(NotFound, match="announced"):
        service.close_pack(hands.steps, index, version_id=version.id, hash=name)
    for _ in range(2):
        hands.do(service.open_pack, NewPack(hash=name, bytes=len(body)), version_id=version.id)
    with pytest.raises(NotFound):
        service.close_pack(hands.steps, index, version_id=version.id, hash=name)
    hands.receive(body)
    for _ in range(2):
        service.close_pack(hands.steps, index, version_id=version.id, hash=name)
    assert hands.lacking(version, [digest(b"bread"), digest(b"x")]) == [digest(b"x")]
    # sent again by somebody who did not ask: the second pack is not kept, and closing it twice does no harm
    twice = hands.send_pack(version, [b"bread"])
    assert not hands.runtime.objects.holds("acme", twice)
    service.close_pack(hands.steps, pack_of([b"bread"], squeeze=False)[1], version_id=version.id, hash=twice)
    with pytest.raises(Conflict, match="another one"):
        other = hands.open(hands.dataset())
        hands.do(service.open_pack, NewPack(hash=name, bytes=len(body)), version_id=other.id)


def test_a_chunk_that_is_not_what_its_hash_says_is_refused(hands):
    version = hands.open(hands.dataset())

    def send(body, index):
        name = hands.receive(body)
        hands.do(service.open_pack, NewPack(hash=name, bytes=len(body)), version_id=version.id)
        service.close_pack(hands.steps, index, version_id=version.id, hash=name)

    body, good = pack_of([b"bread" * 50, b"jam"])
    spoiled = bytearray(body)
    spoiled[-1] ^= 1
    with pytest.raises(Invalid, match="not what its hash says"):
        send(bytes(spoiled), good)
    with pytest.raises(Invalid, match="no pack"):
        send(b"ZIP!" + body[4:], good)
    # a frame that claims to be huge takes no memory
    bomb, index = pack_of([b"\0" * 3_000_000])
    with pytest.raises(Invalid, match="not what its hash says"):
        send(bomb, PackIndex(hashes=index.hashes, offsets=index.offsets, lengths=index.lengths, sizes=u4([1_000])))
    for wrong in (
        {"offsets": u4([3, 16])}, {"offsets": u4([16])}, {"lengths": u4([10_000, 3])}, {"sizes": u4([1 << 23, 3])},
        {"sizes": u4([1, 3])}, {"hashes": good.hashes[:-1]}, {"hashes": b""},
    ):  # fmt: skip
        fields = {name: getattr(good, name) for name in ("hashes", "offsets", "lengths", "sizes")}
        with pytest.raises(Invalid):
            send(pack_of([b"bread" * 50, b"jam"])[0], PackIndex(**{**fields, **wrong}))
    assert hands.lacking(version, [digest(b"jam")]) == [digest(b"jam")]
    for hash, size in (("A" * 64, 100), ("a" * 63, 100), ("a" * 64, 16), ("a" * 64, packs.LARGEST + 1)):
        with pytest.raises(Invalid):
            hands.do(service.open_pack, NewPack(hash=hash, bytes=size), version_id=version.id)


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_that_no_tree_may_have_is_refused(hands, path):
    version = hands.open(hands.dataset())
    with pytest.raises(Invalid):
        write(hands, version, entries=entries_of({path: b"", "fine": b""}))
    with pytest.raises(Invalid):
        write(hands, version, removed=column([path]))


def test_columns_that_do_not_fit_are_refused(hands):
    version = hands.open(hands.dataset())
    good = {"paths": b"a\0b\0", "hashes": b"x" * 64, "sizes": struct.pack("<qq", 1, 2), "modes": b"\0\0"}
    for wrong in (
        {"paths": b"a\0b"}, {"paths": b"a\0\xff\0"}, {"hashes": b"x" * 63}, {"sizes": b""}, {"modes": b"\0"},
        {"sizes": struct.pack("<qq", 1, -2)}, {"modes": b"\0\x09"}, {"external": {5: "s3://b/x"}},
        {"external": {0: "s3://b/x"}}, {"modes": b"\0\x03"}, {"metadata": {-1: {"a": 1}}},
    ):  # fmt: skip
        with pytest.raises(Invalid):
            write(hands, version, entries=Entries(**{**good, **wrong}))
    for more in ({"part": -1}, {"lists": {7: b"x" * 32}}, {"lists": {0: b"x"}}, {"removed": b"a"}):
        with pytest.raises(Invalid):
            write(hands, version, entries=Entries(**good), **more)


def test_a_commit_whose_content_is_not_stored_is_refused_and_goes_on(hands):
    dataset = hands.dataset()
    version = hands.open(dataset)
    write(hands, version, entries=entries_of({"a": b"bread", "b": b"butter"}))
    with pytest.raises(Conflict, match="2 of the contents") as told:
        hands.commit(version)
    assert told.value.field == "hashes"
    hands.send(version, [b"bread", b"butter"])
    assert hands.files(hands.commit(version)) == {"a": b"bread", "b": b"butter"}


def test_a_size_that_is_not_that_of_the_content_is_refused(hands):
    version = hands.open(hands.dataset())
    hands.send(version, [b"bread"])
    entries = entries_of({"a": b"bread"})
    write(
        hands,
        version,
        entries=Entries(paths=entries.paths, hashes=entries.hashes, sizes=struct.pack("<q", 4), modes=b"\0"),
    )
    with pytest.raises(Invalid, match="5 bytes, its entry says 4"):
        hands.commit(version)


def test_a_file_that_is_also_a_folder_is_refused(hands):
    dataset = hands.dataset()
    first = hands.version(dataset, {"a/b": b"1", "c": b"2", "d/e/f": b"3"})
    for files, removed in (({"a": b"1"}, []), ({"c/x": b"1"}, []), ({"c/x/y": b"1"}, []), ({"d/e": b"1"}, []),
                           ({"n": b"1", "n/m": b"1"}, [])):  # fmt: skip
        version = hands.open(dataset, first)
        hands.write(version, files, removed)
        with pytest.raises(Invalid, match="folder"):
            hands.commit(version)
    for files, removed in (({"a": b"1"}, ["a/b"]), ({"c/x": b"1"}, ["c"]), ({"d": b"1"}, ["d/e/f"])):
        assert hands.files(hands.version(dataset, files, first, removed=removed)).keys() >= files.keys()


def test_names_that_differ_by_case_only_are_refused_unless_they_are_meant(hands):
    dataset = hands.dataset()
    version = hands.open(dataset)
    hands.write(version, {"Photo.jpg": b"1", "photo.jpg": b"2"})
    with pytest.raises(Invalid, match="upper and lower case"):
        hands.commit(version)
    assert hands.commit(version, cases=True).files == 2
    # also beside what is there already, files and folders
    first = hands.version(dataset, {"train/a": b"1", "x": b"2"})
    for files, removed, fine in (
        ({"TRAIN/b": b"3"}, [], False), ({"Train": b"3"}, [], False), ({"train/A": b"3"}, [], False), ({"X": b"3"}, [], False),
        ({"X": b"3"}, ["x"], True), ({"TRAIN/a": b"3"}, ["train/a"], True), ({"train/b": b"3", "y": b"4"}, [], True),
    ):  # fmt: skip
        version = hands.open(dataset, first)
        hands.write(version, files, removed)
        if fine:
            assert hands.files(hands.commit(version)).keys() >= files.keys()
        else:
            with pytest.raises(Invalid, match="upper and lower case"):
                hands.commit(version)


def test_an_open_version_is_seen_by_its_writer_only(hands):
    dataset = hands.dataset()
    version = hands.open(dataset)
    hands.write(version, {"a": b"1"})
    bob = Hands(hands.runtime, BOB)
    for call in (
        lambda: bob.do(service.version, version_id=version.id), lambda: bob.write(version, {"a": b"2"}),
        lambda: bob.commit(version), lambda: bob.do(service.delete_version, version_id=version.id),
        lambda: bob.lacking(version, [digest(b"1")]),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            call()
    with pytest.raises(Conflict, match="still open"):
        hands.entries(version)
    done = hands.commit(version)
    with pytest.raises(Denied):
        bob.write(done, {"a": b"2"})
    with pytest.raises(Conflict, match="never changes"):
        hands.write(done, {"a": b"2"})


def test_a_run_writes_in_its_own_name_only(hands):
    run = Hands(hands.runtime, Identity(tenant="acme", user="alice", role=Role.CONTRIBUTOR, run="r1"))
    dataset = hands.dataset()
    with pytest.raises(Denied):
        run.open(dataset, run="r2")
    mine = run.open(dataset)
    assert mine.run == "r1"
    with pytest.raises((NotFound, Denied)):
        run.write(hands.open(dataset), {"a": b"1"})
    run.write(mine, {"a": b"1"})
    assert run.commit(mine).run == "r1"


def test_two_writers_do_not_overrun_one_another_when_they_say_so(hands):
    dataset = hands.dataset()
    first = hands.version(dataset, {"a": b"1"})
    one, other = hands.open(dataset, first), hands.open(dataset, first)
    hands.write(one, {"b": b"1"})
    hands.write(other, {"c": b"1"})
    assert hands.commit(one, newest=True).number == 2
    with pytest.raises(Conflict, match="newer") as told:
        hands.commit(other, newest=True)
    assert told.value.field == "parents"
    assert hands.commit(other).number == 3


def test_external_entries_are_recorded_and_not_stored(hands):
    dataset = hands.dataset()
    version = hands.open(dataset)
    entries = Entries(
        paths=b"far.bin\0", hashes=digest(b"far"), sizes=struct.pack("<q", 3), modes=bytes([Mode.EXTERNAL.number]),
        external={0: "s3://bucket/far.bin"}, metadata={0: {"etag": "x"}},
    )  # fmt: skip
    write(hands, version, entries=entries)
    done = hands.commit(version)
    from larder.contract.datasets import ItemQuery, ReadQuery

    item = service.item(hands.steps, ItemQuery(path="far.bin"), version_id=done.id)
    assert (item.external, item.mode, item.metadata) == ("s3://bucket/far.bin", Mode.EXTERNAL, {"etag": "x"})
    with pytest.raises(Conflict, match="not stored here"):
        service.read(hands.steps, ReadQuery(path="far.bin"), version_id=done.id)
    assert service.verify(hands.steps, NOTHING, version_id=done.id).damaged == []


def test_a_lie_about_large_content_spoils_nobody_else(hands):
    data = random.Random(1).randbytes(2_500_000)
    liar = Hands(hands.runtime, BOB)
    theirs = liar.dataset("theirs")
    version = liar.open(theirs)
    lists = liar.send(version, [data])
    wrong = b"".join(reversed([lists[digest(data)][place : place + 32] for place in (0, 32, 64)]))
    write(liar, version, entries=entries_of({"x": data}), lists={0: wrong})
    liar.commit(version)
    # alice has no list of chunks to give: what bob said is read, found to be wrong, and not relied on
    mine = hands.open(hands.dataset())
    write(hands, mine, entries=entries_of({"x": data}))
    with pytest.raises(Conflict) as told:
        hands.commit(mine)
    assert told.value.field == "hashes"
    write(hands, mine, entries=entries_of({"x": data}), lists=dict.fromkeys([0], lists[digest(data)]))
    assert hands.files(hands.commit(mine)) == {"x": data}


def test_large_content_that_is_there_needs_no_list(hands):
    data = random.Random(2).randbytes(2_500_000)
    hands.version(hands.dataset(), {"x": data})
    bob = Hands(hands.runtime, BOB)
    version = bob.open(bob.dataset("other"))
    assert bob.lacking(version, [digest(data)]) == []
    write(bob, version, entries=entries_of({"y": data}))
    assert bob.files(bob.commit(version)) == {"y": data}


def test_commit_says_what_is_wrong_with_its_words(hands):
    dataset = hands.dataset()
    version = hands.open(dataset)
    for wrong in (
        {"message": "x" * 10_001},
        {"message": "\0"},
        {"tags": ["v3"]},
        {"tags": ["a/b"]},
        {"tags": ["x"] * 101},
    ):
        with pytest.raises(Invalid):
            service.commit(hands.steps, Commit(**wrong), version_id=version.id)
    assert hands.commit(version).files == 0
