"""What tenants do by the clock."""

from larder_server.tenants import service

TIMERS = [(10.0, service.remember_used)]
