"""What queues do by the clock."""

from larder_server.queues import service

TIMERS = [(1.0, service.expire), (5.0, service.remember_agents), (3600.0, service.forget)]
