"""Before a process under test starts: its clock goes wrong by as many seconds as a file says, which may change."""

import os
import time

_file = os.environ.get("FAULTY_CLOCK", "")
_steady, _real, _real_ns = time.monotonic, time.time, time.time_ns
_read_at, _wrong = -1.0, 0.0


def _offset():
    global _read_at, _wrong
    now = _steady()
    if now - _read_at > 0.02:
        _read_at = now
        try:
            with open(_file) as file:
                _wrong = float(file.read() or 0)
        except (OSError, ValueError):
            pass
    return _wrong


def _time():
    return _real() + _offset()


def _time_ns():
    return _real_ns() + int(_offset() * 1e9)


if _file:
    time.time, time.time_ns = _time, _time_ns
