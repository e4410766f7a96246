"""A warm parent: imports what runs of its kind import, then forks a process for each order, which executes the script.

It runs in the interpreter of an environment, see `sitecustomize` beside it, and knows only the standard library. What
it cannot promise to be as in a fresh interpreter it says at once, as a refusal, and the agent starts such runs cold.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import importlib.machinery
import json
import os
import random
import signal
import socket
import stat
import sys
import threading
import time
import warnings
from types import CodeType, FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Callable  # noqa: UP035  any interpreter may execute this

if TYPE_CHECKING:
    from larder.agent.executors import keeper
else:
    import _larder_keeper as keeper  # under this name `sitecustomize` has loaded it

CHANNEL = "LARDER_WARM_PARENT"
"""The variable with the descriptor of the socket to the agent."""

OWN = ("larder.recording", "larder.recording.run", "larder.capture.arguments", "larder.media", "larder.serial")
"""Modules of ours that a recorded script comes to need."""

_HARMLESS = ("/dev/null", "/dev/random", "/dev/urandom")
_NEVER_SPARED = ("__main__", "builtins", "sys", "runpy")
_FORKING = ("jemalloc_bg_thd",)
_LOOKING = frozenset(("exists", "isfile", "isdir", "is_file", "is_dir", "lexists", "stat"))
_SEEDING = (random.Random.seed.__code__, random.Random.setstate.__code__)


class Refusal(Exception):
    """Runs of this kind start cold. `module`: without it, they might be started warm."""

    def __init__(self, why: str, module: str = "") -> None:
        super().__init__(why)
        self.module = module


def serve(runpy: ModuleType) -> Callable[..., Any]:
    """Imports, and forks for each order; returns what the interpreter shall call, in a process that has an order."""
    channel = socket.socket(fileno=int(os.environ.pop(CHANNEL)))
    null = os.open(os.devnull, os.O_RDWR)
    for place in (1, 2):  # what was inherited there has shaped the streams; nobody reads it any more
        os.dup2(null, place)
    os.close(null)
    report: dict[str, Any]
    state: dict[str, Any] = {}
    try:
        asked = _line(channel)
        report, state = _prepared(asked, channel.fileno())
    except Refusal as refusal:
        report = {"refused": str(refusal), "module": refusal.module}
    except Exception as error:  # the edge of the process: the agent hears of it, and starts cold
        report = {"refused": f"{type(error).__name__}: {error}", "module": ""}
    channel.sendall(json.dumps(report).encode() + b"\n")
    if "refused" in report:
        os._exit(0)
    try:
        os.setsid()  # Ctrl-C in the agent's terminal is the agent's
    except OSError:
        pass
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    try:
        begun = _next(channel, functools.partial(_settle, state["generators"]))
    except OSError:
        begun = None
    if begun is None:
        os._exit(0)
    return _become(begun, runpy, **state)


def _next(channel: socket.socket, settle: Callable[[], None]) -> keeper.Begun | None:
    """Forks a keeper for each order; returns in the process that shall execute an order, with None at the end."""
    while True:
        received = keeper.receive(channel)
        if received is None:
            return None
        order, files = received
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            channel.close()
            try:
                keeper.keep(socket.socket(fileno=files[-1]), order, files[:-1], stay=True, settle=settle)
            except keeper.Begun as begun:
                return begun
        for descriptor in files:
            os.close(descriptor)


def _line(channel: socket.socket) -> dict[str, Any]:
    said = b""
    while not said.endswith(b"\n"):
        piece = channel.recv(1 << 16)
        if not piece:
            os._exit(0)
        said += piece
    found: dict[str, Any] = json.loads(said)
    return found


# -- what is imported ------------------------------------------------------------------------------------------------


def _prepared(asked: dict[str, Any], channel: int) -> tuple[dict[str, Any], dict[str, Any]]:
    if sys.implementation.name != "cpython" or sys.version_info < (3, 9):
        raise Refusal("its interpreter is not CPython 3.9 or later")
    names: list[str] = asked["imports"]
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    opened = _open()
    places: list[str] = []
    failed: dict[str, str] = {}
    fixed: list[Any] = []
    spared: list[ModuleType] = []
    atexit.register(_spare, spared)  # before the others, so that it comes after them
    if not getattr(sys.flags, "safe_path", False):
        sys.path_importer_cache.pop(sys.path.pop(0), None)  # the place of the script, for which there is none yet
    if "larder.capture" in sys.modules:
        for name in OWN:
            _import(name, failed, places, fixed)
    for name in names:
        if name not in sys.modules:
            _import(name, failed, places, fixed)
    gc.collect()
    _check(opened, channel)
    handlers = {number: signal.getsignal(number) for number, was in before.items() if signal.getsignal(number) != was}
    generators = _generators(fixed)
    files = _files(asked["stable"])
    spared += [module for name, module in sys.modules.items() if name not in _NEVER_SPARED]
    here = _kept(os.path.basename(os.getcwd()))
    _freeze()
    report = {
        "failed": failed,
        "files": files,
        "names": sorted({name.partition(".")[0] for name in sys.modules} - {"__main__", *sys.builtin_module_names}),
        "places": sorted(set(places)),
        "memory": keeper.memory([os.getpid()], shared=False),
    }
    return report, {"handlers": handlers, "here": here, "generators": generators, "coerced": os.environ.get("LC_CTYPE")}


def _import(name: str, failed: dict[str, str], places: list[str], fixed: list[Any]) -> None:
    """Imports a module; one that fails is left out, one whose import can be noticed later is a refusal."""
    top = name.partition(".")[0]
    if any(parent in failed for parent in (name, top)):
        return
    told = os.memfd_create("import") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
    null = os.open(os.devnull, os.O_RDWR)
    relative: list[str] = []
    try:
        for place in (1, 2):
            os.dup2(told, place)
        sys.setprofile(functools.partial(_look, relative, fixed))
        try:
            importlib.import_module(name)
        except BaseException as error:  # whatever a module may raise, it raises it in the script, too
            failed[name] = f"{type(error).__name__}: {error}"
        finally:
            sys.setprofile(None)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        if os.lseek(told, 0, os.SEEK_CUR):
            raise Refusal("its import prints something", name)
        if random._inst in fixed:  # type: ignore[attr-defined]
            raise Refusal("its import sets random numbers", name)
        places += relative
    finally:
        for place in (1, 2):
            os.dup2(null, place)
        os.close(null)
        os.close(told)


def _look(relative: list[str], fixed: list[Any], frame: FrameType, event: str, function: Any) -> None:
    """Notes what an import looks for in the working folder, another for each run, and which generators it sets."""
    code = frame.f_code
    if event == "call":
        if code in _SEEDING and frame.f_locals.get(code.co_varnames[1]) is not None:
            fixed.append(frame.f_locals["self"])
    elif event == "c_call" and getattr(function, "__name__", "") in ("stat", "lstat"):
        place = frame.f_locals.get(code.co_varnames[0]) if code.co_name in _LOOKING and code.co_argcount else None
        if isinstance(place, (str, os.PathLike)):
            text = os.fspath(place)
            if isinstance(text, str) and text and not text.startswith(("/", "~")):
                relative.append(text)


def _generators(fixed: list[Any]) -> list[Any]:
    """The generators of random numbers that were seeded from the system, as each process of a script seeds its own."""
    found = []
    for each in gc.get_objects():
        if isinstance(each, random.Random):
            if not isinstance(each, random.SystemRandom) and not any(each is other for other in fixed):
                found.append(each)
        elif type(each).__name__ in ("Generator", "RandomState") and str(type(each).__module__).startswith("numpy."):
            sequence = each._bit_generator.seed_seq
            # Without a sequence it was set to a number, as with a sequence of few bits; either way it shall stay so.
            if sequence is not None and not (isinstance(sequence.entropy, int) and sequence.entropy < 1 << 64):
                found.append(each)
    return found


def _check(opened: dict[int, str], channel: int) -> None:
    """Refuses what cannot be shared between processes: threads, descriptors, GPUs."""
    if threading.active_count() > 1:
        names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        raise Refusal(f"its imports start threads: {', '.join(names)}")
    for descriptor, place in _open().items():
        if descriptor not in opened and descriptor != channel and place not in _HARMLESS:
            raise Refusal(f"its imports leave {place} open")
    torch = sys.modules.get("torch")
    if torch is not None and getattr(torch, "cuda", None) is not None and torch.cuda.is_initialized():
        raise Refusal("its imports use a GPU")
    # A library such as OpenBLAS ends its threads before a fork, and starts new ones when it needs them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    left = _threads()
    if left:
        raise Refusal(f"its imports start threads of a library, which do not survive a fork: {', '.join(left)}")


def _threads() -> list[str]:
    """The names of the threads beside the main one, except those that know how to fork."""
    found = []
    for task in os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else ():
        with contextlib.suppress(OSError):
            if int(task) != os.getpid():
                with open(f"/proc/self/task/{task}/comm") as file:
                    found.append(file.read().strip())
    return [name for name in found if name not in _FORKING]


def _open() -> dict[int, str]:
    found = {}
    for entry in os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"):
        with contextlib.suppress(OSError):
            number = int(entry)
            found[number] = _described(number)
    return found


def _described(descriptor: int) -> str:
    about = os.fstat(descriptor)
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return f"a descriptor of kind {stat.S_IFMT(about.st_mode):o}"


def _kept(place: str) -> list[tuple[dict[str, Any], str]]:
    """Where modules keep the working folder, which is an empty one of ours with a name like no other."""
    modules = {id(vars(module)): name for name, module in list(sys.modules.items()) if isinstance(module, ModuleType)}
    found = []
    for holder in gc.get_objects():
        if isinstance(holder, FrameType) or not _holds(holder, place):
            continue
        if id(holder) not in modules:
            raise Refusal(f"its imports keep the working folder in a {type(holder).__name__}")
        for name, value in list(holder.items()):
            if type(value) is str and place in value:
                if value != os.getcwd():
                    raise Refusal("its import keeps a place in the working folder", modules[id(holder)])
                found.append((holder, name))
    return found


def _spare(modules: list[ModuleType]) -> None:
    """Keeps what came from the parent out of the end of an interpreter, which would copy all of its pages to free them.

    The script's own modules end as ever. Nothing runs in those of libraries but what they have registered, before this.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(modules))
    vars(sys.modules["runpy"])["_run_module_as_main"] = None  # it holds the script's variables
    kept = {id(module) for module in modules}
    for name in [name for name, module in sys.modules.items() if id(module) in kept]:
        del sys.modules[name]


