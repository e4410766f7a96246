"""The companion process as its starter sees it."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

_OURS = ("LARDER_RUN", "LARDER_MAIN", "LARDER_HOOK", "LARDER_CONSOLE", "LARDER_PARAMS")
"""What is meant for the script and its children only."""


class Companion:
    """The companion process as its starter sees it: the other end of a socket."""

    def __init__(self, folder: Path) -> None:
        import signal
        import socket

        environment = {name: value for name, value in os.environ.items() if name not in _OURS}
        here = Path(__file__).resolve().parents[2]
        if here.name not in ("site-packages", "dist-packages"):
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(here), os.environ.get("PYTHONPATH", "")]))
        if not sys.executable:
            raise OSError("there is no Python interpreter to run the companion with; `larder sync` sends the journal")
        # A socket, not a pipe: writing to a dead companion must not raise a signal that the user code may have armed.
        self._socket, other = socket.socketpair()
        # What is meant for us, such as Ctrl-C or the end of a notebook's kernel, must not end it before it has left us.
        ours = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        log = os.open(folder / "companion.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            # -P: a module in the user's folder must not stand in for one of the standard library.
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-m", "larder.companion", str(folder)],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, other.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setpgroup=0,
                setsigmask=ours,
            )
        finally:
            os.close(log)
            other.close()
        # It forks away from us at its start. What we have started ends then, and is not left behind as a zombie: whoever
        # waits for our children, as the kernel of a notebook does, would wait for it. The thread inherits that no signal
        # comes to it: who blocks a signal in the main thread, to wait for it there, shall not die of it here.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=_reap, args=(pid,), name="larder-companion", daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def wake(self) -> None:
        """Asks for attention now."""
        import socket

        with suppress(OSError):
            self._socket.send(b"!", socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)

    def abandon(self) -> None:
        """What a forked child does with it."""
        self._socket.close()


def _reap(process: int) -> None:
    with suppress(OSError):
        os.waitpid(process, 0)


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock of a folder."""
    import fcntl

    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
