"""What one can do with projects."""

from larder.contract.endpoint import Nothing
from larder.contract.ids import new_id
from larder.contract.projects import NewProject, Project, Projects
from larder_server.kernel.context import Context
from larder_server.projects import events, rules, store


def ensure(context: Context, name: str, description: str = "", *, field: str = "project") -> Project:
    """The project of that name, made where it does not exist; Invalid, about `field`, when no project can be named so."""
    found = store.by_name(context, rules.name(name, field))
    if found is not None:
        return found
    project = Project(id=new_id(), name=name, description=description, created=context.clock.now())
    if store.insert(context, project):
        context.emit(events.created(project.id, name=name))
        return project
    found = store.by_name(context, name)
    assert found is not None, "the insert met a row of that name"
    return found


def check_name(name: str, *, field: str = "project") -> str:
    """The name, when a project can be called so; Invalid, about `field`, otherwise."""
    return rules.name(name, field)


def create(context: Context, order: NewProject) -> Project:
    """Make a project, or answer the one of that name."""
    return ensure(context, order.name, rules.description(order.description), field="name")


def every(context: Context, _: Nothing) -> Projects:
    """All projects, by name."""
    return Projects(projects=store.all_by_name(context))
