"""Comparisons over HTTP."""

from larder.contract import comparisons
from larder_server.comparisons import service
from larder_server.kernel.routing import bind

ROUTES = [
    bind(comparisons.COMPARE, service.compare),
    bind(comparisons.CONSOLE, service.console),
    bind(comparisons.EXPLAIN, service.explain),
    bind(comparisons.PICTURES, service.pictures),
]
