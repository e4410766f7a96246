"""Small facts that may be lost with the process, such as when a token was last used: kept in memory, written together."""

import threading
from typing import Any


class Notes:
    """The newest value by tenant, topic and key. A timer of the slice that owns the topic takes and writes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, str], dict[str, Any]] = {}

    def put(self, tenant: str, topic: str, key: str, value: Any) -> None:
        """Remember a value until it is taken."""
        with self._lock:
            self._values.setdefault((tenant, topic), {})[key] = value

    def take(self, tenant: str, topic: str) -> dict[str, Any]:
        """The values by key; they are forgotten here."""
        with self._lock:
            return self._values.pop((tenant, topic), {})
