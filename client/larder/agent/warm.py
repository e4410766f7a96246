"""Starts scripts from a parent that has imported what they import; whatever is not known to be safe starts cold."""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from larder import supervise
from larder.agent.executors import Order, keeper, limits
from larder.agent.executors.process import ProcessExecution, ProcessExecutor, Standby, gpus

MOST = 4
"""Parents that are kept."""

AHEAD = 1
"""Processes that wait for their order, in all; of each parent one at most."""

IDLE = 600.0
"""Seconds after which a parent that nobody asked is ended."""

SHARE = 0.1
"""Of the machine's memory, what all parents together may hold."""

SHORT = 0.05
"""Of the machine's memory: with less than this available, no process waits for its order."""

PATIENCE = 120.0
"""Seconds that the imports of a parent may take."""

NAME = "larder-warm-parent"

_NURSERY = Path(__file__).with_name("nursery")
_CHANNEL = "LARDER_WARM_PARENT"
_OF_A_RUN = frozenset(
    ("LARDER_RUN", "LARDER_ATTEMPT", "LARDER_PARAMS", "LARDER_TOKEN", "LARDER_MAIN", "LARDER_CHECKPOINT")
)
"""Variables that differ from run to run, and that nothing reads when it is imported."""

_NEVER = ("PYTHONINSPECT", "PYTHONPROFILEIMPORTTIME", "PYTHONDUMPREFS", "PYTHONVERBOSE", "PYTHONHOME")
_TRIES = 4
_MEMORY_PAUSE = 10.0
_BEHIND = 0.005
_KEEPERS = 2
_FORGOTTEN = 1000


