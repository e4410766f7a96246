"""Makes an interpreter a warm parent: its folder is first on PYTHONPATH of `python -m larder-warm-parent`, and of nothing else.

The interpreter starts as it would for a script. When it then asks for `runpy`, to execute a module that does not exist,
`parent` takes over; each process forked there goes on from that point, so that the interpreter itself, without a
frame of ours below it, executes the script and ends as after any other. Standard library only.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))


class _Loader:
    """Loads the real `runpy`, then serves; it returns in a process that has an order to execute."""

    def __init__(self, parent: Any, real: Any) -> None:
        self.parent = parent
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return module_from_spec(self.real)

    def exec_module(self, module: Any) -> None:
        self.real.loader.exec_module(module)
        module.__spec__ = self.real
        module.__loader__ = self.real.loader
        if getattr(sys.modules.get("sitecustomize"), "__file__", None) == __file__:
            del sys.modules["sitecustomize"]
        module._run_module_as_main = self.parent.serve(module)


class _Finder:
    def __init__(self, parent: Any) -> None:
        self.parent = parent

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "runpy":
            return None
        sys.meta_path.remove(self)
        loader: Any = _Loader(self.parent, find_spec(name))
        return ModuleSpec(name, loader)


def _load(name: str, path: str) -> ModuleType:
    spec: Any = spec_from_file_location(name, path)
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and the like look there
    spec.loader.exec_module(module)
    return module


def _begin() -> None:
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != _HERE]
    sys.path_importer_cache.pop(_HERE, None)
    _load("_larder_keeper", os.path.join(os.path.dirname(_HERE), "executors", "keeper.py"))
    parent = _load("_larder_parent", os.path.join(_HERE, "parent.py"))
    sys.modules.pop("runpy", None)  # something in the environment may have asked for it before us
    sys.meta_path.insert(0, _Finder(parent))


def _chain() -> None:
    # The module of this name further down the path, that a script would have had.
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_begin()
_chain()
