"""Work that takes its time: several views and transactions of its own, and nothing is locked in between."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from larder.contract.endpoint import Role
from larder.contract.tenants import Identity
from larder_server.kernel.context import Context
from larder_server.kernel.objects import ObjectStore
from larder_server.kernel.runtime import Runtime

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Steps:
    """One request or chore that opens its contexts itself. What one step has seen may be otherwise in the next."""

    runtime: Runtime
    identity: Identity
    role: Role = Role.VIEWER

    @property
    def tenant(self) -> str:
        """Whose work it is."""
        return self.identity.tenant

    @property
    def objects(self) -> ObjectStore:
        """The bytes."""
        return self.runtime.objects

    def now(self) -> int:
        """The time, in UTC microseconds."""
        return self.runtime.clock.now()

    def view(self, work: Callable[[Context], Result]) -> Result:
        """Look at one consistent view."""
        return self.runtime.view(self.identity, self._checked(work))

    def transact(self, work: Callable[[Context], Result]) -> Result:
        """Do work in one transaction; it may be done more than once, so it must have no effect elsewhere."""
        return self.runtime.transact(self.identity, self._checked(work))

    def _checked(self, work: Callable[[Context], Result]) -> Callable[[Context], Result]:
        def checked(context: Context) -> Result:
            context.require(self.role)
            return work(context)

        return checked
