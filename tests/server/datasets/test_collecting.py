"""Collecting frees what no version needs, says before how much, and takes nothing from anybody, whoever writes beside it."""

import random
import threading

import obstore
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from larder.contract.datasets import Collect, Commit, NewMerge, PackQuery, Verified
from larder.contract.endpoint import Role
from larder.contract.errors import Conflict, NotFound
from larder.contract.ids import new_id
from larder.contract.tenants import Identity
from larder_server.datasets import jobs, service
from larder_server.datasets.service import collecting
from larder_server.datasets.store import content
from larder_server.kernel import schema
from larder_server.kernel.database import Database
from larder_server.kernel.objects import ObjectStore
from larder_server.kernel.runtime import Runtime
from tests.server.conftest import SCRIPTS, HeldClock
from tests.server.datasets.hands import ALICE, NOTHING, Hands, digest

DAY = 86_400


def collect(hands, *, grace=0):
    """Say it, then do it: both must agree."""
    dry = service.collect(hands.steps, Collect(dry=True, grace=grace))
    done = service.collect(hands.steps, Collect(dry=False, grace=grace))
    for name in ("packs", "rewritten", "chunks", "bytes", "kept_bytes"):
        assert getattr(dry, name) == getattr(done, name), (name, dry, done)
    return done


def weigh(runtime, tenant="acme"):
    """The bytes of all objects of a tenant."""
    return sum(item["size"] for batch in obstore.list(runtime.objects._store, tenant) for item in batch)


def later(clock):
    clock.forward(2 * 3_600)


def test_what_a_deleted_version_alone_needs_is_freed_to_the_byte(stored, clock):
    hands = Hands(stored)
    rng = random.Random(3)
    dataset = hands.dataset()
    shared, own = {"shared": rng.randbytes(40_000)}, {"own": rng.randbytes(300_000), "long": rng.randbytes(2_500_000)}
    first = hands.version(dataset, shared)
    second = hands.version(dataset, own, first)
    later(clock)
    assert collect(hands).bytes == 0
    before = weigh(stored)
    hands.do(service.delete_version, version_id=second.id)
    done = collect(hands)
    assert done.packs == 1 and done.chunks == 4 and done.bytes > 2_800_000
    assert before - weigh(stored) == done.bytes and weigh(stored) == done.kept_bytes
    assert hands.files(first) == shared
    # and it can be sent again, under the same hashes
    third = hands.version(dataset, own, first)
    assert hands.files(third) == {**shared, **own}
    assert collect(hands).bytes == 0


def test_a_pack_of_which_little_is_needed_is_written_anew(stored, clock):
    hands = Hands(stored)
    rng = random.Random(4)
    dataset = hands.dataset()
    files = {f"{number}": rng.randbytes(20_000) for number in range(20)}
    first = hands.version(dataset, files)
    second = hands.version(dataset, {}, first, removed=[f"{number}" for number in range(15)])
    old = hands.entries(second)
    places = service.places(hands.steps, service_contents([hash for hash, _ in old.values()]), version_id=second.id)
    hands.do(service.delete_version, version_id=first.id)
    later(clock)
    before = weigh(stored)
    done = collect(hands)
    assert (done.packs, done.rewritten, done.chunks) == (0, 1, 15) and before - weigh(stored) == done.bytes > 290_000
    kept = {path: data for path, data in files.items() if int(path) >= 15}
    assert hands.files(second) == kept
    # who has asked for the places before is told to ask again
    with pytest.raises(NotFound, match="no pack"):
        service.pack_bytes(hands.steps, PackQuery(ranges="16-20"), version_id=second.id, hash=places.packs[0].hash)
    assert collect(hands).bytes == 0
    assert service.verify(hands.steps, NOTHING, version_id=second.id) == Verified(files=5, bytes=100_000, damaged=[])


def service_contents(hashes):
    from larder.contract.datasets import Contents

    return Contents(hashes=b"".join(hashes))


def test_open_versions_keep_what_they_were_promised_until_they_expire(runtime, clock):
    hands = Hands(runtime)
    dataset = hands.dataset()
    first = hands.version(dataset, {"a": b"bread", "b": b"butter"})
    opened, sending = hands.open(dataset), hands.open(dataset)
    assert hands.lacking(opened, [digest(b"bread")]) == []
    hands.send(sending, [b"jam", b"x" * 2_000_000])
    hands.do(service.delete_version, version_id=first.id)
    later(clock)
    collect(hands)
    assert hands.lacking(sending, [digest(b"bread"), digest(b"jam")]) == []
    hands.write(sending, {"jam": b"jam", "long": b"x" * 2_000_000})
    hands.write(opened, {"bread": b"bread"})
    clock.forward(10 * 3_600)
    collect(hands)
    assert hands.files(hands.commit(sending)) == {"jam": b"jam", "long": b"x" * 2_000_000}
    clock.forward(25 * 3_600)
    assert hands.runtime.transact(ALICE, service.expire) == 1
    done = collect(hands)
    assert done.chunks == 1  # bread: butter went with the first collection
    with pytest.raises(NotFound):
        hands.commit(opened)


