"""Names: addresses, aliases with their history and role, tags, uses; every change is an event."""

import pytest

from larder.contract.datasets import (
    Address,
    ChangeDataset,
    ChangeVersion,
    DatasetQuery,
    NewAlias,
    NewUse,
    UseQuery,
    VersionQuery,
)
from larder.contract.endpoint import Role
from larder.contract.errors import Conflict, Denied, Invalid, NotFound
from larder.contract.events import EventQuery
from larder.contract.tenants import Identity, NewToken
from larder_server.datasets import service
from larder_server.kernel import outbox
from larder_server.tenants import rules as tenant_rules
from larder_server.tenants import service as tenants
from tests.server.datasets.hands import Hands

BOB = Identity(tenant="acme", user="bob", role=Role.CONTRIBUTOR)


def resolve(hands, address, **more):
    return hands.do(service.resolve, Address(address=address, **more))


def test_an_address_means_a_version(hands, clock):
    dataset = hands.dataset()
    with pytest.raises(NotFound, match="no version yet"):
        resolve(hands, "shelf")
    one = hands.version(dataset, {"a": b"1"}, tags=["clean"])
    two = hands.version(dataset, {"a": b"2"}, one, tags=["clean", "march"])
    hands.open(dataset, two)
    hands.do(service.set_alias, NewAlias(version=one.id), dataset_id=dataset.id, alias="ready")
    for address, version in (
        ("shelf", two), ("bakery/shelf", two), ("shelf@v1", one), ("bakery/shelf@v2", two), ("shelf@ready", one),
        ("shelf@clean", two), ("shelf@march", two), (f"shelf@{one.id}", one), (one.id, one),
    ):  # fmt: skip
        assert resolve(hands, address).id == version.id, address
    moment = clock.now()
    clock.forward(60)
    hands.do(service.set_alias, NewAlias(version=two.id), dataset_id=dataset.id, alias="ready")
    assert resolve(hands, "shelf@ready").id == two.id and resolve(hands, "shelf@ready", at=moment).id == one.id
    for address in ("shelf@v9", "shelf@nothing", "nothing", "other/shelf", f"shelf@{dataset.id}"):
        with pytest.raises(NotFound):
            resolve(hands, address)
    with pytest.raises(NotFound):
        resolve(hands, "shelf@ready", at=moment - 10**12)
    for address in ("", "shelf@", "../shelf", "a\0b", "@v1"):
        with pytest.raises(Invalid):
            resolve(hands, address)


def test_a_name_in_two_projects_asks_which(hands):
    from larder.contract.datasets import NewDataset

    mine = hands.dataset()
    other = hands.do(service.create, NewDataset(name="shelf", project="a/b"))
    versions = [hands.version(dataset, {"a": b"1"}) for dataset in (mine, other)]
    with pytest.raises(Conflict, match="several projects"):
        resolve(hands, "shelf")
    assert resolve(hands, "shelf", project="bakery").id == versions[0].id
    assert resolve(hands, "a/b/shelf@v1").id == versions[1].id


def test_datasets_are_made_once_found_changed_and_deleted(hands):
    dataset = hands.dataset(description="march")
    assert hands.dataset() == dataset
    with pytest.raises(Conflict, match="blind"):
        hands.dataset(blind=True)
    exam = hands.dataset("exam", blind=True)
    assert hands.dataset("exam").id == exam.id and exam.blind
    first = hands.version(dataset, {"a": b"1"}, tags=["clean"])
    found = hands.do(service.every, DatasetQuery(text="MARCH"))
    assert [one.id for one in found.datasets] == [dataset.id] and found.total == 1
    assert found.datasets[0].newest == first and found.datasets[0].versions == 1
    assert hands.do(service.every, DatasetQuery(text="clean")).total == 1
    assert hands.do(service.every, DatasetQuery(text="%")).total == 0
    assert hands.do(service.every, DatasetQuery(project="bakery", limit=1)).total == 2
    changed = hands.do(service.change, ChangeDataset(name="shelves", description=""), dataset_id=dataset.id)
    assert (changed.name, changed.description) == ("shelves", "") and resolve(hands, "shelves").id == first.id
    with pytest.raises(Conflict):
        hands.do(service.change, ChangeDataset(name="exam"), dataset_id=dataset.id)
    for name in ("", "a/b", "x@y", "x" * 200, ".hidden"):
        with pytest.raises(Invalid):
            hands.do(service.change, ChangeDataset(name=name), dataset_id=dataset.id)
    hands.do(service.delete, dataset_id=dataset.id)
    with pytest.raises(NotFound):
        hands.do(service.get, dataset_id=dataset.id)
    with pytest.raises(NotFound):
        hands.do(service.version, version_id=first.id)
    again = hands.dataset("shelves")
    assert again.id != dataset.id and hands.version(again, {"a": b"1"}).number == 1


