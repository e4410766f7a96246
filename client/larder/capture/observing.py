"""What the companion process and its observers promise one another."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Record(Protocol):
    """Where an observer puts what it sees; the companion implements it."""

    def fact(self, name: str, document: Any) -> None:
        """A document about the run; the last of a name stays."""

    def points(self, values: Mapping[str, float]) -> None:
        """A point of each series, now."""

    def artifact(
        self,
        name: str,
        kind: str,
        format: str,
        files: "Mapping[str, Path | bytes]",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Files under a name, as path in the artifact → path on disk or bytes; read before this returns."""

    def source(self, name: str, state: str) -> None:
        """What became of a source."""


class Observer(Protocol):
    """Looks at something from outside the training process, once, or every `interval` seconds.

    A look may raise: the companion then says in the run that the source failed, and asks it no more.
    """

    @property
    def name(self) -> str:
        """The source, as it can be switched off."""
        ...

    @property
    def interval(self) -> float | None:
        """Seconds between two looks; None for one look."""
        ...

    def observe(self, record: Record) -> None:
        """Look."""


@dataclass(frozen=True)
class Off:
    """Stands for an observer that is switched off, and says so."""

    name: str
    interval: float | None = None

    def observe(self, record: Record) -> None:
        """Say so."""
        record.source(self.name, "off")
