"""Do something to a module as soon as somebody has imported it, and import nothing for it."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec
from types import ModuleType

Patch = Callable[[ModuleType], None]

_waiting: dict[str, dict[str, Patch]] = {}
_done: set[tuple[str, str]] = set()


def when_imported(name: str, *, key: str, patch: Patch) -> None:
    """Call `patch` with module `name`: now when it is there, else after its import; once for each `key`.

    `patch` must not raise: it runs inside the user's import statement.
    """
    if (name, key) in _done:
        return
    module = sys.modules.get(name)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        _done.add((name, key))
        patch(module)
        return
    _waiting.setdefault(name, {})[key] = patch
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def installed(package: str) -> bool:
    """Whether a top-level package could be imported; nothing is."""
    if package in sys.modules:
        return True
    return any(finder.find_spec(package, None) is not None for finder in sys.meta_path if hasattr(finder, "find_spec"))


class _Finder:
    """Finds nothing itself: lets the others find, and adds a last step to the execution of awaited modules."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _waiting:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                _extend(spec, fullname)
                return spec
        return None


_finder = _Finder()


def _extend(spec: ModuleSpec, name: str) -> None:
    loader = spec.loader
    if loader is None:
        return
    execute = loader.exec_module

    def execute_and_patch(module: ModuleType) -> None:
        if getattr(module, "__name__", "") != name:  # a loader that serves several modules, such as that of a zip file
            execute(module)
            return
        with suppress(AttributeError):
            del loader.exec_module
        execute(module)
        for key, patch in _waiting.pop(name, {}).items():
            if (name, key) not in _done:
                _done.add((name, key))
                patch(module)

    # The loader itself stays in place: a stand-in would hide its other abilities (sources, resources) from the user.
    # A loader that takes no attribute, such as the one of built-in modules, leaves the module unpatched.
    with suppress(AttributeError, TypeError):
        loader.exec_module = execute_and_patch  # type: ignore[method-assign]
