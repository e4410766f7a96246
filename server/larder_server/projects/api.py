"""Projects over HTTP."""

from larder.contract import projects
from larder_server.kernel.routing import bind
from larder_server.projects import service

ROUTES = [bind(projects.LIST, service.every), bind(projects.CREATE, service.create)]