def test_a_chunk_that_is_asked_for_between_the_looks_is_not_taken(runtime, clock, monkeypatch):
    """The moment that matters: doomed, promised, and then removed or not."""
    hands = Hands(runtime)
    dataset = hands.dataset()
    first = hands.version(dataset, {"a": b"bread", "b": b"butter", "c": b"jam"})
    hands.do(service.delete_version, version_id=first.id)
    later(clock)
    before_doom, after_doom = hands.open(dataset), hands.open(dataset)
    real = content.doom

    def doom(context, domain, hashes):
        # on SQLite nobody else writes now; the promise stands for one that was committed a moment before
        content.pin(context, before_doom.id, digest(b"bread"))
        real(context, domain, hashes)

    looks = []
    mark = collecting._Collection._mark

    def marked(self, known=None):
        if known is not None:
            looks.append(hands.lacking(after_doom, [digest(b"butter")]))
        return mark(self, known)

    monkeypatch.setattr(content, "doom", doom)
    monkeypatch.setattr(collecting._Collection, "_mark", marked)
    done = service.collect(hands.steps, Collect(dry=False, grace=0))
    assert looks == [[]] and done.chunks == 1
    monkeypatch.undo()
    hands.write(before_doom, {"a": b"bread"})
    hands.write(after_doom, {"b": b"butter"})
    assert hands.sent == hands.sent and hands.files(hands.commit(before_doom)) == {"a": b"bread"}
    assert hands.files(hands.commit(after_doom)) == {"b": b"butter"}


def test_a_version_that_was_committed_between_the_looks_keeps_its_tree(runtime, clock, monkeypatch):
    hands = Hands(runtime)
    dataset = hands.dataset()
    made = []
    mark = collecting._Collection._mark

    def marked(self, known=None):
        found = mark(self, known)
        made.append(hands.version(dataset, {f"{len(made)}-{number}": bytes([number]) * 9 for number in range(3)}))
        return found

    monkeypatch.setattr(collecting._Collection, "_mark", marked)
    service.collect(hands.steps, Collect(dry=False, grace=0))
    monkeypatch.undo()
    assert [len(hands.files(version)) for version in made] == [3, 3]


def test_only_one_collects_at_a_time(runtime, clock):
    hands = Hands(runtime)
    assert runtime.transact(ALICE, lambda context: content.begin_collection(context, holder="x", until=clock.now() + 9))
    with pytest.raises(Conflict, match="at work"):
        service.collect(hands.steps, Collect(dry=False))
    clock.forward(1)
    service.collect(hands.steps, Collect(dry=False))


def test_it_happens_once_a_day_by_itself(runtime, clock):
    hands = Hands(runtime)
    dataset = hands.dataset()
    version = hands.version(dataset, {"a": b"bread"})
    hands.do(service.delete_version, version_id=version.id)
    clock.forward(DAY + 7_200)
    ((seconds, work),) = jobs.CHORES
    assert seconds < DAY and work(runtime, ALICE).chunks == 1
    assert work(runtime, ALICE) is None
    clock.forward(DAY)
    assert work(runtime, ALICE).chunks == 0
    assert [each.__name__ for _, each in jobs.TIMERS] == ["expire"]


def test_what_a_killed_collection_left_is_done_by_the_next(runtime, clock, monkeypatch):
    hands = Hands(runtime)
    rng = random.Random(6)
    dataset = hands.dataset()
    files = {f"{number}": rng.randbytes(9_000) for number in range(12)}
    first = hands.version(dataset, files)
    second = hands.version(dataset, {}, first, removed=[f"{number}" for number in range(9)])
    hands.do(service.delete_version, version_id=first.id)
    later(clock)

    class Killed(Exception):
        pass

    for name in ("_drop_contents", "_rewrite", "_drop_packs", "_drop_trees"):

        def die(*_):
            raise Killed

        monkeypatch.setattr(collecting._Collection, name, die)
        with pytest.raises(Killed):
            service.collect(hands.steps, Collect(dry=False, grace=0))
        monkeypatch.undo()
        assert hands.files(second) == {path: data for path, data in files.items() if int(path) >= 9}
    # a kill between the deletion of a row and that of its object
    delete = runtime.objects.delete
    monkeypatch.setattr(runtime.objects, "delete", die)
    with pytest.raises(Killed):
        service.collect(hands.steps, Collect(dry=False, grace=0))
    monkeypatch.setattr(runtime.objects, "delete", delete)
    done = service.collect(hands.steps, Collect(dry=False, grace=0))
    assert weigh(runtime) == done.kept_bytes and hands.files(second)