def test_the_number_of_a_deleted_version_never_comes_back(hands):
    dataset = hands.dataset()
    one, two = (hands.version(dataset, {"a": text}) for text in (b"1", b"2"))
    hands.do(service.set_alias, NewAlias(version=two.id), dataset_id=dataset.id, alias="ready")
    with pytest.raises(Conflict, match="alias ready"):
        hands.do(service.delete_version, version_id=two.id)
    hands.do(service.drop_alias, dataset_id=dataset.id, alias="ready")
    with pytest.raises(Denied):
        Hands(hands.runtime, BOB).do(service.delete_version, version_id=two.id)
    hands.do(service.delete_version, version_id=two.id)
    assert hands.version(dataset, {"a": b"3"}, one).number == 3
    versions = hands.do(service.versions, VersionQuery(), dataset_id=dataset.id)
    assert [version.number for version in versions.versions] == [3, 1] and versions.total == 2


def test_an_alias_is_protected_by_its_role(hands, clock):
    dataset = hands.dataset()
    one, two = (hands.version(dataset, {"a": text}) for text in (b"1", b"2"))
    bob = Hands(hands.runtime, BOB)
    bob.do(service.set_alias, NewAlias(version=one.id), dataset_id=dataset.id, alias="latest")
    with pytest.raises(Denied):
        bob.do(service.set_alias, NewAlias(version=one.id, role=Role.MAINTAINER), dataset_id=dataset.id, alias="x")
    hands.do(service.set_alias, NewAlias(version=one.id, role=Role.MAINTAINER), dataset_id=dataset.id, alias="ready")
    for call in (
        lambda: bob.do(service.set_alias, NewAlias(version=two.id), dataset_id=dataset.id, alias="ready"),
        lambda: bob.do(service.drop_alias, dataset_id=dataset.id, alias="ready"),
    ):
        with pytest.raises(Denied, match="maintainer"):
            call()
    clock.forward(1)
    hands.do(service.set_alias, NewAlias(version=two.id), dataset_id=dataset.id, alias="ready")
    hands.do(service.set_alias, NewAlias(version=two.id), dataset_id=dataset.id, alias="ready")
    aliases = {one.alias: one for one in hands.do(service.aliases, dataset_id=dataset.id).aliases}
    assert aliases.keys() == {"latest", "ready"} and aliases["ready"].role is Role.MAINTAINER
    assert [(move.version, move.user) for move in aliases["ready"].history] == [(2, "alice"), (1, "alice")]
    assert hands.do(service.get, dataset_id=dataset.id).aliases == {"latest": 1, "ready": 2}
    assert hands.do(service.version, version_id=two.id).aliases == ["ready"]
    # ended, it stays protected
    hands.do(service.drop_alias, dataset_id=dataset.id, alias="ready")
    with pytest.raises(Denied):
        bob.do(service.set_alias, NewAlias(version=two.id), dataset_id=dataset.id, alias="ready")
    with pytest.raises(NotFound):
        hands.do(service.drop_alias, dataset_id=dataset.id, alias="ready")
    other = hands.version(hands.dataset("other"), {"a": b"1"})
    with pytest.raises(Invalid, match="another dataset"):
        hands.do(service.set_alias, NewAlias(version=other.id), dataset_id=dataset.id, alias="latest")
    for alias in ("v3", "", "a/b", one.id):
        with pytest.raises(Invalid):
            hands.do(service.set_alias, NewAlias(version=one.id), dataset_id=dataset.id, alias=alias)


