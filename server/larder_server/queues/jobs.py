"""What queues do by the clock, and which events end what they remember."""

from larder_server.queues import events, service

TIMERS = [(1.0, service.expire), (5.0, service.remember_agents), (3600.0, service.forget)]
FORGETS = {events.JOB_WAITING: service.empty_until, events.AGENT_CALLED: service.told_until}
