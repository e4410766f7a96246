"""What datasets do by the clock."""

from larder.contract.tenants import Identity
from larder_server.datasets import service
from larder_server.kernel.runtime import Runtime
from larder_server.kernel.steps import Steps


def _collect(runtime: Runtime, identity: Identity) -> object:
    return service.collect_daily(Steps(runtime=runtime, identity=identity))


TIMERS = [(600.0, service.expire)]
CHORES = [(1_800.0, _collect)]
