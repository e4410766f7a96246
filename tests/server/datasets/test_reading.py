"""Reading: folders, differences, parts, places, damage; what is blind stays so."""

import random

import numpy as np
import pytest

from larder.contract import events as event_contract
from larder.contract.datasets import (
    Contents,
    DiffQuery,
    EntryQuery,
    FolderQuery,
    ItemQuery,
    NewMerge,
    PackQuery,
    ReadQuery,
)
from larder.contract.endpoint import Role
from larder.contract.errors import Conflict, Denied, Invalid, NotFound
from larder.contract.tenants import Identity
from larder_server.datasets import service
from larder_server.kernel import outbox
from tests.server.datasets.hands import NOTHING, Hands, digest

BOB = Identity(tenant="acme", user="bob", role=Role.ADMIN, token="bobs")
EVE = Identity(tenant="acme", user="eve", role=Role.VIEWER, evaluator=True, token="eves")


def test_a_folder_lists_folders_then_files(hands):
    version = hands.version(hands.dataset(), {"b/x/1": b"1", "b/2": b"22", "a": b"333", "b-c": b"4", "c/d": b""})
    root = service.folder(hands.steps, FolderQuery(), version_id=version.id)
    assert [(item.path, item.folder, item.files, item.bytes) for item in root.items] == [
        ("b", True, 2, 3), ("c", True, 1, 0), ("a", False, 1, 3), ("b-c", False, 1, 1),
    ]  # fmt: skip
    assert (root.total, root.files, root.bytes) == (4, 5, 7)
    some = service.folder(hands.steps, FolderQuery(limit=2, offset=1), version_id=version.id)
    assert [item.path for item in some.items] == ["c", "a"]
    below = service.folder(hands.steps, FolderQuery(path="b"), version_id=version.id)
    assert [item.path for item in below.items] == ["b/x", "b/2"] and below.path == "b"
    item = service.item(hands.steps, ItemQuery(path="b"), version_id=version.id)
    assert (item.folder, item.files) == (True, 2)
    for path in ("a", "nowhere", "b/2/x"):
        with pytest.raises(NotFound):
            service.folder(hands.steps, FolderQuery(path=path), version_id=version.id)
    for wrong in (FolderQuery(limit=0), FolderQuery(offset=-1), FolderQuery(path="../x")):
        with pytest.raises(Invalid):
            service.folder(hands.steps, wrong, version_id=version.id)
    with pytest.raises(NotFound):
        service.item(hands.steps, ItemQuery(path="no"), version_id=version.id)


def test_a_difference_tells_renames_and_counts(hands):
    dataset = hands.dataset()
    first = hands.version(dataset, {"a": b"1", "b": b"22", "c": b"333"})
    second = hands.version(dataset, {"a": b"4444", "d": b"22", "e": b"5"}, first, removed=["b", "c"])
    diff = service.diff(hands.steps, DiffQuery(), version_id=second.id)
    assert (diff.added, diff.removed, diff.changed, diff.renamed, diff.size_delta) == (1, 1, 1, 1, 1)
    assert [(one.kind, one.path, one.before) for one in diff.changes] == [
        ("changed", "a", ""), ("removed", "c", ""), ("renamed", "d", "b"), ("added", "e", ""),
    ]  # fmt: skip
    assert diff.against == first.id and diff.total == 4
    only = service.diff(hands.steps, DiffQuery(kind="renamed"), version_id=second.id)
    assert [one.path for one in only.changes] == ["d"] and only.total == 1
    assert service.diff(hands.steps, DiffQuery(against=second.id), version_id=first.id).size_delta == -1
    assert service.diff(hands.steps, DiffQuery(), version_id=first.id).added == 3
    assert service.diff(hands.steps, DiffQuery(limit=0), version_id=second.id).changes == []
    with pytest.raises(Invalid):
        service.diff(hands.steps, DiffQuery(kind="moved"), version_id=second.id)


def test_entries_of_a_part_and_since_a_version(hands):
    dataset = hands.dataset()
    files = {f"d/{number:03}": str(number).encode() for number in range(60)}
    first = hands.version(dataset, files)
    parts = [hands.entries(first, part=part, parts=4, limit=7) for part in range(4)]
    assert sum(map(len, parts)) == 60 and all(parts)
    for part, found in enumerate(parts):
        assert all(int.from_bytes(hash[:8]) % 4 == part for hash, _ in found.values())
    second = hands.version(dataset, {"d/000": b"new", "e": b"e"}, first, removed=["d/001", "d/002"])
    page = service.entries(hands.steps, EntryQuery(against=first.id), version_id=second.id)
    assert page.against == first.id and page.entries.paths == b"d/000\0e\0" and page.removed == b"d/001\0d/002\0"
    came, gone, after = [], [], ""
    for _ in range(9):
        page = service.entries(hands.steps, EntryQuery(against=first.id, limit=1, after=after), version_id=second.id)
        came += page.entries.paths.split(b"\0")[:-1]
        gone += page.removed.split(b"\0")[:-1]
        after = page.next
        if not after:
            break
    assert (came, gone) == ([b"d/000", b"e"], [b"d/001", b"d/002"])
    # of a part: what leaves it is removed, what comes into it is new
    for part in range(4):
        page = service.entries(hands.steps, EntryQuery(against=first.id, part=part, parts=4), version_id=second.id)
        before, now = (hands.entries(version, part=part, parts=4) for version in (first, second))
        paths = page.entries.paths.decode().split("\0")[:-1]
        assert sorted(paths) == sorted(path for path in now if before.get(path) != now[path])
        assert sorted(page.removed.decode().split("\0")[:-1]) == sorted(before.keys() - now.keys())
    for wrong in (EntryQuery(limit=0), EntryQuery(limit=50_001), EntryQuery(part=4, parts=4), EntryQuery(parts=-1)):
        with pytest.raises(Invalid):
            service.entries(hands.steps, wrong, version_id=first.id)