@dataclass(frozen=True)
class _Kind:
    """What runs share that are started from one parent."""

    python: str
    env: tuple[tuple[str, str], ...]
    imports: tuple[str, ...]

    @property
    def key(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()


class WarmExecutor(ProcessExecutor):
    """A process executor that forks scripts from warm parents. Safe to use from several threads.

    The first order of a kind starts cold, and a parent for the next is made in the background. `stable` are folders
    whose files nobody changes, such as built environments. `ahead` processes may wait for their order, already forked
    and in control groups of their own. `say` hears why runs start cold that might not.
    """

    def __init__(
        self,
        *,
        most: int = MOST,
        ahead: int = AHEAD,
        idle: float = IDLE,
        memory: int = 0,
        stable: Sequence[Path] = (),
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        super().__init__()
        self.used_ahead = 0
        self._most = most
        self._ahead = ahead
        self._idle = idle
        self._memory = memory or int(SHARE * _memory_of_machine())
        self._stable = [str(place.resolve()) for place in stable]
        self._say = say
        self._changed = threading.Condition()
        self._parents: OrderedDict[str, _Parent] = OrderedDict()
        self._cold: OrderedDict[str, str] = OrderedDict()
        self._wanted: tuple[_Kind, tuple[str, ...]] | None = None
        self._making: str = ""
        self._maker: threading.Thread | None = None
        self._owed: dict[_Parent, tuple[str, ...]] = {}
        self._keeping: threading.Thread | None = None
        self._closed = False

    def start(self, order: Order) -> ProcessExecution:
        """Begin; OSError, with a sentence, when the command cannot begin."""
        try:
            return super().start(order)
        except OSError as error:
            if error.errno is not None or self.kind(order) is None:
                raise
            # What the command cannot do has a number; without one, it was the parent that died.
            return super().start(dataclasses.replace(order, cold=True))

    def close(self) -> None:
        """End the parents. What was started goes on until it ends or is stopped."""
        with self._changed:
            self._closed = True
            parents = list(self._parents.values())
            self._parents.clear()
            self._changed.notify_all()
            threads = [thread for thread in (self._maker, self._keeping) if thread is not None]
        for parent in parents:
            parent.close()
        for thread in threads:
            thread.join(5)
        super().close()

    def ready(self, order: Order, timeout: float = 0.0) -> bool:
        """Whether an order would start warm now, or within `timeout` seconds."""
        kind = self.kind(order)
        if kind is None:
            return False
        with self._changed:
            until = time.monotonic() + timeout
            while kind.key not in self._parents and kind.key not in self._cold:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return kind.key in self._parents

    def kind(self, order: Order) -> "_Kind | None":
        """What the order shares with those that are started from the same parent; None for one that starts cold."""
        return _kind(order, {**order.env, **gpus(order.limits.gpus)})

    def why_cold(self, order: Order) -> str:
        """Why runs such as this one always start cold; empty when they need not, or nobody has tried."""
        kind = self.kind(order)
        if kind is None:
            return "its command is not a Python script or module"
        with self._changed:
            return self._cold.get(kind.key, "")

    def _start(self, order: Order, *, after: Sequence[Sequence[str]] = ()) -> ProcessExecution:
        execution = None if after else self._start_ahead(order)
        return execution or super()._start(order, after=after)

    def _start_ahead(self, order: Order) -> ProcessExecution | None:
        """Gives the order to a process that waits for one; None when there is none that could take it."""
        kind = self.kind(order)
        parent = None if kind is None else self._find(kind)
        if parent is None or not parent.waits or not parent.suits(order):
            return None
        places = self._found()
        controllers = limits.controllers(places, order.limits)
        standby = parent.take(controllers)
        if standby is None:
            return None
        try:
            group = limits.limit(places, standby.name, order.limits)
        except OSError:
            standby.close()
            return None
        try:
            execution = standby.begin(*self._request(order, group), order.limits.gpus)
        except OSError as error:
            if error.errno is None:
                return None
            raise
        finally:
            self._owe(parent, controllers)
        execution.facts = {"start": "warm"}
        self.used_ahead += 1
        return execution

    def _spawn(self, order: Order, request: dict[str, Any], files: Sequence[int]) -> None:
        kind = self.kind(order)
        if kind is None:
            super()._spawn(order, request, files)
            return
        parent = self._find(kind)
        if parent is not None and parent.suits(order):
            try:
                parent.send(request, files)
                request["facts"] = {"start": "warm"}
                self._owe(parent, limits.controllers(self._found(), order.limits))
                return
            except OSError:
                self._drop(kind.key, parent)
        super()._spawn(order, request, files)
        self._want(kind, limits.controllers(self._found(), order.limits))

    # -- the processes that wait

    def _owe(self, parent: "_Parent", controllers: tuple[str, ...]) -> None:
        """Another process shall wait for an order like the last one."""
        with self._changed:
            if self._closed or not self._ahead:
                return
            self._owed[parent] = controllers
            if self._keeping is None:
                self._keeping = threading.Thread(target=self._keep_ahead, name="ahead", daemon=True)
                self._keeping.start()
            self._changed.notify_all()

    def _keep_ahead(self) -> None:
        while True:
            with self._changed:
                if not self._owed and not self._closed:
                    some = any(parent.waits for parent in self._parents.values())
                    self._changed.wait(_MEMORY_PAUSE if some else None)
                if self._closed:
                    return
                owed, self._owed = self._owed, {}
                parents = list(self._parents.values())
            if _available_memory() < SHORT * _memory_of_machine():
                for parent in parents:
                    parent.dismiss()
                continue
            for parent, controllers in owed.items():
                time.sleep(_BEHIND)  # its last order shall have the processors to begin
                parent.keep_ahead(self._found(), controllers)
            waiting = [parent for parent in parents if parent.waits]
            for parent in waiting[: max(0, len(waiting) - self._ahead)]:
                parent.dismiss()

    # -- the parents

    def _find(self, kind: _Kind) -> "_Parent | None":
        with self._changed:
            parent = self._parents.get(kind.key)
            if parent is None:
                return None
            self._parents.move_to_end(kind.key)
            parent.used = time.monotonic()
        if parent.outdated():
            self._drop(kind.key, parent)
            return None
        return parent

    def _drop(self, key: str, parent: "_Parent") -> None:
        with self._changed:
            if self._parents.get(key) is parent:
                del self._parents[key]
        parent.close()

    def _want(self, kind: _Kind, controllers: tuple[str, ...] = ()) -> None:
        with self._changed:
            if self._closed or kind.key in self._parents or kind.key in self._cold or self._making == kind.key:
                return
            self._wanted = kind, controllers  # the latest wins: what is made in the background shall not run behind
            if self._maker is None:
                self._maker = threading.Thread(target=self._make_all, name="warm", daemon=True)
                self._maker.start()
            self._changed.notify_all()

    def _make_all(self) -> None:
        while True:
            with self._changed:
                while self._wanted is None and not self._closed:
                    self._changed.wait(self._next_idle())
                    self._end_idle()
                if self._closed:
                    return
                assert self._wanted is not None
                (kind, controllers), self._wanted = self._wanted, None
                self._making = kind.key
            try:
                made, why = self._make(kind)
            except Exception as error:  # the edge of a thread without which all starts cold
                made, why = None, f"{type(error).__name__}: {error}"
            with self._changed:
                self._making = ""
                if made is None:
                    self._cold[kind.key] = why
                    while len(self._cold) > _FORGOTTEN:
                        self._cold.popitem(last=False)
                elif not self._closed:
                    self._parents[kind.key] = made
                self._changed.notify_all()
                closed = self._closed
            if made is None:
                self._say(f"runs like the last one start cold: {why}")
            elif closed:
                made.close()
            else:
                self._shrink()
                self._owe(made, controllers)

    def _make(self, kind: _Kind) -> "tuple[_Parent | None, str]":
        left_out: dict[str, str] = {}
        why = ""
        for _ in range(_TRIES):
            names = [name for name in kind.imports if name.partition(".")[0] not in left_out]
            parent = _Parent(kind, names, self._stable, closed=lambda: self._closed)
            why = parent.refused
            if not why:
                told = {**left_out, **parent.failed}
                if told:
                    self._say(
                        "not imported in advance: " + "; ".join(f"{name} ({said})" for name, said in told.items())
                    )
                return parent, ""
            if not parent.module:
                break
            left_out[parent.module.partition(".")[0]] = why
            why = f"{parent.module}: {why}"
        return None, why

    def _next_idle(self) -> float | None:
        if not self._parents:
            return None
        return max(0.1, min(parent.used for parent in self._parents.values()) + self._idle - time.monotonic())

    def _end_idle(self) -> None:
        late = time.monotonic() - self._idle
        for key in [key for key, parent in self._parents.items() if parent.used <= late]:
            self._parents.pop(key).close()

    def _shrink(self) -> None:
        """Ends those that were used the longest ago until number and memory are within their bounds."""
        ended = []
        with self._changed:
            while len(self._parents) > self._most or (
                len(self._parents) > 1 and sum(parent.memory for parent in self._parents.values()) > self._memory
            ):
                ended.append(self._parents.popitem(last=False)[1])
        for parent in ended:
            parent.close()


class _Parent:
    """A warm parent, as the agent sees it; made, it has imported, or `refused` says why it cannot be used."""

    def __init__(self, kind: _Kind, names: Sequence[str], stable: Sequence[str], *, closed: Callable[[], bool]) -> None:
        self.used = time.monotonic()
        self.memory = 0
        self.failed: dict[str, str] = {}
        self.refused = ""
        self.module = ""
        self._lock = threading.Lock()
        self._ahead = threading.Lock()
        self._standby: Standby | None = None
        self._keepers: list[socket.socket] = []
        self._closed = False
        self._names: frozenset[str] = frozenset()
        self._places: list[str] = []
        self._files: list[tuple[str, int, int]] = []
        # An empty folder: what an import looks for in the working folder is not found, and noted.
        self._folder = tempfile.mkdtemp(prefix="larder-warm-")
        self._channel, theirs = socket.socketpair()
        env = dict(kind.env)
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_NURSERY), env.get("PYTHONPATH", "")]))
        env[_CHANNEL] = str(theirs.fileno())
        try:
            # Its streams take their shape from what they are at the start: pipes, as those of a run.
            self._process = subprocess.Popen(
                [kind.python, "-m", NAME],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                cwd=self._folder,
                pass_fds=[theirs.fileno()],
            )
        except BaseException:
            self._channel.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            theirs.close()
        try:
            self._talk({"imports": list(names), "stable": list(stable)}, closed)
        except BaseException:
            self.close()
            raise
        if self.refused:
            self.close()

    def send(self, request: Mapping[str, Any], files: Sequence[int]) -> None:
        """Have an order forked; OSError when the parent is gone."""
        with self._lock:
            keeper.send(self._channel, dict(request), files)

    @property
    def waits(self) -> bool:
        """Whether a process waits for an order."""
        return self._standby is not None

    def keep_ahead(self, places: limits.Places, controllers: tuple[str, ...]) -> None:
        """Have a process wait for an order that these controllers shall limit, unless one waits."""
        with self._ahead:
            if self._standby is not None or self._closed:
                return
            with contextlib.suppress(OSError):  # then the next is forked, and says what is wrong
                self._standby = Standby(places, controllers, self._have_kept, release=self._release)

    def _have_kept(self, request: dict[str, Any], files: Sequence[int]) -> None:
        """Pass a request on to a keeper that has nothing to keep, or else to the parent."""
        while self._keepers:
            with self._keepers.pop() as control, contextlib.suppress(OSError):
                control.sendall(keeper.AGAIN)
                keeper.send(control, request, files)
                return
        self.send(request, files)

    def _release(self, control: socket.socket) -> None:
        with self._ahead:
            if not self._closed and len(self._keepers) < _KEEPERS:
                self._keepers.append(control)
                return
        control.close()

    def take(self, controllers: tuple[str, ...]) -> Standby | None:
        """The process that waits, for an order that these controllers shall limit."""
        with self._ahead:
            standby, self._standby = self._standby, None
        if standby is not None and standby.controllers != controllers:
            standby.close()
            return None
        return standby

    def dismiss(self) -> None:
        """No process shall wait."""
        with self._ahead:
            keepers, self._keepers = self._keepers, []
        for control in keepers:
            control.close()
        self.dismiss_standby()

    def dismiss_standby(self) -> None:
        """No process shall wait for an order; a keeper may."""
        with self._ahead:
            standby, self._standby = self._standby, None
        if standby is not None:
            standby.close()

    def suits(self, order: Order) -> bool:
        """Whether nothing in the folders of the order takes the place of what the parent has imported."""
        for folder in _folders(order):
            try:
                names = os.listdir(folder)
            except OSError:
                continue
            if not self._names.isdisjoint(name.partition(".")[0] for name in names):
                return False
        return not any(os.path.lexists(order.folder / place) for place in self._places)

    def outdated(self) -> bool:
        """Whether something that the parent has imported has changed since, or the parent has died."""
        if self._process.poll() is not None:
            return True
        try:
            for place, changed, size in self._files:
                about = os.stat(place)
                if about.st_mtime_ns != changed or about.st_size != size:
                    return True
        except OSError:
            return True
        return False

    def close(self) -> None:
        """Let it end; what it has forked goes on, but for what waits for an order."""
        with self._ahead:
            self._closed = True
        self.dismiss()
        self._channel.close()
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _talk(self, asked: Mapping[str, Any], closed: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        self._channel.settimeout(0.2)
        said = b""
        with contextlib.suppress(ConnectionError):
            self._channel.sendall(json.dumps(asked).encode() + b"\n")
            while not said.endswith(b"\n"):
                try:
                    piece = self._channel.recv(1 << 16)
                except TimeoutError:
                    if closed():
                        self.refused = "the agent ends"
                        return
                    if time.monotonic() > deadline:
                        self.refused = f"its imports take longer than {PATIENCE:g} s"
                        return
                    continue
                if not piece:
                    break
                said += piece
        self._channel.settimeout(None)
        if not said.endswith(b"\n"):
            self._process.kill()
            text = self._process.communicate()[1].decode("utf-8", "replace").strip().splitlines()
            self.refused = "its interpreter does not serve" + (f": {text[-1]}" if text else "")
            return
        report = json.loads(said)
        self.refused = report.get("refused", "")
        self.module = report.get("module", "")
        if not self.refused:
            self.failed = report["failed"]
            self.memory = report["memory"]
            self._files = [(place, changed, size) for place, changed, size in report["files"]]
            self._names = frozenset(report["names"])
            self._places = report["places"]


def _kind(order: Order, env: Mapping[str, str]) -> _Kind | None:
    """What the order shares with others; None when it is not a script or module for the bare interpreter."""
    command = order.command
    if order.cold or len(command) < 2 or not os.path.isabs(command[0]) or not _is_python(command[0]):
        return None
    if command[1] == "-m":
        if len(command) < 3 or command[2].startswith("-"):
            return None
    elif command[1].startswith(("-", "./")) or not command[1].endswith(".py"):
        return None
    elif not os.access(order.folder / command[1], os.R_OK) or not os.path.isfile(order.folder / command[1]):
        return None  # the interpreter has its own words for that
    if any(env.get(name) for name in _NEVER):
        return None
    shared = {name: value for name, value in env.items() if name not in _OF_A_RUN}
    if "PYTHONPATH" in env:
        entries = [entry for entry in env["PYTHONPATH"].split(os.pathsep) if not _is_own(entry, order)]
        shared["PYTHONPATH"] = os.pathsep.join(entries)
    return _Kind(command[0], tuple(sorted(shared.items())), order.imports)


def _is_python(program: str) -> bool:
    return os.path.basename(program).startswith("python")


def _is_own(entry: str, order: Order) -> bool:
    """Whether an entry of PYTHONPATH lies in what only this order has."""
    return not os.path.isabs(entry) or Path(entry).is_relative_to(order.work)


def _folders(order: Order) -> list[Path]:
    """The order's own folders on the path of its script, all of which come before the installed packages."""
    script = order.folder / order.command[1]
    folders = [order.folder if order.command[1] == "-m" else Path(os.path.realpath(script)).parent]
    for entry in order.env.get("PYTHONPATH", "").split(os.pathsep):
        if entry and str(supervise.HOOK) != entry and _is_own(entry, order):
            folders.append(order.folder / entry)
    return folders


def _available_memory() -> float:
    try:
        with open("/proc/meminfo", "rb") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith(b"MemAvailable:"))
    except (OSError, StopIteration):
        return float("inf")


def _memory_of_machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
