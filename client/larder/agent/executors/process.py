"""Executes an order as a process of this machine, in a session of its own, with all its descendants kept together."""

import contextlib
import json
import os
import resource
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from larder.agent import machine
from larder.agent.executors import Exit, Order, Usage, keeper, limits

_KEEPER = Path(keeper.__file__)
_GPU_PAUSE = 1.5


class ProcessExecutor:
    """Processes of this machine. Safe to use from several threads."""

    name = "process"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._places: limits.Places | None = None

    def start(self, order: Order) -> "ProcessExecution":
        """Begin; OSError, with a sentence, when the command cannot begin."""
        return self._start(order)

    def close(self) -> None:
        """End the fork server. What was started goes on until it ends or is stopped."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def _start(self, order: Order, *, after: Sequence[Sequence[str]] = ()) -> "ProcessExecution":
        """`after`: commands to execute when nothing of it is left, even if the agent is gone by then."""
        name = f"{order.run[-12:]}-{secrets.token_hex(4)}"
        request, means = self._request(order, limits.make(self._found(), name, order.limits))
        request["after"] = [list(command) for command in after]
        ends: _Ends | None = None
        try:
            ends = _Ends()
            try:
                self._spawn(order, request, [*ends.passed, ends.theirs])
            finally:
                ends.hand_over()
            execution = ProcessExecution(ends, means, gpus=order.limits.gpus)
            execution.facts = request.get("facts", {})
            execution.begin()
        except BaseException:
            if ends is not None:
                ends.close()
            limits.remove([Path(folder) for folder in request["groups"]])
            raise
        return execution

    def _spawn(self, order: Order, request: dict[str, Any], files: Sequence[int]) -> None:
        """Have a keeper (see `keeper`) started for the request; `files` are those of `keeper.send`.

        Whoever starts executions in another way overrides this; `facts` in the request are what it has to record.
        """
        for last in (False, True):
            with self._lock:
                if self._server is None or not self._server.alive:
                    self._server = _Server()
                server = self._server
            try:
                server.send(request, files)
                return
            except OSError:
                if last:
                    raise

    def _found(self) -> limits.Places:
        with self._lock:
            if self._places is None:
                self._places = limits.find()
            return self._places

    def _request(self, order: Order, group: limits.Group) -> tuple[dict[str, Any], dict[str, str]]:
        wanted = order.limits
        means = dict(group.means)
        request: dict[str, Any] = {
            "command": order.command,
            "folder": str(order.folder),
            "env": {**order.env, **gpus(wanted.gpus)},
            "join": group.join,
            "groups": group.folders,
            "seal": group.seal,
            "events": group.events,
        }
        if wanted.memory and "memory" not in means:
            means["memory"] = f"watched every {keeper.SAMPLE} s"
            request["memory"] = wanted.memory
        if wanted.processes and "processes" not in means:
            if os.geteuid() and hasattr(resource, "RLIMIT_NPROC"):
                # The kernel counts all that this user runs, so what runs already comes on top.
                means["processes"] = "RLIMIT_NPROC, beside what this user ran at the start"
                request["user_processes"] = wanted.processes + _running(os.geteuid())
            else:
                means["processes"] = f"watched every {keeper.SAMPLE} s"
                request["processes"] = wanted.processes
        if wanted.cpus and "cpus" not in means:
            means["cpus"] = "not limited"
        return request, means


def gpus(indexes: Sequence[int]) -> Mapping[str, str]:
    """The variables that show these GPUs, numbered as the driver does, and no others."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, indexes)), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