# -- whatever is done ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """One runtime for all examples: each has a tenant of its own."""
    folder = tmp_path_factory.mktemp("collecting")
    database = Database(f"sqlite:///{folder / 'larder.sqlite'}")
    schema.migrate(database, scripts=SCRIPTS, backups=folder)
    yield Runtime(database=database, objects=ObjectStore("memory://"), clock=HeldClock())
    database.close()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.integers(0, 9), st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 30), max_size=5),
                  st.lists(st.sampled_from("abcdefgh"), max_size=3)),
        st.tuples(st.just("delete"), st.integers(0, 9)),
        st.tuples(st.just("collect"), st.sampled_from([0, 3_600])),
        st.tuples(st.just("wait"), st.integers(1, 5)),
        st.tuples(st.just("merge"), st.integers(0, 9), st.integers(0, 9)),
    ),
    min_size=3, max_size=14,
)  # fmt: skip


def content_of(number):
    return random.Random(number).randbytes(1_200_000 if number == 30 else 200 + number * 40)


@settings(
    max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck)
)
@given(steps)
def test_every_version_that_is_left_holds_what_it_should(plain, history):
    runtime, clock = plain, plain.clock
    hands = Hands(runtime, Identity(tenant=new_id(), user="alice", role=Role.ADMIN))
    hands.chunk = 500_000
    dataset = hands.dataset()
    left = [(hands.version(dataset, {"a": content_of(1)}), {"a": content_of(1)})]
    for step, *arguments in history:
        if step == "commit":
            parent, files = left[arguments[0] % len(left)]
            news = {path: content_of(number) for path, number in arguments[1].items()}
            removed = [path for path in arguments[2] if path not in news]
            version = hands.version(dataset, news, parent, removed=removed)
            left.append((version, {path: data for path, data in {**files, **news}.items() if path not in removed}))
        elif step == "delete" and len(left) > 1:
            version, _ = left.pop(arguments[0] % len(left))
            hands.do(service.delete_version, version_id=version.id)
        elif step == "merge":
            (ours, mine), (theirs, others) = (left[number % len(left)] for number in arguments)
            if ours.id != theirs.id:
                order = NewMerge(ours=ours.id, theirs=theirs.id, prefer="ours")
                merged = service.merge(hands.steps, order, dataset_id=dataset.id)
                found = hands.files(merged)
                assert all(data in (mine.get(path), others.get(path)) for path, data in found.items())
                left.append((merged, found))
        elif step == "collect":
            collect(hands, grace=arguments[0])
        elif step == "wait":
            clock.forward(arguments[0] * 1_000)
    collect(hands)
    for version, files in left:
        assert hands.files(version) == files
        assert service.verify(hands.steps, NOTHING, version_id=version.id).damaged == []
    for version, _ in left:
        hands.do(service.delete_version, version_id=version.id)
    clock.forward(3 * DAY)
    collect(hands)
    assert collect(hands).kept_bytes == 0 == weigh(runtime, hands.identity.tenant)


def test_writers_and_a_collector_side_by_side_lose_nothing(stored):
    stored.clock = type("Clock", (), {"now": lambda self: __import__("time").time_ns() // 1000})()
    hands = Hands(stored)
    dataset = hands.dataset()
    contents = [random.Random(number).randbytes(2_000) for number in range(30)]
    problems, done = [], threading.Event()

    def patiently(mine, version):
        for _ in range(50):
            try:
                return mine.files(version)
            except NotFound as problem:  # its pack was written anew since the places were asked for: ask again
                assert "no pack" in str(problem) or "not in the store" in str(problem)
        raise AssertionError("the places never held")

    def work(seed):
        mine = Hands(stored)
        rng = random.Random(seed)
        try:
            for _ in range(6):
                files = {f"{number}": contents[number] for number in rng.sample(range(30), 6)}
                while True:
                    opened = mine.open(dataset)
                    mine.write(opened, files)
                    try:
                        version = service.commit(mine.steps, Commit(), version_id=opened.id)
                        break
                    except Conflict as problem:  # the pack that held it was given up: send again
                        assert problem.field == "hashes"
                assert patiently(mine, version) == files
                mine.do(service.delete_version, version_id=version.id)
        except BaseException as problem:
            problems.append(problem)

    def sweep():
        mine = Hands(stored)
        try:
            while not done.is_set():
                service.collect(mine.steps, Collect(dry=False, grace=0))
        except BaseException as problem:
            problems.append(problem)

    writers = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    sweeper = threading.Thread(target=sweep)
    for thread in [*writers, sweeper]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    sweeper.join()
    assert not problems, problems
