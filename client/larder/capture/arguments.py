"""The arguments of a script, defaults included, from argparse, click, Hydra and dataclasses; overrides go back in.

A script mostly parses its arguments before it begins a run: what was parsed already is found in the variables of
the callers. What is parsed later, or under the start hook, passes through the patches.
"""

import dataclasses
import functools
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from larder import params
from larder.capture import frames, values
from larder.contract.values import Param
from larder.integrations import active, imports

SOURCE = "arguments"

_NAMES = frozenset(("args", "arguments", "cfg", "conf", "config", "flags", "hparams", "opts", "options", "params"))
"""Last words of the variables in which a dataclass instance is taken for arguments of the script."""

_parsing = threading.local()
_recorded: dict[int, "weakref.ref[Any]"] = {}


def install() -> None:
    """Let the patches wait for argparse, click and Hydra."""
    imports.when_imported("argparse", key=SOURCE, patch=_watched(_patch_argparse))
    imports.when_imported("click.core", key=SOURCE, patch=_watched(_patch_click))
    imports.when_imported("hydra.main", key=SOURCE, patch=_watched(_patch_hydra))


def begin(run: active.Recorder) -> str:
    """Install the patches, and record what the callers have parsed already."""
    install()
    _find_parsed(run)
    return "active"


def _watched(patch: imports.Patch) -> imports.Patch:
    def watched_patch(module: ModuleType) -> None:
        with active.watched(SOURCE):
            patch(module)

    return watched_patch


def _record(
    run: active.Recorder,
    found: Mapping[str, Any],
    *,
    source: str,
    put: Callable[[str, Param], None],
) -> None:
    """Record the values found, and `put` each override whose value is not there yet."""
    flat = params.flat(found)
    run.record_params(dict(flat), source=source)
    for name, override in run.overrides.items():
        if name in flat and params.plain(flat[name]) != override:
            with active.watched(SOURCE):  # one that does not fit leaves the others
                put(name, override)


# -- argparse ------------------------------------------------------------------------------------------------------


def _patch_argparse(argparse: Any) -> None:
    original = argparse.ArgumentParser.parse_known_args

    @functools.wraps(original)
    def parse_known_args(self: Any, *args: Any, **kwargs: Any) -> Any:
        outer = getattr(_parsing, "parsers", None)
        if outer is not None:  # a sub-parser, called by its parser
            outer.append(self)
            return original(self, *args, **kwargs)
        _parsing.parsers = [self]
        try:
            result = original(self, *args, **kwargs)
            parsers = _parsing.parsers
        finally:
            _parsing.parsers = None
        with active.watched(SOURCE):
            if _called_by_user(self):
                _record_namespace(result[0], parsers)
        return result

    argparse.ArgumentParser.parse_known_args = parse_known_args


def _called_by_user(parser: Any) -> bool:
    # A library that parses its own command line (a launcher, a test runner) says nothing about the experiment; a
    # library's parser class (transformers' HfArgumentParser) called by a script does.
    modules = {kind.__module__ for kind in type(parser).__mro__} | {"argparse", __name__}
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in modules:
        frame = frame.f_back
    return frames.is_user_code(frame)


def _record_namespace(namespace: Any, parsers: list[Any]) -> None:
    run = active.current(SOURCE)
    if run is None:
        return
    actions = {action.dest: action for parser in parsers for action in parser._actions}

    def put(name: str, override: Param) -> None:
        action = actions.get(name)
        value = getattr(namespace, name)
        setattr(namespace, name, values.revived(override, value) if action is None else _typed(action, override, value))

    _recorded[id(namespace)] = weakref.ref(namespace)
    _record(run, vars(namespace), source="argparse", put=put)


def _typed(action: Any, override: Param, value: Any) -> Any:
    """An override as the command line would have given it."""
    if override is None:
        return None
    if action.nargs == 0:  # store_true, count, …
        return values.truth(override) if isinstance(action.const, bool) else values.revived(override, value)
    if isinstance(value, bool) or action.__class__.__name__ == "BooleanOptionalAction":
        return values.truth(override)
    convert = action.type if callable(action.type) else None
    if action.nargs not in (None, "?") or isinstance(value, list):
        return [_converted(convert, each) for each in values.items(override)]
    if convert is None and not isinstance(value, str | None):
        return values.revived(override, value)
    return _converted(convert, override)


def _converted(convert: Callable[[Any], Any] | None, override: Any) -> Any:
    if convert is None:
        return str(override)
    # The function is written for text; for a number that is one already, 64.0 shall not fail in int("64.0").
    if isinstance(override, int | float) and convert in (int, float):
        return convert(override)
    return convert(override if isinstance(override, str) else str(override))


# -- click ---------------------------------------------------------------------------------------------------------