def test_tags_come_and_go(hands):
    version = hands.version(hands.dataset(), {"a": b"1"}, tags=["b", "a", "a"])
    assert version.tags == ["a", "b"]
    changed = hands.do(
        service.change_version, ChangeVersion(add_tags=["c"], remove_tags=["a"], message="new"), version_id=version.id
    )
    assert (changed.tags, changed.message) == (["b", "c"], "new")
    assert changed == hands.do(service.version, version_id=version.id)
    with pytest.raises(Invalid):
        hands.do(service.change_version, ChangeVersion(add_tags=["v1"]), version_id=version.id)


def test_uses_are_kept_also_when_the_version_is_gone(hands, clock):
    dataset = hands.dataset()
    version = hands.version(dataset, {"a": b"1"})
    order = NewUse(run="r1", part="0/4", served={"cached": 5})
    for _ in range(2):
        clock.forward(1)
        hands.do(service.use, order, version_id=version.id)
    hands.do(service.use, NewUse(run="r2", role="output"), version_id=version.id)
    uses = hands.do(service.uses, UseQuery(version=version.id)).uses
    assert [(use.run, use.role, use.part) for use in uses] == [("r2", "output", ""), ("r1", "input", "0/4")]
    assert uses[1].served == {"cached": 5} and uses[1].address == "bakery/shelf@v1"
    for wrong in (NewUse(run=""), NewUse(run="r", role="reader"), NewUse(run="x" * 201)):
        with pytest.raises(Invalid):
            hands.do(service.use, wrong, version_id=version.id)
    run = Hands(hands.runtime, Identity(tenant="acme", user="bob", role=Role.CONTRIBUTOR, run="r3"))
    with pytest.raises(Denied):
        run.do(service.use, NewUse(run="r1"), version_id=version.id)
    hands.do(service.delete, dataset_id=dataset.id)
    (use,) = hands.do(service.uses, UseQuery(run="r1")).uses
    assert use.address == "bakery/shelf@v1"


def test_every_change_is_an_event(hands):
    dataset = hands.dataset()
    version = hands.version(dataset, {"a": b"1"})
    hands.do(service.set_alias, NewAlias(version=version.id), dataset_id=dataset.id, alias="ready")
    hands.do(service.change_version, ChangeVersion(add_tags=["t"]), version_id=version.id)
    hands.do(service.use, NewUse(run="r"), version_id=version.id)
    hands.do(service.change, ChangeDataset(description="d"), dataset_id=dataset.id)
    hands.do(service.drop_alias, dataset_id=dataset.id, alias="ready")
    hands.do(service.delete_version, version_id=version.id)
    hands.do(service.delete, dataset_id=dataset.id)
    found = hands.runtime.view(hands.identity, lambda context: outbox.read(context.db, EventQuery(subject=dataset.id)))
    assert [event.name for event in found.events] == [
        "datasets.created", "datasets.committed", "datasets.alias_moved", "datasets.version_changed", "datasets.used",
        "datasets.changed", "datasets.alias_moved", "datasets.version_deleted", "datasets.deleted",
    ]  # fmt: skip
    assert found.events[1].data["number"] == 1 and found.events[1].user == "alice"


def test_only_an_admin_makes_a_token_that_opens_what_is_blind(hands):
    issued = hands.do(tenants.issue, NewToken(role=Role.VIEWER, evaluator=True))
    assert issued.token.evaluator
    secret = tenant_rules.parse(issued.secret)
    identity = hands.runtime.view(hands.identity, lambda context: tenants.identify(context, secret))
    assert identity.evaluator and identity.role is Role.VIEWER
    assert not hands.do(tenants.issue, NewToken()).token.evaluator
    with pytest.raises(Denied, match="blind"):
        Hands(hands.runtime, BOB).do(tenants.issue, NewToken(evaluator=True))


def test_another_tenant_sees_nothing(hands):
    dataset = hands.dataset()
    version = hands.version(dataset, {"a": b"bread"})
    other = Hands(hands.runtime, Identity(tenant="globex", user="alice", role=Role.ADMIN))
    for call in (
        lambda: other.do(service.get, dataset_id=dataset.id), lambda: other.entries(version),
        lambda: resolve(other, "shelf"), lambda: other.open(dataset),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            call()
    mine = other.open(other.dataset())
    assert len(other.lacking(mine, [hash for hash, _ in hands.entries(version).values()])) == 1
