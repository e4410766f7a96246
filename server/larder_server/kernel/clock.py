"""Time comes in as an argument, so that a test can hold it still."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time in UTC microseconds."""

    def now(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1000
