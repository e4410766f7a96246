"""A run that keeps in memory what capture says to it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from larder import params
from larder.contract.runs import Param


class FakeRun:
    """The part of a live run that capture and integrations use."""

    def __init__(self, overrides: Mapping[str, Param] | None = None) -> None:
        self.overrides: dict[str, Param] = dict(overrides or {})
        self.params: dict[str, Any] = {}
        self.points: dict[str, list[tuple[int | None, float]]] = {}
        self.facts: dict[str, Any] = {}
        self.states: dict[str, str] = {}
        self.lines: list[tuple[str, str]] = []
        self.artifacts: list[tuple[str, Any, str | None, int | None]] = []
        self.files: dict[str, bytes] = {}
        self.figures: list[str] = []
        self.images: list[tuple[str, tuple[int, ...], int | None]] = []
        self.texts: dict[str, str] = {}

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        for name, value in metrics.items():
            assert type(value) is float
            self.points.setdefault(name, []).append((step, value))

    def log_artifact(
        self,
        name: str,
        value: Any,
        kind: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        step: int | None = None,
    ) -> None:
        self.artifacts.append((name, value, kind, step))
        if isinstance(value, Path):
            self.files[name] = value.read_bytes()

    def log_figure(self, name: str, figure: Any, step: int | None = None) -> None:
        import io

        figure.savefig(io.BytesIO(), format="png")  # as the real one does
        self.figures.append(name)

    def log_image(self, name: str, image: Any, step: int | None = None) -> None:
        self.images.append((name, image.shape, step))

    def log_text(self, name: str, text: str, step: int | None = None) -> None:
        self.texts[name] = text

    def record_params(self, found: Any, source: str = "argparse") -> dict[str, Any]:
        flat = params.flat(found)
        self.params.update({name: self.overrides.get(name, params.plain(value)) for name, value in flat.items()})
        return flat

    def record_fact(self, name: str, document: Any) -> None:
        self.facts[name] = document

    def console(self, stream: str, text: str) -> None:
        self.lines.append((stream, text))

    def source(self, name: str, state: str) -> None:
        self.states[name] = state

    def values(self, name: str) -> list[float]:
        return [value for _, value in self.points[name]]


class FakeRecord:
    """Where observers put what they see, in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.facts: dict[str, Any] = {}
        self.samples: list[Mapping[str, float]] = []
        self.states: dict[str, str] = {}
        self.artifacts: dict[str, Path] = {}

    def fact(self, name: str, document: Any) -> None:
        self.facts[name] = document

    def points(self, values: Mapping[str, float]) -> None:
        self.samples.append(values)

    def artifact(
        self,
        name: str,
        kind: str,
        format: str,
        files: "Mapping[str, Path | bytes]",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        root = self._folder / name
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        self.artifacts[name] = root

    def source(self, name: str, state: str) -> None:
        self.states[name] = state
