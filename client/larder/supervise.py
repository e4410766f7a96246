"""Run a command untouched and record it: its arguments, its output, how it ended."""

import codecs
import contextlib
import errno
import fcntl
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from larder import capture, guard, ranks, recording
from larder.capture.console import Lines
from larder.contract.runs import Param, RunStatus
from larder.journal import format, reader
from larder.ranks import Group
from larder.recording.place import WRAPPER

HOOK = Path(__file__).parent / "hook"
"""The folder that, first on a Python child's path, lets capture begin without a line in the script."""

ARGUMENTS_AFTER = 15.0
"""Seconds that a Python child has to record its own arguments before those of its command line are taken for it."""

AGENT = "LARDER_AGENT"
"""Environment: 1 in what an agent executes and sends the journals of."""

_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Warning)\b")
_SEARCHED = 64 << 20
_SI_KERNEL = 0x80
_PATIENCE = 0.1


@dataclass(frozen=True)
class Ended:
    """How a command ended: the status of a run, the exit status a shell would see, and why when it is not plain."""

    status: RunStatus
    exit_status: int
    reason: str = ""


@dataclass(frozen=True)
class Recorded:
    """The id of the run that a command was recorded as, empty when it could not begin, and its exit status."""

    run: str
    exit_status: int


# -- arguments: pure -----------------------------------------------------------------------------------------------


def arguments(argv: Sequence[str]) -> dict[str, Param]:
    """The `--name value`, `--name=value` and `--flag` of a command line, names as Python would spell them."""
    found: dict[str, Param] = {}
    for index, token in enumerate(argv[1:], start=1):
        if token == "--":
            break
        if not _is_option(token):
            continue
        name, equals, value = token[2:].partition("=")
        if equals:
            found[_spelled(name)] = _value(value)
        elif index + 1 < len(argv) and not argv[index + 1].startswith("--"):
            found[_spelled(name)] = _value(argv[index + 1])
        else:
            found[_spelled(name)] = True
    return found


def rewrite(argv: Sequence[str], overrides: Mapping[str, Param], *, add: bool = False) -> list[str]:
    """The command line with the values of `overrides` in place of those it has; `add` appends those it lacks.

    None and False take the option away, True leaves the bare flag.
    """
    rewritten: list[str] = list(argv[:1])
    seen: set[str] = set()
    index = 1
    while index < len(argv):
        token = argv[index]
        if token == "--":
            break
        option, equals, _ = token.partition("=")
        name = _spelled(option[2:]) if _is_option(token) else ""
        has_value = not equals and index + 1 < len(argv) and not argv[index + 1].startswith("--")
        if name in overrides and name:
            seen.add(name)
            override = overrides[name]
            is_flag = not equals and (not has_value or isinstance(override, bool))
            if override is None or override is False:
                pass
            elif is_flag:
                rewritten.append(option)
            else:
                rewritten += [f"{option}={_text(override)}"] if equals else [option, _text(override)]
            # A bare flag before a positional argument looks like an option with a value: a boolean leaves it alone.
            index += 2 if has_value and not is_flag and not isinstance(override, bool) else 1
        else:
            rewritten.append(token)
            index += 1
    if add:
        dashes = any("-" in token[2:] for token in argv if _is_option(token))
        for name, override in overrides.items():
            if name in seen or override is None or override is False:
                continue
            option = "--" + (name.replace("_", "-") if dashes else name)
            rewritten += [option] if override is True else [option, _text(override)]
    return rewritten + list(argv[index:])


def _is_option(token: str) -> bool:
    return token.startswith("--") and len(token) > 2 and token[2].isalpha()


def _spelled(name: str) -> str:
    return name.replace("-", "_")


def _text(value: Param) -> str:
    return value if isinstance(value, str) else repr(value)


def _value(text: str) -> Param:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False}.get(text.lower(), text)


# -- the command ---------------------------------------------------------------------------------------------------


