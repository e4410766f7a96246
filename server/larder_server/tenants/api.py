"""Tenants over HTTP."""

from larder.contract import tenants
from larder_server.kernel.routing import bind
from larder_server.tenants import service

ROUTES = [
    bind(tenants.WHOAMI, service.whoami),
    bind(tenants.ISSUE_TOKEN, service.issue),
    bind(tenants.LIST_TOKENS, service.tokens),
    bind(tenants.REVOKE_TOKEN, service.revoke),
    bind(tenants.LIST_USERS, service.users),
    bind(tenants.CHANGE_USER, service.change_user),
]