def _freeze() -> None:
    """Lets the collector of a child leave the shared pages alone, but for what will hold the objects of the script."""
    main = sys.modules["__main__"]
    track, untrack = (
        ctypes.PYFUNCTYPE(None, ctypes.py_object)((name, ctypes.pythonapi))
        for name in ("PyObject_GC_Track", "PyObject_GC_UnTrack")
    )
    for each in (main, vars(main)):
        untrack(each)
    gc.freeze()
    for each in (main, vars(main)):
        track(each)


def _holds(holder: Any, text: str) -> bool:
    for each in gc.get_referents(holder):  # noqa: SIM110  an expression would keep the text in a cell of its own
        if type(each) is str and text in each:
            return True
    return False


def _files(stable: list[str]) -> list[list[Any]]:
    """The files of all modules that are not below one of the `stable` folders, which nobody changes, as they are now."""
    found = []
    kept = tuple(os.path.join(place, "") for place in stable)
    places = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for place in sorted(each for each in places if isinstance(each, str)):
        if kept and place.startswith(kept):
            continue
        with contextlib.suppress(OSError):
            about = os.stat(place)
            found.append([place, about.st_mtime_ns, about.st_size])
    return found


# -- the process of a script -----------------------------------------------------------------------------------------


def _become(
    begun: keeper.Begun,
    runpy: ModuleType,
    *,
    handlers: dict[int, Any],
    here: list[tuple[dict[str, Any], str]],
    generators: list[Any],
    coerced: str | None,
) -> Callable[..., Any]:
    """Puts this process into the state of an interpreter that has just been started with the command of the order."""
    order = begun.order
    command: list[str] = order["command"]
    cwd = os.getcwd()
    as_module = command[1] == "-m"
    script = os.path.join(cwd, command[1])
    code = None if as_module else _compiled(script)
    if code is None and not as_module:
        # The interpreter has its own words for what is no program.
        begun.wait()
        os.execve(command[0], command, order["env"])
    os.environ.clear()
    os.environ.update(order["env"])
    if coerced is not None:
        os.environ["LC_CTYPE"] = coerced  # the interpreter itself sets it where there is no locale
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for changed, handler in handlers.items():
        if handler is not None:
            signal.signal(changed, handler)
    for module, name in here:
        module[name] = cwd
    _seed(generators)
    _record()
    sys.orig_argv = list(command)
    first = cwd if as_module else os.path.dirname(os.path.realpath(command[1]))
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, first)
    _extend_path(order["env"].get("PYTHONPATH", ""), cwd)
    for name in ("_larder_keeper", "_larder_parent"):
        sys.modules.pop(name, None)
    begun.wait()
    if as_module:
        sys.argv = ["-m", *command[3:]]
        call = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object)
        # What the interpreter passes on top is left unread by these functions, as C allows.
        run = call(("PyObject_CallObject", ctypes.pythonapi))
        return functools.partial(run, runpy._run_module_as_main, (command[2],))
    sys.argv = command[1:]
    main = sys.modules["__main__"].__dict__
    main["__file__"] = script
    main["__cached__"] = None
    main["__loader__"] = importlib.machinery.SourceFileLoader("__main__", script)
    call = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.py_object)
    return functools.partial(call(("PyEval_EvalCode", ctypes.pythonapi)), code, main, main)


