"""Keeps the processes of one execution together: nothing of it outlives its command, its agent, or its limits.

A fork server, `python -I -S keeper.py` with a socket as standard input, forks a keeper for each order. The keeper
starts the command, adopts whatever of its descendants loses its parent, ends all of them on request, at the end of the
command, and when the agent's end of its control socket closes, and tells through that socket how it ended. Only the
standard library is used, since the interpreter may be any.

An order is a dict: `command`, `folder`, `env`; `join`: files of control groups into which the command writes its own
number; `groups`: their folders, removed at the end; `seal`: files with what to write into them before all is killed;
`events`: files with the name of a counter of kills for memory; `memory`, `processes`: limits to watch here;
`user_processes`: a limit that the kernel watches; `after`: commands to execute at the end, whose output is told.

Joining a control group takes the kernel longer than all else at a start. So a keeper can be had in advance: with
`standby` an order has only `join` and `groups`, and a socket more. Keeper and command's process are made, the process
joins, and each waits for the rest of the order: the keeper at its control socket, the process at that other one. What
is not wanted any more ends when the sockets are closed, and has executed nothing. Only a server that does the work of
the commands itself, see `keep`, can do that.

A keeper whose execution has ended, so that nothing is below it, waits at its control socket until that is closed, or
until `AGAIN` and another order come: to fork it from its server costs more than all that it does.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Any, NoReturn

SAMPLE = 0.2
"""Seconds between looks at the memory of an execution."""

USAGE = struct.Struct("<Qd")
"""What is kept in the file of usage: the highest memory in bytes, and the seconds of processor time."""

MACHINE = (("/proc/vmstat", "oom_kill"),)
"""The counter of kills for memory on the whole machine, those in control groups included."""

AGAIN = b"N"
"""Comes before an order for a keeper whose execution has ended, after which there may be signals that came too late."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = resource.getpagesize()
_TICKS = os.sysconf("SC_CLK_TCK")
_LINUX = sys.platform.startswith("linux")
_HEAD = struct.Struct("<I")
_TOLD = 10_000
_DONE = b"null\n"
_RESET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)


# -- the processes below one -----------------------------------------------------------------------------------------


def descendants(root: int) -> list[int]:
    """The numbers of all processes below `root`, parents first."""
    found: list[int] = []
    waiting = [root]
    children = _children if os.path.exists(f"/proc/self/task/{os.getpid()}/children") else _table()
    while waiting:
        below = children(waiting.pop())
        found += below
        waiting += below
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            pass
    return found