def _patch_click(click: Any) -> None:
    original = click.Command.invoke

    @functools.wraps(original)
    def invoke(self: Any, ctx: Any) -> Any:
        with active.watched(SOURCE):
            _record_context(ctx, active.current)
        return original(self, ctx)

    click.Command.invoke = invoke


def _record_context(ctx: Any, current: Callable[[str], active.Recorder | None]) -> None:
    callback = getattr(ctx.command.callback, "__wrapped__", ctx.command.callback)
    module = str(getattr(callback, "__module__", ""))
    code = getattr(callback, "__code__", None)
    if not ctx.params or module.partition(".")[0] == "larder" or code is None or frames.is_library(code.co_filename):
        return
    run = current(SOURCE)
    if run is None:
        return
    parameters = {parameter.name: parameter for parameter in ctx.command.params}

    def put(name: str, override: Param) -> None:
        parameter, value = parameters.get(name), ctx.params[name]
        if parameter is None or override is None:
            ctx.params[name] = override
        elif parameter.nargs != 1 or getattr(parameter, "multiple", False):
            ctx.params[name] = parameter.type_cast_value(ctx, values.items(override))
        elif isinstance(value, bool):
            ctx.params[name] = values.truth(override)
        else:
            ctx.params[name] = parameter.type_cast_value(ctx, str(override))

    _record(run, ctx.params, source="click", put=put)


# -- Hydra ---------------------------------------------------------------------------------------------------------


def _patch_hydra(main: Any) -> None:
    original = main._run_hydra

    @functools.wraps(original)
    def run_hydra(*args: Any, **kwargs: Any) -> Any:
        task = kwargs.get("task_function")
        if task is not None:
            kwargs["task_function"] = _recording_task(task)
            kwargs.setdefault("caller_stack_depth", 3)  # we are one frame more
        return original(*args, **kwargs)

    main._run_hydra = run_hydra


def _recording_task(task: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(task)
    def recording_task(config: Any) -> Any:
        with active.watched(SOURCE):
            run = active.current(SOURCE)
            if run is not None:
                _record_config(run, config)
        return task(config)

    return recording_task


def _record_config(run: active.Recorder, config: Any) -> None:
    # Of omegaconf we only need what has brought the configuration to us.
    omegaconf: Any = sys.modules["omegaconf"]

    def put(name: str, override: Param) -> None:
        old = omegaconf.OmegaConf.select(config, name)
        if omegaconf.OmegaConf.is_list(old):
            value: Any = values.items(override)
        else:
            value = values.revived(override, old)
        with omegaconf.read_write(config), omegaconf.open_dict(config):
            omegaconf.OmegaConf.update(config, name, value)

    _recorded[id(config)] = weakref.ref(config)
    container = omegaconf.OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    _record(run, container, source="hydra", put=put)


# -- parsed already ------------------------------------------------------------------------------------------------


def _find_parsed(run: active.Recorder) -> None:
    argparse: Any = sys.modules.get("argparse")
    omegaconf: Any = sys.modules.get("omegaconf")
    click: Any = sys.modules.get("click")
    seen: set[int] = set()
    for frame in frames.callers():
        for scope in (frame.f_locals, frame.f_globals):
            for name, value in list(scope.items()):
                kind = type(value)  # isinstance() would ask the value, which wakes lazy stand-ins up
                if id(value) in seen or kind is type:
                    continue
                if argparse is not None and issubclass(kind, argparse.Namespace):
                    seen.add(id(value))
                    if not _is_recorded(value):
                        _record_attributes(run, value, vars(value), source="argparse")
                elif omegaconf is not None and issubclass(kind, omegaconf.DictConfig):
                    seen.add(id(value))
                    if not _is_recorded(value):
                        _record_config(run, value)
                elif hasattr(kind, "__dataclass_fields__") and name.rpartition("_")[2] in _NAMES and _is_users(kind):
                    seen.add(id(value))
                    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
                    _record_attributes(run, value, fields, source="dataclass")
    context = click.get_current_context(silent=True) if click is not None else None
    chain: list[Any] = []
    while context is not None:
        chain.insert(0, context)
        context = context.parent
    for each in chain:
        _record_context(each, lambda _: run)


def _is_recorded(value: Any) -> bool:
    reference = _recorded.get(id(value))
    return reference is not None and reference() is value


def _is_users(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    return module is not None and not frames.is_library(getattr(module, "__file__", None) or "<typed>")


def _record_attributes(run: active.Recorder, holder: Any, found: Mapping[str, Any], *, source: str) -> None:
    def put(name: str, override: Param) -> None:
        *path, last = name.split(".")
        inner = holder
        for part in path:
            inner = inner[part] if isinstance(inner, dict) else getattr(inner, part)
        if isinstance(inner, dict):
            inner[last] = values.revived(override, inner[last])
        else:
            object.__setattr__(inner, last, values.revived(override, getattr(inner, last)))  # frozen ones too

    _record(run, found, source=source, put=put)