class _Ends:
    """Through what a keeper and its agent talk, and through what a command does; `passed` and `theirs` are the other ends."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair()
        self.theirs = theirs.detach()
        made = [self.theirs]
        try:
            self.output, output = os.pipe()
            made += [self.output, output]
            self.errors, errors = os.pipe()
            made += [self.errors, errors]
            self.usage = _memory_file()
            made.append(self.usage)
            self.passed = [os.open(os.devnull, os.O_RDONLY), output, errors, self.usage]
        except OSError:  # an agent short of descriptors must not lose more of them
            self.control.close()
            for descriptor in made:
                os.close(descriptor)
            raise

    def hand_over(self) -> None:
        """Close what the other side holds now."""
        for descriptor in (*self.passed[:3], self.theirs):
            os.close(descriptor)

    def close(self) -> None:
        """Close our own ends."""
        self.control.close()
        for descriptor in (self.output, self.errors, self.usage):
            os.close(descriptor)


class Standby:
    """A keeper with a process that joins control groups and then waits for an order, see `keeper`.

    `send` passes a request on to whoever forks; OSError. Unused, it ends when it is closed, or the agent is killed.
    `release` gets the control socket of the keeper whose execution has ended, to send it another request, or close it.
    """

    def __init__(
        self,
        places: limits.Places,
        controllers: tuple[str, ...],
        send: Callable[[dict[str, Any], Sequence[int]], None],
        *,
        release: Callable[[socket.socket], None],
    ) -> None:
        self.controllers = controllers
        self._release = release
        self.name = f"ahead-{secrets.token_hex(6)}"
        folders = limits.reserve(places, self.name, controllers)
        try:
            self._orders, theirs = socket.socketpair()
            try:
                self._ends = _Ends()
                try:
                    groups = list(map(str, folders))
                    request = {"standby": True, "join": [f"{group}/cgroup.procs" for group in groups], "groups": groups}
                    send(request, [*self._ends.passed, theirs.fileno(), self._ends.theirs])
                except BaseException:
                    self._ends.close()
                    raise
                finally:
                    self._ends.hand_over()
            except BaseException:
                self._orders.close()
                raise
            finally:
                theirs.close()
        except BaseException:
            limits.remove(folders)
            raise

    def ready(self, timeout: float = 0.0) -> bool:
        """Whether it waits for an order by now; one that is not can be given one all the same."""
        poll = select.poll()
        poll.register(self._ends.control, select.POLLIN)
        return bool(poll.poll(1000 * timeout)) and bool(self._ends.control.recv(1, socket.MSG_PEEK))

    def begin(self, request: dict[str, Any], means: Mapping[str, str], gpus: Sequence[int]) -> "ProcessExecution":
        """Execute the request; OSError, without a number when it could not be used and has executed nothing."""
        execution = ProcessExecution(self._ends, means, gpus=gpus, release=self._release)
        try:
            try:
                # First its keeper: nothing is executed whose limits nobody knows.
                keeper.send(self._ends.control, request, ())
                keeper.send(self._orders, request, ())
            except OSError as error:
                raise OSError(f"it is gone: {error}") from error
            execution.begin()
        except BaseException:
            self.close()
            raise
        self._orders.close()
        return execution

    def close(self) -> None:
        """Let it end."""
        self._orders.close()
        self._ends.close()


class ProcessExecution:
    """A started order, as its keeper tells of it."""

    def __init__(
        self,
        ends: _Ends,
        means: Mapping[str, str],
        *,
        gpus: Sequence[int] = (),
        release: Callable[[socket.socket], None] = socket.socket.close,
    ) -> None:
        self.stdout = ends.output
        self.stderr = ends.errors
        self.pid = 0
        self.facts: Mapping[str, Any] = {}
        self._control = ends.control
        self._release = release
        self._telling = threading.Lock()
        self._told = False
        self._usage = ends.usage
        self._means = means
        self._gpus = gpus
        self._looked = 0.0
        self._peak_gpu = 0
        self._reading = threading.Lock()
        self._said = b""
        self._exit: Exit | None = None
        self._last = Usage()

    def begin(self) -> None:
        """Wait until the command has begun; OSError when it cannot."""
        message = self._message(None)
        if message is not None and "ready" in message:
            message = self._message(None)
        if message is None:
            raise OSError("the keeper of the execution ended before it began")
        if message.get("error"):
            number, text, file = message["error"]
            raise OSError(number, text, file) if file else OSError(number, text)
        self.pid = int(message["pid"])

    def wait(self, timeout: float | None = None) -> Exit | None:
        """Until nothing of it is left; None when the timeout came first."""
        if self._exit is not None:
            return self._exit
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._reading.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            return self._exit
        try:
            if self._exit is None:
                try:
                    message = self._message(deadline)
                except TimeoutError:
                    return None
                self._end(message)
            return self._exit
        finally:
            self._reading.release()

    def stop(self, *, force: bool = False) -> None:
        """SIGTERM to all its processes, with `force` SIGKILL."""
        with self._telling, contextlib.suppress(OSError):
            if not self._told:  # else its keeper may keep another
                self._control.send(b"K" if force else b"T")

    def usage(self) -> Usage:
        """What it has used."""
        if self._usage >= 0:
            with contextlib.suppress(OSError):
                data = os.pread(self._usage, keeper.USAGE.size, 0)
                if len(data) == keeper.USAGE.size:
                    peak, seconds = keeper.USAGE.unpack(data)
                    self._last = Usage(peak_memory=peak, peak_gpu_memory=self._peak_gpu, cpu_seconds=seconds)
            self._look_at_gpus()
        return self._last

    def _look_at_gpus(self) -> None:
        if not self._gpus or self._exit is not None or time.monotonic() - self._looked < _GPU_PAUSE:
            return
        self._looked = time.monotonic()
        held = machine.gpu_memory()
        used = sum(held.get(pid, 0) for pid in (self.pid, *keeper.descendants(self.pid)))
        self._peak_gpu = max(self._peak_gpu, used)

    def _end(self, message: dict[str, Any] | None) -> None:
        self._gpus = ()  # nothing holds any now
        self.usage()
        facts: dict[str, Any] = dict(self.facts)
        if self._means:
            facts["limited_by"] = dict(self._means)
        if message is None:
            # Its keeper was killed; the kernel has then killed the command.
            facts["told"] = "the keeper of the execution was killed"
            self._exit = Exit(code=-9, facts=facts)
        else:
            if message["too_many"]:
                facts["told"] = "it had more processes than it may have"
            if message["told"]:
                facts["after"] = message["told"]
            code = message["code"]
            self._exit = Exit(code=-9 if code is None else code, out_of_memory=message["out_of_memory"], facts=facts)
        with self._telling:
            self._told = True
        if message is None:
            self._control.close()
        else:
            self._release(self._control)
        descriptor, self._usage = self._usage, -1
        os.close(descriptor)

    def _message(self, deadline: float | None) -> dict[str, Any] | None:
        """The next thing that the keeper says; None when it is gone. TimeoutError."""
        while b"\n" not in self._said:
            if deadline is not None:
                poll = select.poll()
                poll.register(self._control, select.POLLIN)
                if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    raise TimeoutError
            try:
                piece = self._control.recv(65536)
            except ConnectionError:
                piece = b""
            if not piece:
                return None
            self._said += piece
        line, _, self._said = self._said.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


class _Server:
    """The fork server, as its user sees it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel, other = socket.socketpair()
        try:
            # Without site packages and without our environment: it starts quickly, and nothing of either is inherited.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_KEEPER)], stdin=other.fileno(), stdout=subprocess.DEVNULL
            )
        except BaseException:
            self._channel.close()
            raise
        finally:
            other.close()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def send(self, request: dict[str, Any], files: Sequence[int]) -> None:
        """Hand over an order."""
        with self._lock:
            keeper.send(self._channel, request, files)

    def close(self) -> None:
        """Let it end."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("larder-usage")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _running(user: int) -> int:
    """How many threads of a user there are; the kernel limits threads, not processes."""
    total = 0
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
        with contextlib.suppress(OSError):
            if entry.isdigit() and os.stat(f"/proc/{entry}").st_uid == user:
                total += len(os.listdir(f"/proc/{entry}/task"))
    return total
