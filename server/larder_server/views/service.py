"""What one can do with views."""

from dataclasses import replace

from larder.contract.endpoint import Nothing
from larder.contract.errors import Invalid, NotFound
from larder.contract.ids import new_id
from larder.contract.views import ChangeView, NewView, View, ViewQuery, Views
from larder_server.kernel.context import Context
from larder_server.projects import service as projects
from larder_server.views import events, rules, store


def every(context: Context, query: ViewQuery) -> Views:
    """The named views that the asker may see, by name."""
    return Views(views=store.listed(context, page=query.page, project=query.project, user=context.user))


def create(context: Context, order: NewView) -> View:
    """Keep a state; without a name, one that is kept already is answered. Invalid: a part of it cannot be."""
    page, name, state = rules.page(order.page), rules.name(order.name), rules.state(order.state)
    if order.project:
        projects.check_name(order.project)
    now = context.clock.now()
    view = View(
        id=new_id()[-12:] if name else rules.short_id(context.tenant, page, state), page=page, state=state, name=name,
        project=order.project, shared=order.shared or not name, user=context.user, created=now, changed=now,
    )  # fmt: skip
    if not store.insert(context, view):
        found = store.find(context, view.id)
        assert found is not None, "the insert met a row of that id"
        return found
    if name:
        context.emit(events.created(view.id, name=name, page=page, project=order.project))
    return view


def get(context: Context, _: Nothing, view_id: str) -> View:
    """A view. NotFound."""
    return _found(context, view_id)


def change(context: Context, order: ChangeView, view_id: str) -> View:
    """Rename, share or replace a named view. NotFound; Denied: it is somebody else's; Invalid: a part cannot be."""
    view = _found(context, view_id, lock=True)
    rules.may_change(view, user=context.user, role=context.role)
    if order.name is not None and not rules.name(order.name):
        raise Invalid("a view that is listed has a name", field="name")
    changes = {
        "name": None if order.name is None else rules.name(order.name),
        "state": None if order.state is None else rules.state(order.state),
        "shared": order.shared,
    }
    fields = [field for field, value in changes.items() if value is not None and value != getattr(view, field)]
    if fields:
        view = replace(view, changed=context.clock.now(), **{field: changes[field] for field in fields})  # type: ignore[arg-type]
        store.update(context, view)
        context.emit(events.changed(view.id, fields=fields))
    return view


def delete(context: Context, _: Nothing, view_id: str) -> Nothing:
    """Delete a named view. NotFound; Denied: it is somebody else's."""
    view = _found(context, view_id, lock=True)
    rules.may_change(view, user=context.user, role=context.role)
    store.delete(context, view.id)
    context.emit(events.deleted(view.id, name=view.name))
    return Nothing()


def _found(context: Context, view_id: str, *, lock: bool = False) -> View:
    view = store.find(context, view_id, lock=lock)
    if view is None:
        raise NotFound(f"there is no view {view_id[:100]}", hint="it may have been deleted")
    return view
