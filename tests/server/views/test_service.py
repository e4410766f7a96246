"""A view keeps a state under a name or a short id, for its owner or for everybody of the tenant."""

from dataclasses import replace

import pytest

from larder.contract.endpoint import Nothing, Role
from larder.contract.errors import Denied, Invalid, NotFound
from larder.contract.views import ChangeView, NewView, ViewQuery
from larder_server.views import service

NOTHING = Nothing()


def names(context, **query):
    return [view.name for view in service.every(context, ViewQuery(**query)).views]


def test_a_state_without_a_name_has_one_short_id(context):
    first = service.create(context, NewView(state="where=loss+%3C+3"))
    assert len(first.id) == 12 and service.create(context, NewView(state="where=loss+%3C+3")).id == first.id
    assert service.get(context, NOTHING, first.id).state == "where=loss+%3C+3"
    assert service.create(context, NewView(state="where=loss+%3C+4")).id != first.id
    assert names(context) == [] and not context.emitted
    with pytest.raises(Invalid):
        service.change(context, ChangeView(name="x"), first.id)


def test_a_named_view_is_its_owners_until_it_is_shared(context):
    colleague = replace(context, user="otto", role=Role.VIEWER)
    view = service.create(context, NewView(state="a=1", name="leaderboard", project="bakery"))
    service.create(context, NewView(state="a=2", name="Anything"))
    assert names(context) == ["Anything", "leaderboard"] and names(colleague) == []
    assert names(context, project="dairy") == ["Anything"] and names(context, page="compare") == []
    assert service.get(colleague, NOTHING, view.id).state == "a=1", "whoever has the address may open it"
    service.change(context, ChangeView(shared=True, state="a=3"), view.id)
    assert names(colleague) == ["leaderboard"]
    for forbidden in (lambda: service.change(colleague, ChangeView(name="mine"), view.id),
                      lambda: service.delete(colleague, NOTHING, view.id)):  # fmt: skip
        with pytest.raises(Denied):
            forbidden()
    assert [event.name for event in context.emitted] == ["views.created", "views.created", "views.changed"]
    service.delete(replace(colleague, role=Role.MAINTAINER), NOTHING, view.id)
    with pytest.raises(NotFound):
        service.get(context, NOTHING, view.id)


def test_another_tenant_sees_nothing(context, other_context):
    view = service.create(context, NewView(state="a=1", name="leaderboard", shared=True))
    assert names(other_context) == []
    with pytest.raises(NotFound):
        service.get(other_context, NOTHING, view.id)
    plain = service.create(context, NewView(state="a=1"))
    assert service.create(other_context, NewView(state="a=1")).id != plain.id


@pytest.mark.parametrize(
    "bad",
    [
        {"state": ""}, {"state": "a\nb"}, {"state": "x" * 50_001}, {"state": "a", "page": "nowhere"},
        {"state": "a", "name": "x" * 201}, {"state": "a", "name": "a\0"}, {"state": "a", "project": " x"},
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(context, bad):
    with pytest.raises(Invalid):
        service.create(context, NewView(**bad))
