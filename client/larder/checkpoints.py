"""Checkpoints of recorded runs: how one is named, found, fetched and loaded.

`RUN@last`, `RUN@120` (the step), `RUN@best:METRIC`; `RUN@lowest:METRIC` and `RUN@highest:METRIC` where the name of the
metric does not say which way is better. RUN is an id, its last characters, or the address of the run's page.
"""

import math
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from larder import config
from larder.contract import runs as contract
from larder.contract.errors import Invalid, NotFound
from larder.runs import RecordedRun, StoredArtifact, get, lower_is_better
from larder.transport import Transport

KIND = "checkpoint"
"""The kind of the artifacts that are checkpoints."""

_HINT = "Write RUN@last, RUN@120 (the step) or RUN@best:METRIC."
_CHOICES = ("best", "lowest", "highest")


@dataclass(frozen=True)
class Address:
    """Which checkpoint of which run: the one of a step, the best by a metric, or, with neither, the last."""

    run: str
    step: int | None = None
    metric: str = ""
    direction: str = ""


class Checkpoint:
    """A stored state of a run. It is fetched when it is first asked for, and then lies on this machine."""

    def __init__(
        self,
        reference: contract.Checkpoint,
        *,
        artifact: StoredArtifact | None = None,
        transport: Transport | None = None,
    ) -> None:
        self.run = reference.run
        """The id of the run that has kept it."""
        self.name = reference.name
        self.version = reference.version
        self.step = reference.step
        """The last step that it knows of; the run goes on with the one after it."""
        self._artifact = artifact
        self._transport = transport

    def __repr__(self) -> str:
        return f"<Checkpoint {self.name} of run {self.run[-8:]} after step {self.step}>"

    @property
    def artifact(self) -> StoredArtifact:
        """The artifact in which it is kept."""
        if self._artifact is None:
            run = get(self.run, transport=self._transport)
            self._artifact = run.artifact(self.name, version=self.version)
        return self._artifact

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric when it was taken."""
        return _metrics(self.artifact)

    def path(self) -> Path:
        """Its file, or its folder when it has several; fetched once, and checked by its hash."""
        # The name is a path inside of the run; here it is one folder.
        name = urllib.parse.quote(self.name, safe="")
        return self.artifact.download(config.home() / "cache" / "checkpoints" / self.run / f"{self.version}-{name}")

    def load(self) -> Any:
        """The object that was kept; files and folders come as a path. A pickle executes what its author wrote."""
        from larder import serial  # loads much that only this method needs

        return serial.load(self.path(), self.artifact.format)


# -- addresses: pure -------------------------------------------------------------------------------------------------


def parse(text: str) -> Address:
    """The address in a text; a run alone means its last checkpoint."""
    text = text.strip()
    # The name of a metric may have an @ in it, as recall@10.
    starts = [text.find(f"@{choice}:") for choice in _CHOICES if f"@{choice}:" in text]
    if starts:
        start = min(starts)
        run, (direction, _, metric) = text[:start], text[start + 1 :].partition(":")
        if not run or not metric:
            raise Invalid(f"{text!r} names no checkpoint.", hint=_HINT)
        return Address(run, metric=metric, direction=direction)
    run, at, which = text.rpartition("@")
    if not at:
        run, which = text, "last"
    if run and which == "last":
        return Address(run)
    if run and which.isascii() and which.isdigit():
        return Address(run, step=int(which))
    raise Invalid(f"{text!r} names no checkpoint.", hint=_HINT)


def choose(artifacts: Sequence[StoredArtifact], address: Address) -> StoredArtifact:
    """The checkpoint that an address means; NotFound says why there is none.

    Of equally good ones it is the earliest, of several of one step the newest.
    """
    found = sorted((each for each in artifacts if each.step is not None), key=_age)
    run = address.run
    if not found:
        raise NotFound(f"Run {run} has no checkpoints.", hint="run.log_checkpoint(state) keeps one.")
    if address.step is not None:
        chosen = [each for each in found if each.step == address.step]
        if not chosen:
            steps = ", ".join(
                str(step) for step in sorted({each.step for each in found if each.step is not None})[-20:]
            )
            raise NotFound(f"Run {run} has no checkpoint of step {address.step}.", hint=f"It has those of: {steps}.")
        return chosen[-1]
    if not address.metric:
        return found[-1]
    metric, lower = address.metric, {"lowest": True, "highest": False}.get(address.direction)
    if lower is None:
        lower = lower_is_better(metric)
    if lower is None:
        hint = f"Write {run}@lowest:{metric} or {run}@highest:{metric}."
        raise Invalid(f"The name {metric!r} does not say whether less or more of it is better.", hint=hint)
    values = [(_metrics(each).get(metric, math.nan), each) for each in found]
    valued = [(value, each) for value, each in values if not math.isnan(value)]
    if not valued:
        known = sorted({name for each in found for name in _metrics(each)})
        hint = f"They know: {', '.join(known)}." if known else "No metric was logged before they were kept."
        raise NotFound(f"No checkpoint of run {run} knows a value of {metric!r}.", hint=hint)
    best = (min if lower else max)(value for value, _ in valued)
    return next(each for value, each in valued if value == best)


def _age(artifact: StoredArtifact) -> tuple[int, int, int]:
    return artifact.step or 0, artifact.record.created, artifact.version


def _metrics(artifact: StoredArtifact) -> dict[str, float]:
    found = artifact.metadata.get("metrics")
    # What is no number in JSON has become null on its way.
    return {
        str(name): math.nan if value is None else float(value)
        for name, value in (found.items() if isinstance(found, dict) else ())
        if value is None or isinstance(value, int | float)
    }


# -- the verbs -------------------------------------------------------------------------------------------------------


def find(address: str, *, transport: Transport | None = None) -> Checkpoint:
    """The checkpoint at an address such as `RUN@best:val/mae`."""
    parsed = parse(address)
    transport = transport or config.connect()
    run = get(parsed.run, transport=transport)
    return _made(transport, run.id, choose(_stored(run), parsed))


def of(run: RecordedRun) -> list[Checkpoint]:
    """All checkpoints of a run, by step."""
    found = sorted((each for each in _stored(run) if each.step is not None), key=_age)
    return [_made(run._transport, run.id, each) for each in found]


def newest(run_id: str) -> Checkpoint | None:
    """The newest checkpoint of a run; None when it has none."""
    transport = config.connect()
    known = get(run_id, transport=transport).record.checkpoint
    return None if known is None else Checkpoint(known, transport=transport)


def told(text: str) -> Checkpoint:
    """The checkpoint that an agent tells of in the environment."""
    return Checkpoint(msgspec.json.decode(text, type=contract.Checkpoint))


def _stored(run: RecordedRun) -> list[StoredArtifact]:
    return [each for each in run.artifacts(latest=False) if each.kind == KIND]


def _made(transport: Transport, run: str, artifact: StoredArtifact) -> Checkpoint:
    reference = contract.Checkpoint(run=run, name=artifact.name, version=artifact.version, step=artifact.step or 0)
    return Checkpoint(reference, artifact=artifact, transport=transport)
