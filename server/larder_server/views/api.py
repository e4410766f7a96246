"""Views over HTTP."""

from larder.contract import views
from larder_server.kernel.routing import bind
from larder_server.views import service

ROUTES = [
    bind(views.LIST, service.every),
    bind(views.CREATE, service.create),
    bind(views.GET, service.get),
    bind(views.CHANGE, service.change),
    bind(views.DELETE, service.delete),
]
