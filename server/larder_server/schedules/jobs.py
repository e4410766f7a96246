"""What event doors do by the clock, and the action that they have themselves."""

from larder_server.kernel.context import Context
from larder_server.schedules import rules, service


def _keep(_: Context) -> None:
    """Nothing more: the event is written down, with what it says."""


ACTIONS = {rules.KEEP: _keep}

TIMERS = [(3_600.0, service.forget)]