def test_places_say_where_every_chunk_lies(hands):
    data = random.Random(1).randbytes(2_200_000)
    version = hands.version(hands.dataset(), {"large": data, "small": b"bread", "empty": b""})
    order = Contents(hashes=digest(b"bread") + digest(data) + digest(b"") + digest(b"bread"))
    places = service.places(hands.steps, order, version_id=version.id)
    assert np.frombuffer(places.counts, "<u4").tolist() == [1, 3, 0, 1]
    assert hands.fetch(version, [digest(data), digest(b"")]) == [data, b""]
    with pytest.raises(NotFound, match="not stored"):
        service.places(hands.steps, Contents(hashes=digest(b"no")), version_id=version.id)
    with pytest.raises(Invalid):
        service.places(hands.steps, Contents(hashes=b"x"), version_id=version.id)
    pack = places.packs[0]
    for wrong in ("", "1", "5-4", f"0-{pack.bytes + 1}", "a-b", "-", "1-2,", "²-³", "0-1," * 3_000):
        with pytest.raises(Invalid):
            service.pack_bytes(hands.steps, PackQuery(ranges=wrong), version_id=version.id, hash=pack.hash)
    two = service.pack_bytes(hands.steps, PackQuery(ranges="0-4,4-6"), version_id=version.id, hash=pack.hash)
    assert b"".join(two.pieces)[:4] == b"LPK1" and two.size == 6
    with pytest.raises(NotFound):
        service.pack_bytes(hands.steps, PackQuery(ranges="0-1"), version_id=version.id, hash="0" * 64)


def test_damage_is_named_and_never_served(stored):
    hands = Hands(stored)
    rng = random.Random(2)
    files = {"a": rng.randbytes(5_000), "b": b"x", "big": rng.randbytes(2_500_000)}
    version = hands.version(hands.dataset(), files)
    places = service.places(hands.steps, Contents(hashes=digest(files["a"])), version_id=version.id)
    pack, place = places.packs[0].hash, int(np.frombuffer(places.offsets, "<u4")[0])
    body = bytearray(stored.objects.read("acme", pack))
    big = body.find(files["big"][1_500_000:1_500_050])
    body[place + 7] ^= 1
    body[big] ^= 1
    import obstore

    obstore.put(stored.objects._store, f"acme/{pack[:2]}/{pack[2:]}", bytes(body))
    assert service.verify(hands.steps, NOTHING, version_id=version.id).damaged == ["a", "big"]
    with pytest.raises(Conflict, match="damaged"):
        service.read(hands.steps, ReadQuery(path="a"), version_id=version.id)
    broken = service.read(hands.steps, ReadQuery(path="big"), version_id=version.id)
    with pytest.raises(Conflict, match="damaged"):
        b"".join(broken.pieces)
    assert b"".join(service.read(hands.steps, ReadQuery(path="b"), version_id=version.id).pieces) == b"x"
    stored.objects.delete("acme", pack)
    assert service.verify(hands.steps, NOTHING, version_id=version.id).damaged == ["a", "b", "big"]


def test_a_file_is_shown_only_when_a_page_asks(hands):
    version = hands.version(hands.dataset(), {"a.png": b"1", "page.html": b"<b>", "x.bin": b"2"})
    shown = {path: service.read(hands.steps, ReadQuery(path=path, show=True), version_id=version.id)
             for path in ("a.png", "page.html", "x.bin")}  # fmt: skip
    assert [one.media_type for one in shown.values()] == ["image/png", "text/plain; charset=utf-8", ""]
    assert service.read(hands.steps, ReadQuery(path="a.png"), version_id=version.id).media_type == ""


