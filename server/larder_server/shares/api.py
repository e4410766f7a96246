"""Shares over HTTP."""

from larder.contract import shares
from larder_server.kernel.routing import bind
from larder_server.shares import service

ROUTES = [
    bind(shares.CREATE, service.create),
    bind(shares.LIST, service.every),
    bind(shares.REVOKE, service.revoke),
    bind(shares.POLICY, service.policy),
    bind(shares.CHANGE_POLICY, service.change_policy),
    bind(shares.OPEN, service.open_),
]
