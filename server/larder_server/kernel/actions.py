"""Named things the platform can do by itself; slices offer them, clocks and triggers perform them."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from larder.contract.errors import Invalid, NotFound
from larder_server.kernel.context import Context

Action = Callable[..., object]


class Actions:
    """Actions by name; filled once by the composition root."""

    def __init__(self, actions: Mapping[str, Action]) -> None:
        self._by_name = dict(actions)

    def check(self, name: str, arguments: Mapping[str, Any]) -> None:
        """NotFound: there is no such action, the hint names those that exist. Invalid: it takes other arguments."""
        if name not in self._by_name:
            raise NotFound(
                f"there is no action {name[:100]!r}", field="action", hint="known: " + ", ".join(sorted(self._by_name))
            )
        taken = [
            each
            for each in inspect.signature(self._by_name[name]).parameters.values()
            if each.kind is each.KEYWORD_ONLY
        ]
        lacking = [each.name for each in taken if each.default is each.empty and each.name not in arguments]
        unknown = sorted(set(arguments) - {each.name for each in taken})
        if lacking or unknown:
            raise Invalid(
                f"the action {name} needs {lacking[0]}" if lacking else f"the action {name} takes no {unknown[0][:100]!r}",
                field="arguments", hint="it takes: " + ", ".join(each.name for each in taken),
            )  # fmt: skip

    def perform(self, context: Context, name: str, **arguments: Any) -> object:
        """Do the named action in this transaction. NotFound, Invalid: as `check` says."""
        self.check(name, arguments)
        return self._by_name[name](context, **arguments)
