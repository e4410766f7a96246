"""What queues do by the clock."""

from larder_server.queues import service

TIMERS = [(1.0, service.expire)]