class Command:
    """A started command whose output passes through us: on to our own, and line by line to `record`.

    When our output is a terminal the command gets one too, so that it colours and draws as it would alone. Signals
    that come here while it runs are passed on; those that reach its process group anyway are not sent twice. `output`
    is the descriptor to which its standard output goes on.
    """

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], record: Callable[[str, str], None], output: int = 1
    ) -> None:
        self._output = output
        self._received: int | None = None
        self._deaf = False
        self._last_line = ""
        self._sources: dict[int, _Source] = {}
        terminal = os.isatty(output)
        if terminal:
            main, side = os.openpty()
            _copy_size(main, output)
            settings = termios.tcgetattr(side)
            settings[1] &= ~termios.OPOST  # our own terminal turns \n into \r\n already
            termios.tcsetattr(side, termios.TCSANOW, settings)
            ends = [(main, side, output, "out")]
            outputs = (side, side)
        else:
            out, err = os.pipe(), os.pipe()
            ends = [(*out, output, "out"), (*err, 2, "err")]
            outputs = (out[1], err[1])
        self._terminal = ends[0][0] if terminal else None
        try:
            self.process = subprocess.Popen(list(argv), stdout=outputs[0], stderr=outputs[1], env=dict(env))
        except BaseException:
            for end in ends:
                os.close(end[0])
            raise
        finally:
            for side in set(outputs):
                os.close(side)
        for read, _, to, stream in ends:
            self._sources[read] = _Source(to, self._recorder(stream, record))

    def _recorder(self, stream: str, record: Callable[[str, str], None]) -> Lines:
        def write(text: str) -> None:
            if text.strip():
                self._last_line = text.strip()
            record(stream, text)

        return Lines(write)

    def relay(self, *, tick: Callable[[], None]) -> Ended:
        """Pass output on until the command has ended; `tick` is called now and then."""
        heard = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, heard)
        # A blocked signal that is ignored is thrown away; with a handler it waits. Scripts start their background jobs
        # with SIGINT ignored, so the command ignores it as well, and who means it to stop has to say it otherwise.
        handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGWINCH)}
        self._deaf = handlers[signal.SIGINT] is signal.SIG_IGN
        try:
            with selectors.DefaultSelector() as selector:
                self._relay(selector, heard, tick)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._ended(self.process.returncode)

    def _relay(self, selector: selectors.BaseSelector, heard: set[signal.Signals], tick: Callable[[], None]) -> None:
        for descriptor in self._sources:
            selector.register(descriptor, selectors.EVENT_READ)
        quiet_since: float | None = None
        while self._sources:
            ready = selector.select(_PATIENCE)
            self._hear(heard)
            tick()
            for key, _ in ready:
                self._read(key.fd, selector)
            for source in self._sources.values():
                source.lines.tick()
            if ready or self.process.poll() is None:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > 0.5:
                break  # somebody whom the command left behind holds its output open
        for descriptor in list(self._sources):
            self._drop(descriptor, selector)
        while self.process.poll() is None:  # a command may close its output and work on
            self._hear(heard)
            tick()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_PATIENCE)

    def _read(self, descriptor: int, selector: selectors.BaseSelector) -> None:
        source = self._sources[descriptor]
        try:
            data = os.read(descriptor, 65536)
        except OSError as error:  # how a pseudo-terminal says that its other side is closed
            if error.errno != errno.EIO:
                raise
            data = b""
        if not data:
            self._drop(descriptor, selector)
            return
        source.lines.feed(source.decode(data))
        try:
            while data:
                data = data[os.write(source.to, data) :]
        except OSError:
            self._drop(descriptor, selector)  # nobody listens; the command hears of it by its own next write

    def _drop(self, descriptor: int, selector: selectors.BaseSelector) -> None:
        selector.unregister(descriptor)
        source = self._sources.pop(descriptor)
        source.lines.feed(source.decode(b"", True))
        source.lines.close()
        os.close(descriptor)

    def _hear(self, heard: set[signal.Signals]) -> None:
        while True:
            if hasattr(signal, "sigtimedwait"):
                found = signal.sigtimedwait(heard, 0)
                if found is None:
                    return
                number, typed = found.si_signo, found.si_code == _SI_KERNEL
            else:  # macOS does not say who has sent a signal
                pending = signal.sigpending() & heard
                if not pending:
                    return
                number = signal.sigwait(pending)
                typed = number == signal.SIGINT and _in_foreground()
            if number == signal.SIGWINCH:
                if self._terminal in self._sources:
                    _copy_size(self._terminal, self._output)
                continue
            self._received = number
            # What was typed has reached the whole process group.
            if not typed:
                with contextlib.suppress(ProcessLookupError):
                    self.process.send_signal(signal.SIGTERM if number == signal.SIGINT and self._deaf else number)

    def _ended(self, code: int) -> Ended:
        shown = 128 - code if code < 0 else code
        if code and self._received is not None:
            return Ended(RunStatus.STOPPED, shown, signal.Signals(self._received).name)
        if code < 0:
            return Ended(RunStatus.FAILED, shown, f"killed by {_signal_name(-code)}")
        if code:
            told = f": {self._last_line[:500]}" if _ERROR.match(self._last_line) else ""
            return Ended(RunStatus.FAILED, shown, f"exit status {code}{told}")
        return Ended(RunStatus.COMPLETED, 0)