def test_two_versions_are_merged(hands):
    dataset = hands.dataset()
    first = hands.version(dataset, {"a": b"1", "b": b"1", "c": b"1"})
    ours = hands.version(dataset, {"a": b"ours", "x": b"1"}, first)
    theirs = hands.version(dataset, {"b": b"theirs"}, first, removed=["c"])
    merged = service.merge(hands.steps, NewMerge(ours=ours.id, theirs=theirs.id, message="m"), dataset_id=dataset.id)
    assert hands.files(merged) == {"a": b"ours", "b": b"theirs", "x": b"1"}
    assert merged.parents == [ours.id, theirs.id] and (merged.number, merged.changed, merged.removed) == (4, 1, 1)
    clash = hands.version(dataset, {"a": b"clash"}, first)
    with pytest.raises(Conflict, match="'a'") as told:
        service.merge(hands.steps, NewMerge(ours=merged.id, theirs=clash.id), dataset_id=dataset.id)
    assert told.value.field == "prefer"
    for prefer, expected in (("ours", b"ours"), ("theirs", b"clash")):
        order = NewMerge(ours=merged.id, theirs=clash.id, prefer=prefer)
        assert hands.files(service.merge(hands.steps, order, dataset_id=dataset.id))["a"] == expected
    for wrong in (NewMerge(ours=ours.id, theirs=ours.id), NewMerge(ours=ours.id, theirs=theirs.id, prefer="mine")):
        with pytest.raises(Invalid):
            service.merge(hands.steps, wrong, dataset_id=dataset.id)


# -- blind ---------------------------------------------------------------------------------------------------------


def heard(hands, name):
    events = hands.runtime.view(
        hands.identity, lambda context: outbox.read(context.db, event_contract.EventQuery(limit=1000))
    )
    return [event for event in events.events if event.name == name]


def test_only_an_evaluator_reads_what_is_blind_and_each_time_is_written_down(hands):
    dataset = hands.dataset("exam", blind=True)
    statistics = {
        "files": 12,
        "previews": {"images": ["q1.jpg"]},
        "extensions": [{"extension": ".jpg", "files": 11, "bytes": 5}, {"extension": ".x", "files": 1, "bytes": 2}],
    }
    files = {f"q{number}": str(number).encode() for number in range(12)}
    version = hands.version(dataset, files, statistics=statistics)
    bob, eve = Hands(hands.runtime, BOB), Hands(hands.runtime, EVE)
    assert (version.files, version.tree, version.statistics) == (
        12, "", {"files": 12, "extensions": [{"extension": ".jpg", "files": 11, "bytes": 5}]},
    )  # fmt: skip
    hash = digest(b"1")
    pack = service.places(eve.steps, Contents(hashes=hash), version_id=version.id).packs[0].hash
    reads = [
        lambda who: service.entries(who.steps, EntryQuery(), version_id=version.id),
        lambda who: service.folder(who.steps, FolderQuery(), version_id=version.id),
        lambda who: service.item(who.steps, ItemQuery(path="q1"), version_id=version.id),
        lambda who: service.read(who.steps, ReadQuery(path="q1"), version_id=version.id),
        lambda who: service.diff(who.steps, DiffQuery(), version_id=version.id),
        lambda who: service.places(who.steps, Contents(hashes=hash), version_id=version.id),
        lambda who: service.pack_bytes(who.steps, PackQuery(ranges="0-4"), version_id=version.id, hash=pack),
        lambda who: service.verify(who.steps, NOTHING, version_id=version.id),
    ]
    for read in reads:
        with pytest.raises(Denied, match="evaluator"):
            read(bob)
    refused = heard(hands, "datasets.blind_refused")
    assert len(refused) == len(reads) and {event.user for event in refused} == {"bob"}
    assert {event.data["token"] for event in refused} == {"bobs"}
    before = len(heard(hands, "datasets.blind_read"))
    for read in reads:
        read(eve)
    assert len(heard(hands, "datasets.blind_read")) == before + len(reads)
    counts = service.diff(bob.steps, DiffQuery(limit=0), version_id=version.id)
    assert counts.added == 12 and counts.changes == []


def test_nothing_of_a_blind_dataset_is_found_through_another(hands):
    secret = b"the answer"
    blind = hands.dataset("exam", blind=True)
    version = hands.version(blind, {"q": secret})
    plain = hands.dataset("plain")
    opened = hands.open(plain)
    assert hands.lacking(opened, [digest(secret)]) == [digest(secret)]
    other = hands.version(plain, {"x": b"x"})
    eve = Hands(hands.runtime, EVE)
    pack = service.places(eve.steps, Contents(hashes=digest(secret)), version_id=version.id).packs[0].hash
    with pytest.raises(NotFound):
        service.places(hands.steps, Contents(hashes=digest(secret)), version_id=other.id)
    with pytest.raises(NotFound):
        service.pack_bytes(hands.steps, PackQuery(ranges="0-4"), version_id=other.id, hash=pack)
    # nor by asking in a version of its own what is there already
    mine = hands.open(blind, version)
    assert hands.lacking(mine, [digest(secret)]) == [digest(secret)]
    hands.send(mine, [b"mine"])
    assert hands.lacking(mine, [digest(b"mine"), digest(secret)]) == [digest(secret)]
    with pytest.raises(Invalid, match="blind"):
        hands.open(plain, version)
    with pytest.raises(Invalid, match="blind"):
        hands.open(blind, other)
    hands.write(mine, {"r": b"mine"})
    assert eve.files(hands.commit(mine)) == {"q": secret, "r": b"mine"}