def _table() -> Callable[[int], list[int]]:
    below: dict[int, list[int]] = {}
    listed = subprocess.run(["ps", "-axo", "pid=,ppid="], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    for line in listed.splitlines():
        pid, parent = line.split()
        below.setdefault(int(parent), []).append(int(pid))
    return lambda pid: below.get(pid, [])


def memory(pids: Iterable[int], *, shared: bool) -> int:
    """Bytes that these processes hold; what they share is counted once unless `shared`, which is quicker."""
    total = 0
    for pid in pids:
        try:
            if shared:
                with open(f"/proc/{pid}/statm", "rb") as file:
                    total += int(file.read().split()[1]) * _PAGE
            else:
                with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                    total += next(int(line.split()[1]) << 10 for line in file if line.startswith(b"Pss:"))
        except (OSError, StopIteration, IndexError):
            pass
    return total


def kills(events: Iterable[Sequence[str]]) -> int:
    """How often something was killed for want of memory; `events` are files with the name of a counter in them."""
    total = 0
    for path, name in events:
        try:
            with open(path) as file:
                total += sum(int(line.split()[1]) for line in file if line.split()[0] == name)
        except (OSError, ValueError, IndexError):
            pass
    return total


def _spent(pids: Iterable[int]) -> float:
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                total += sum(map(int, file.read().rpartition(b")")[2].split()[11:15]))
        except (OSError, ValueError):
            pass
    return total / _TICKS


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass


# -- one execution ---------------------------------------------------------------------------------------------------


class Begun(BaseException):
    """Leaves `keep` in the process that shall do the work of the command of `order` itself, once `wait` returns."""

    def __init__(self, order: dict[str, Any], go: int) -> None:
        super().__init__()
        self.order = order
        self._go = go

    def wait(self) -> None:
        """Until the agent was told. If the keeper dies before, this process ends: the agent may start another."""
        said = os.read(self._go, 1)
        os.close(self._go)
        if not said:
            os._exit(0)


def keep(
    control: socket.socket,
    order: dict[str, Any],
    files: Sequence[int],
    *,
    stay: bool = False,
    settle: Callable[[], object] = lambda: None,
) -> NoReturn:
    """What a freshly forked process does with an order; it does not return.

    `files` are descriptors: standard input, output and error of the command, the file of usage, and for a standby the
    socket of its process. With `stay` the command is not executed: its process leaves with Begun, so that whoever
    forked goes on in it, with nothing of ours. `settle` is called in a standby before it waits.
    """
    try:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        wake, woken = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        again: tuple[dict[str, Any], list[int]] | None = (order, [*files, -1])
        while again is not None:
            order, files = again[0], again[1][:-1]
            if again[1][-1] >= 0:
                control.close()
                control = socket.socket(fileno=again[1][-1])
            kept = _Keeper(control, order, files, (wake, woken), stay, settle).keep()
            os.close(files[3])
            again = _again(control) if kept else None
    except Begun:
        raise
    except BaseException as error:  # the edge of the process: the agent hears of it by the silence, and of why by this
        sys.stderr.write(f"larder: keeper: {type(error).__name__}: {error}\n")
        sys.stderr.flush()
    os._exit(0)


def _again(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    while True:
        try:
            said = control.recv(1)
            if said == AGAIN:
                return receive(control)
        except OSError:
            return None
        if not said:
            return None


class _Keeper:
    def __init__(
        self,
        control: socket.socket,
        order: dict[str, Any],
        files: Sequence[int],
        wakes: tuple[int, int],
        stay: bool,
        settle: Callable[[], object],
    ) -> None:
        self.control = control
        self.order = order
        self.files = files
        self.wake = wakes[0]
        self.wakes = wakes
        self.stay = stay
        self.settle = settle
        self.pid = 0
        self.code: int | None = None
        self.ending = False
        self.out_of_memory = False
        self.too_many = False
        self.killed = False
        self.peak = 0
        self.spent = 0.0

    def keep(self) -> bool:
        """Until nothing is left below this process; whether there was an order, and the agent knows how it ended."""
        before = kills(self._events())
        hear, go = os.pipe()
        pipes = (hear, go, *self.wakes)
        self.pid, told = _start(self.order, self.files, self.control, pipes, stay=self.stay, settle=self.settle)
        for descriptor in (*self.files[:3], *self.files[4:], hear):
            os.close(descriptor)
        with os.fdopen(told, "rb") as words, os.fdopen(go, "wb", buffering=0) as going:
            if self.order.get("standby"):
                if not self._stand_by(words):
                    self._leave()
                    return False
                before = kills(self._events())
            said = words.readline()
            if self.stay and not said:  # it died before it has begun: the agent may start another
                self._leave()
                return False
            problem = json.loads(said) if said else None
            order = self.order
            self._tell({"error": problem} if problem else {"pid": self.pid})
            with contextlib.suppress(BrokenPipeError):
                going.write(b"g")
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        due = time.monotonic() + SAMPLE / 4  # a short execution has a peak, too
        while self._bury():
            if self.code is not None:
                self.ending = True
            if self.ending:
                self._kill()
            now = time.monotonic()
            if now >= due and not self.ending:
                self._look()
                due = now + SAMPLE
            wait = 0.01 if self.ending else max(0.0, due - now)
            for descriptor, _ in poll.poll(wait * 1000 + 1):
                if descriptor == self.wake:
                    os.read(self.wake, 4096)
                elif not self._hear():
                    poll.unregister(self.control)
        self._note(self.spent)
        after = [_executed(command) for command in order.get("after", ())]
        # What the whole machine counts is ours only where we were killed; what our groups count is ours.
        if not self.killed and self.code and (order.get("events") or self.code in (-signal.SIGKILL, 137)):
            self.out_of_memory = self.out_of_memory or kills(self._events()) > before
        if not problem:
            ended = {"code": self.code, "out_of_memory": self.out_of_memory, "too_many": self.too_many, "told": after}
            self._tell(ended)
        # Told before: the kernel may have to wait for another that joins its own.
        for group in order.get("groups", ()):
            _remove(group)
        return True

    def _events(self) -> Sequence[Sequence[str]]:
        return self.order.get("events") or MACHINE

    def _stand_by(self, words: IO[bytes]) -> bool:
        """Waits, without a look at the clock, for the rest of the order; False when the process cannot be used."""
        if words.readline() != _DONE:
            return False
        self._tell({"ready": self.pid})
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self.wake:
                    os.read(self.wake, 4096)
                    if not self._bury():
                        return False
                    continue
                try:
                    received = receive(self.control)
                except OSError:
                    received = None
                if received is not None:
                    self.order.update(received[0])
                return received is not None

    def _leave(self) -> None:
        _signal([self.pid], signal.SIGKILL)
        while self._bury():
            select.select([self.wake], [], [], 1)
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake, 4096)
        for group in self.order.get("groups", ()):
            _remove(group)

    def _bury(self) -> bool:
        """Takes leave of those that have ended; whether any is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.spent += usage.ru_utime + usage.ru_stime
            self.peak = max(self.peak, usage.ru_maxrss * (1024 if _LINUX else 1))
            if pid == self.pid:
                self.code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def _hear(self) -> bool:
        try:
            said = self.control.recv(64)
        except InterruptedError:
            return True
        except OSError:
            said = b""
        if b"K" in said or not said:
            self.ending = self.killed = True
        elif b"T" in said:
            # One that is stopped hears no other signal than SIGCONT first.
            pids = descendants(os.getpid())
            _signal(pids, signal.SIGTERM)
            _signal(pids, signal.SIGCONT)
        return bool(said)

    def _kill(self) -> None:
        for path, text in self.order.get("seal", ()):
            _write(path, text)
        self.order["seal"] = ()
        pids = descendants(os.getpid())
        # Stopped first, they cannot have children faster than we can find them.
        _signal(pids, signal.SIGSTOP)
        _signal(pids, signal.SIGKILL)
        if not _LINUX and self.pid:  # nobody adopts there: what was orphaned is found by its group
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)

    def _look(self) -> None:
        pids = descendants(os.getpid())
        held = memory(pids, shared=True)
        limit = self.order.get("memory", 0)
        if len(pids) > 1 and held > max(self.peak, limit // 2):
            held = memory(pids, shared=False) or held
        self.peak = max(self.peak, held)
        if limit and held > limit:
            self.out_of_memory = self.ending = True
        most = self.order.get("processes", 0)
        if most and len(pids) > most:
            self.too_many = self.ending = True
        self._note(_spent(pids) + self.spent)

    def _note(self, seconds: float) -> None:
        try:
            os.pwrite(self.files[3], USAGE.pack(self.peak, seconds), 0)
        except OSError:
            pass

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self.control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass


def _start(
    order: dict[str, Any],
    files: Sequence[int],
    control: socket.socket,
    pipes: Sequence[int],
    *,
    stay: bool,
    settle: Callable[[], object],
) -> tuple[int, int]:
    """Forks the command's process; answers its number, and where it tells that it begins by closing, or of an error.

    One that is not executed, see `keep`, tells `_DONE` when it is about to begin, and hears through the first of `pipes`
    that it shall; the others are not wanted there. A standby tells it when it waits, too.
    """
    told, tells = os.pipe()
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        begun = False
        try:
            signal.set_wakeup_fd(-1)
            for number in _RESET:
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != keeper:
                os._exit(127)
            for path in order.get("join", ()):
                with open(path, "w") as file:
                    file.write("0")
            # Above the first three before they are put in place, so that none is written over while it is needed.
            high = [os.dup(descriptor) for descriptor in files[:3]]
            for place, descriptor in enumerate(high):
                os.dup2(descriptor, place)
            standby = stay and order.get("standby")
            if standby:
                settle()
                order = _awaited(files[4], control, tells)
            if order.get("user_processes"):
                hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
                most = order["user_processes"]
                most = most if hard == resource.RLIM_INFINITY else min(most, hard)
                resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
            os.chdir(order["folder"])
            if not stay:
                os.execvpe(order["command"][0], order["command"], order["env"])
            os.write(tells, _DONE)
            if not standby:
                os.close(control.detach())
            go = pipes[0]
            for descriptor in {told, tells, *pipes, *files, *high} - {go}:
                if descriptor > 2:
                    os.close(descriptor)
            begun = True
        except OSError as error:
            os.write(tells, json.dumps([error.errno or 0, error.strerror or str(error), error.filename]).encode())
        finally:
            if not begun:
                os._exit(127)
        raise Begun(order, go)
    os.close(tells)
    return pid, told


def _awaited(orders: int, control: socket.socket, tells: int) -> dict[str, Any]:
    """The order that a standby waits for."""
    os.close(control.detach())  # held here, it would hide from the agent that the keeper is gone
    os.write(tells, _DONE)
    channel = socket.socket(fileno=os.dup(orders))
    try:
        received = receive(channel)
    except OSError:
        received = None
    if received is None:
        os._exit(0)
    channel.close()
    return received[0]


def _executed(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return done.stdout[:_TOLD].decode("utf-8", "replace")


def _remove(group: str) -> None:
    until = time.monotonic() + 2
    while True:
        try:
            os.rmdir(group)
            return
        except FileNotFoundError:
            return
        except OSError:  # its last process is on its way out
            if time.monotonic() > until:
                return
            time.sleep(0.01)


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        pass


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


# -- the fork server -------------------------------------------------------------------------------------------------


def send(channel: socket.socket, order: dict[str, Any], files: Sequence[int]) -> None:
    """Hands an order with its descriptors, the last of which is the keeper's end of the control socket, to a server."""
    content = json.dumps(order).encode()
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
    channel.sendmsg([_HEAD.pack(len(content))], passed)
    channel.sendall(content)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """An order with its descriptors; None at the end."""
    head, passed, _, _ = channel.recvmsg(_HEAD.size, socket.CMSG_SPACE(64))
    if not head:
        return None
    while len(head) < _HEAD.size:
        head += channel.recv(_HEAD.size - len(head))
    files: array.array[int] = array.array("i")
    for _, _, data in passed:
        files.frombytes(data[: len(data) - len(data) % files.itemsize])
    for descriptor in files:
        os.set_inheritable(descriptor, False)
    wanted = _HEAD.unpack(head)[0]
    content = bytearray()
    while len(content) < wanted:
        piece = channel.recv(min(1 << 20, wanted - len(content)))
        if not piece:
            return None
        content += piece
    return json.loads(content), list(files)


def serve(channel: socket.socket) -> None:
    """Forks a keeper for each order until the other end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the keepers
    while True:
        try:
            received = receive(channel)
        except OSError:
            return
        if received is None:
            return
        order, files = received
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            channel.close()
            keep(socket.socket(fileno=files[-1]), order, files[:-1])
        for descriptor in files:
            os.close(descriptor)


def main() -> None:
    """The fork server over the socket that is our standard input."""
    try:
        os.setsid()  # Ctrl-C in the agent's terminal is the agent's
    except OSError:
        pass
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    serve(channel)


if __name__ == "__main__":
    main()
