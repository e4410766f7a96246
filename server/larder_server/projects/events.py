"""What projects announce."""

from larder_server.kernel.outbox import Event


def created(project_id: str, *, name: str) -> Event:
    return Event(name="projects.created", subject=project_id, data={"name": name})
