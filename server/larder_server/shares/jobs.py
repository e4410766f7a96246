"""What shares do by the clock."""

from larder_server.shares import service

TIMERS = [(10.0, service.remember_opened)]
