"""Signals between servers on one PostgreSQL: what is in no outbox travels by NOTIFY, a few times a second at most."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy.engine import Connection

from larder_server.kernel.outbox import Event

CHANNEL = "larder_signals"
APART = 0.4
"""Seconds between two signals of one name about one subject."""

_LONGEST = 7_900  # bytes; PostgreSQL takes payloads below 8,000

Publish = Callable[[str, Sequence[Event]], None]


class Bell:
    """One server's place among those that listen. Whatever its connection is asked brings what others have sent."""

    def __init__(self, connection: Connection, publish: Publish) -> None:
        """`connection` commits by itself, and is used for nothing that waits."""
        self._connection, self._publish = connection, publish
        self._name = uuid4().hex
        self._sent: dict[tuple[str, str, str], float] = {}
        driver: Any = connection.connection.dbapi_connection
        driver.add_notify_handler(lambda notice: self._hear(notice.payload))
        connection.exec_driver_sql(f"listen {CHANNEL}")

    def ring(self, waiting: dict[tuple[str, str, str], Event]) -> None:
        """Send the signals that wait and whose like was not sent a moment ago; they are taken out."""
        now = time.monotonic()
        self._sent = {key: sent for key, sent in self._sent.items() if now - sent < APART}
        for key in [key for key in list(waiting) if key not in self._sent]:
            event = waiting.pop(key)
            self._sent[key] = now
            said = json.dumps([self._name, key[0], event.name, event.subject, event.data])
            if len(said.encode()) > _LONGEST:
                said = json.dumps([self._name, key[0], event.name, event.subject, {}])
            self._connection.exec_driver_sql("select pg_notify(%s, %s)", (CHANNEL, said))

    def _hear(self, payload: str) -> None:
        who, tenant, name, subject, data = json.loads(payload)
        if who != self._name:
            self._publish(tenant, [Event(name=name, subject=subject, data=data)])