class _Source:
    def __init__(self, to: int, lines: Lines) -> None:
        self.to = to
        self.lines = lines
        self.decode = codecs.getincrementaldecoder("utf-8")("replace").decode


def _copy_size(terminal: int | None, output: int) -> None:
    if terminal is not None:
        with contextlib.suppress(OSError):
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, fcntl.ioctl(output, termios.TIOCGWINSZ, bytes(8)))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _in_foreground() -> bool:
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


# -- the run -------------------------------------------------------------------------------------------------------


def main(
    argv: Sequence[str],
    *,
    project: str = "",
    name: str = "",
    tags: Sequence[str] = (),
    notes: str = "",
    params: Mapping[str, Param] | None = None,
    group: Group | None = None,
    env: Mapping[str, str] | None = None,
    output: int = 1,
    begun: Callable[[str], None] = lambda run: None,
) -> Recorded:
    """Run a command and record it.

    With a `group` it is started as several processes. `env` comes on top of our environment; to `output` goes what the
    command writes to its standard output. `begun` is told the id of the run before the command starts.
    """
    program = shutil.which(argv[0])
    if program is None:
        guard.say(f"{argv[0]}: no such command")
        return Recorded("", 127)
    fact = described(argv, program=program, group=group)
    run = recording.init(
        project=project or None,
        name=name or None,
        params=dict(params) if params else None,
        tags=list(tags),
        notes=notes,
        capture=dict.fromkeys(capture.TRAINING, False),
    )
    run.wraps = True
    found = arguments(argv)
    argv = fact["argv"]
    run.record_fact("command", fact)
    run.source("console", "active")
    begun(run.id)
    began = time.monotonic()
    looked = not found

    def look(*, at_end: bool = False) -> None:
        nonlocal looked
        if looked or not (at_end or time.monotonic() - began > ARGUMENTS_AFTER):
            return
        looked = True
        with guard.guarded("arguments"):
            if not _has_params(run.folder):
                run.record_params(found, source="argv")
                run.record_fact("command", {**fact, "arguments": "argv"})
                run.source("arguments", "active")

    try:
        command = Command(argv, env={**_environment(), **fact["env"], **(env or {})}, record=run.console, output=output)
    except OSError as error:
        guard.say(f"{argv[0]}: {error.strerror}")
        status = 126 if isinstance(error, PermissionError) else 127
        run.finish("failed", reason=f"{argv[0]}: {error.strerror}", exit_status=status)
        return Recorded(run.id, status)
    ended = command.relay(tick=look)
    look(at_end=True)
    run.finish(str(ended.status), reason=ended.reason, exit_status=ended.exit_status)
    return Recorded(run.id, ended.exit_status)


def described(argv: Sequence[str], *, program: str, group: Group | None = None) -> dict[str, Any]:
    """The fact `command` of a command line that is started here; Invalid when no group can execute it."""
    python = ranks.python(argv) if group is not None else None
    return {
        "argv": list(argv) if group is None else ranks.launched(argv, group),
        "executable": os.path.abspath(program) if program else "",
        "python": "",
        "cwd": os.getcwd(),
        # The launcher of a group is the same for all: what it starts tells which runs are of one script.
        "module": python.module if python is not None else "",
        "script": os.path.abspath(python.script) if python is not None and python.script else "",
        "env": {} if group is None else dict(ranks.ENVIRONMENT),
        "wrapped": True,
    }


def encode(params: Mapping[str, Param]) -> str:
    """Overrides as LARDER_PARAMS carries them."""
    return json.dumps(dict(params))


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    environment["LARDER_HOOK"] = "1"
    environment["LARDER_CONSOLE"] = "off"
    environment[WRAPPER] = str(os.getpid())
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HOOK), environment.get("PYTHONPATH", "")]))
    # Through a pipe Python would hold its lines back until there are many.
    environment.setdefault("PYTHONUNBUFFERED", "1")
    return environment


def _has_params(folder: Path | None) -> bool:
    """Whether a process of the command has recorded parameters by itself."""
    found = False
    for journal in reader.journals(folder) if folder is not None else []:
        if journal.role in ("child", "rank") and not found:
            data = journal.read(0, _SEARCHED)
            found = any(payload[1] == format.PARAMS for _, payload in format.frames(data, len(format.MAGIC)))
        journal.close()
    return found
