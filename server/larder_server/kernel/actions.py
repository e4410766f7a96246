"""Named things the platform can do by itself; slices offer them, clocks and triggers perform them."""

from collections.abc import Callable
from typing import Any

from larder.contract.errors import NotFound
from larder_server.kernel.context import Context

Action = Callable[..., object]


class Actions:
    """Actions by name; filled once by the composition root."""

    def __init__(self, actions: dict[str, Action]) -> None:
        self._by_name = dict(actions)

    def perform(self, context: Context, name: str, **arguments: Any) -> object:
        """Do the named action in this transaction; NotFound names those that exist."""
        if name not in self._by_name:
            raise NotFound(f"there is no action {name!r}", hint="known: " + ", ".join(sorted(self._by_name)))
        return self._by_name[name](context, **arguments)