def _compiled(path: str) -> CodeType | None:
    try:
        with open(path, "rb") as file:
            code: CodeType = compile(file.read(), path, "exec", dont_inherit=True)
    except Exception:
        return None
    return code


def _settle(generators: list[Any]) -> None:
    """What can be done before there is an order: it copies most of the pages that the start of a script changes."""
    _seed(generators)
    os.environ.update(dict(os.environ))
    compile("import sys\n\n\ndef nothing(of=sys):\n    return {of: [of]}\n", "-", "exec", dont_inherit=True)


def _seed(generators: list[Any]) -> None:
    """What was drawn from the system when it was imported is drawn anew: random numbers, keys, the time."""
    for each in generators:
        if isinstance(each, random.Random):
            each.seed()
        else:
            source = each._bit_generator
            source.state = type(source)().state
            if hasattr(each, "set_state"):
                each.set_state({**each.get_state(legacy=False), "has_gauss": 0, "gauss": 0.0})
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process()._config["authkey"] = process.AuthenticationString(os.urandom(32))
    logging = sys.modules.get("logging")
    if logging is not None:  # the time to which its records relate
        began = time.time_ns() if isinstance(getattr(logging, "_startTime", 0.0), int) else time.time()
        logging._startTime = began  # type: ignore[attr-defined]


def _record() -> None:
    """The work of our start hook that depends on the run."""
    active = sys.modules.get("larder.integrations.active")
    recording = sys.modules.get("larder.recording")
    if active is not None and recording is not None and os.environ.get("LARDER_HOOK") == "1":
        active.attach_with(recording.attach if os.environ.get("LARDER_RUN") else None)


def _extend_path(given: str, cwd: str) -> None:
    """The folders of PYTHONPATH that the parent did not have, at their places."""
    after = 0 if getattr(sys.flags, "safe_path", False) else 1
    for entry in given.split(os.pathsep) if given else ():
        place = os.path.abspath(os.path.join(cwd, entry))
        if place in sys.path[after - 1 :] or place in sys.path:
            after = max(after, sys.path.index(place) + 1)
        else:
            sys.path.insert(after, place)
            after += 1
