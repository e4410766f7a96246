"""A network that can be cut: a TCP proxy between an agent and the server."""

import contextlib
import socket
import struct
import threading
from urllib.parse import urlsplit


class Wire:
    """Forwards to the server of `url`. Cut with `drop` (nothing answers) or `refuse` (nobody listens); then `mend`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._flows = threading.Event()
        self._flows.set()
        self._refuses = False
        self._closed = False
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def drop(self) -> None:
        """Bytes go nowhere and nobody hears of it, as behind a pulled cable."""
        self._flows.clear()

    def refuse(self) -> None:
        """Connections break and new ones are refused."""
        self._refuses = True
        self._break()

    def mend(self, *, reset: bool = False) -> None:
        """All flows again, also what was on the way; with `reset` the connections of before are broken."""
        if reset:
            self._break()
        self._refuses = False
        self._flows.set()

    def close(self) -> None:
        """No wire any more."""
        self._closed = True
        self._listener.close()
        self._flows.set()
        self._break()

    def _break(self) -> None:
        with self._lock:
            ends = list(self._ends)
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                near.close()
                continue
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._flows.wait()
        try:
            far = socket.create_connection(self._target, timeout=10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        with self._lock:
            self._ends |= {near, far}
        back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
        back.start()
        self._pump(near, far)
        back.join()
        with self._lock:
            self._ends -= {near, far}
        near.close()
        far.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                self._flows.wait()
                sink.sendall(data)
        except OSError:
            pass
        self._flows.wait()
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
