"""What runs, metrics, parameters, artifacts and their files may be called, and what a run may ask for."""

import json
import math
import re
import unicodedata

from larder.contract.errors import Invalid
from larder.contract.ids import is_id
from larder.contract.runs import ArtifactFile, Batch, Cause, NewArtifact, NewRun, Param, Retry

LONGEST_NAME = 500
LONGEST_KIND = 100
LONGEST_TAG = 200
LONGEST_PATH = 1_000
LONGEST_NOTE = 1_000_000
LONGEST_VALUE = 1_000_000

MOST_REQUIREMENTS = 1_000
MOST_RETRIES = 1_000

LATEST = 253_402_300_800_000_000
"""The end of the year 9999, in microseconds."""

ENVIRONMENTS = ("recorded", "inherit")
"""Where the packages of a run may come from, apart from a given interpreter."""

_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_RANK = re.compile(r"rank\.([1-9][0-9]{0,8})/")
_SECRET = re.compile(r"://[^/\s]*@")
_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_HEXADECIMAL = frozenset("0123456789abcdef")
# control, surrogate, line and paragraph separators: what cannot be printed on a line or stored everywhere
_UNPRINTABLE = frozenset(("Cc", "Cs", "Zl", "Zp"))


def key(text: str, field: str) -> str:
    """The text, when it may name a metric, a parameter or a fact: 1 to 500 printable characters, any of them."""
    if not 0 < len(text) <= LONGEST_NAME:
        raise Invalid(f"a name has 1 to {LONGEST_NAME} characters, not {len(text)}", field=field)
    _printable(text, field)
    return text


def kind(text: str, field: str) -> str:
    """The text, when it may be the kind of a run: a short key."""
    if len(text) > LONGEST_KIND:
        raise Invalid(f"a kind has at most {LONGEST_KIND} characters, not {len(text)}", field=field)
    return key(text, field)


def label(text: str, field: str) -> str:
    """The text, when it may name a run or an artifact: a key that cannot be taken for a way out of a folder."""
    key(text, field)
    if ".." in text or "\\" in text or text.startswith("/") or text[1:3] == ":/":
        raise Invalid(f"a name holds no '..', no backslash and no absolute path: {text[:100]!r}", field=field)
    return text


def tag(text: str) -> str:
    """The text, when it may be a tag: 1 to 200 printable characters."""
    if not 0 < len(text.strip()) <= len(text) <= LONGEST_TAG:
        raise Invalid(f"a tag has 1 to {LONGEST_TAG} characters, not {len(text)}", field="tags")
    _printable(text, "tags")
    return text


def path(text: str, field: str) -> str:
    """The text, when it may be the path of a file inside an artifact."""
    if not 0 < len(text) <= LONGEST_PATH:
        raise Invalid(f"a path has 1 to {LONGEST_PATH} characters, not {len(text)}", field=field)
    _printable(text, field)
    parts = text.split("/")
    if "\\" in text or text[1:3] == ":/" or any(part in ("", ".", "..") for part in parts):
        raise Invalid(f"a path is relative, with '/' between its parts and no '.' or '..': {text[:100]!r}", field=field)
    return text


def note(text: str, field: str) -> str:
    """Free text as it is stored: without the character NUL, which PostgreSQL cannot hold."""
    if len(text) > LONGEST_NOTE:
        raise Invalid(f"this text has {len(text)} characters; at most {LONGEST_NOTE} are kept", field=field)
    return text.replace("\0", "")


def time(moment: int | None, field: str) -> None:
    """Invalid unless the moment lies between 1970 and the year 10000."""
    if moment is not None and not 0 <= moment < LATEST:
        raise Invalid(f"{field} is a time in microseconds since 1970, not {moment}", field=field)


def params(values: dict[str, Param]) -> None:
    """Invalid unless all parameters can be stored."""
    for name, value in values.items():
        key(name, "params")
        if isinstance(value, str) and len(value) > LONGEST_VALUE:
            raise Invalid(f"the parameter {name!r} has {len(value)} characters", field=f"params.{name}",
                          hint=f"at most {LONGEST_VALUE} are kept; log the text as an artifact")  # fmt: skip
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise Invalid(f"the parameter {name!r} does not fit into 64 bits", field=f"params.{name}",
                          hint="record it as text")  # fmt: skip


def number(value: Param) -> float | None:
    """What a parameter counts in comparisons of numbers: true 1, false 0, text and NaN nothing."""
    if value is None or isinstance(value, str):
        return None
    return None if math.isnan(value) else float(value)


def artifact(new: NewArtifact, field: str) -> None:
    """Invalid unless the artifact and its files can be stored."""
    label(new.name, f"{field}.name")
    for name, text in (("kind", new.kind), ("format", new.format)):
        if text:
            kind(text, f"{field}.{name}")
    time(new.time, f"{field}.time")
    try:
        json.dumps(new.metadata)
    except (TypeError, ValueError) as problem:
        raise Invalid(f"the metadata is not a document: {problem}", field=f"{field}.metadata") from None
    seen = set()
    for index, file in enumerate(new.files):
        _file(file, f"{field}.files.{index}")
        if file.path in seen:
            raise Invalid(f"two files have the path {file.path!r}", field=f"{field}.files.{index}.path")
        seen.add(file.path)


def rank(metric: str) -> int:
    """The rank of a distributed job that has logged a series: all but the first begin the names of theirs with it."""
    found = _RANK.match(metric)
    return int(found[1]) if found else 0


def batch(batch: Batch) -> None:
    """Invalid unless everything in the batch has a name that can be stored and a range that makes sense."""
    if not 0 < len(batch.writer) <= 100 or not batch.writer.isprintable():
        raise Invalid("a writer is named by its journal's id", field="writer")
    if not 0 <= batch.start <= batch.end < 2**63:
        raise Invalid(f"a stretch goes from a byte to a later one, not from {batch.start} to {batch.end}", field="end")
    for index, series in enumerate(batch.series):
        key(series.name, f"series.{index}.name")
    params(batch.params)
    for name in batch.facts:
        key(name, "facts")
    for text in (*batch.add_tags, *batch.remove_tags):
        tag(text)
    if batch.name is not None:
        label(batch.name, "name")
    for index, new in enumerate(batch.artifacts):
        artifact(new, f"artifacts.{index}")
    if batch.opening is not None:
        if batch.opening.name:
            label(batch.opening.name, "opening.name")
        kind(batch.opening.kind, "opening.kind")
        time(batch.opening.time, "opening.time")
        if len(batch.opening.role) > LONGEST_KIND:
            raise Invalid(f"a role has at most {LONGEST_KIND} characters", field="opening.role")
        if batch.opening.continued is not None and not 0 <= batch.opening.continued < 2**63:
            raise Invalid(f"a run continues after a step, not {batch.opening.continued}", field="opening.continued")
        if batch.opening.parent and not is_id(batch.opening.parent):
            raise Invalid("a run's id is a UUID in lower case", field="opening.parent")
    if batch.ending is not None:
        if not batch.ending.status.final:
            raise Invalid(f"a run ends completed, failed or stopped, not {batch.ending.status}", field="ending.status")
        time(batch.ending.time, "ending.time")


def retry(asked: Retry, field: str = "retry") -> Retry:
    """How often to try again, when it makes sense; Invalid otherwise."""
    if not 0 <= asked.times <= MOST_RETRIES:
        raise Invalid(f"a run is tried again 0 to {MOST_RETRIES} times, not {asked.times}", field=f"{field}.times")
    if Cause.NONE in asked.causes or len(asked.causes) > len(Cause):
        raise Invalid("a run is tried again for causes that have a name", field=f"{field}.causes")
    return asked


def environment(text: str) -> str:
    """The text, when it may say where packages come from; Invalid otherwise."""
    if text and text not in ENVIRONMENTS and not _ABSOLUTE.match(text):
        raise Invalid(f"an environment is recorded, inherit or the path of an interpreter, not {text[:100]!r}",
                      field="environment")  # fmt: skip
    if text:
        note(text, "environment")
        _printable(text, "environment")
    return text


def commit(text: str) -> str:
    """The text, when it is the whole hash of a commit; Invalid otherwise."""
    if not _COMMIT.fullmatch(text):
        raise Invalid(f"a commit is named by its whole hash of 40 (or 64) hexadecimal digits, not {text[:100]!r};"
                      " `git rev-parse NAME` prints it", field="commit")  # fmt: skip
    return text


def requirements(texts: list[str]) -> list[str]:
    """The requirements, when an installer may be given them; Invalid otherwise."""
    if len(texts) > MOST_REQUIREMENTS:
        raise Invalid(f"a run has at most {MOST_REQUIREMENTS} requirements", field="requirements")
    for text in texts:
        key(text, "requirements")
        # a line that begins otherwise would be an option, by which an installer reads files and asks other servers
        if not _DISTRIBUTION.match(text):
            raise Invalid(f"{text[:100]!r} is no requirement", field="requirements",
                          hint="a requirement begins with a name, such as lightgbm>=4")  # fmt: skip
        if _SECRET.search(text):
            raise Invalid("a requirement holds no user name or password", field="requirements",
                          hint="the agent's settings know how to reach private packages")  # fmt: skip
    return texts


def distribution(requirement: str) -> str:
    """The name of what a requirement asks for, as installers compare names."""
    found = _DISTRIBUTION.match(requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else requirement


def draft(new: NewRun) -> None:
    """Invalid unless the draft can be stored."""
    if new.name:
        label(new.name, "name")
    kind(new.kind, "kind")
    time(new.started, "started")
    time(new.ended, "ended")
    params(new.params)
    for text in new.tags:
        tag(text)
    for name in new.facts:
        key(name, "facts")
    for index, made in enumerate(new.artifacts):
        artifact(made, f"artifacts.{index}")
    retry(new.retry)


def _file(file: ArtifactFile, field: str) -> None:
    path(file.path, f"{field}.path")
    if len(file.hash) != 64 or not _HEXADECIMAL.issuperset(file.hash):
        raise Invalid("a file is named by its BLAKE3 hash: 64 hexadecimal digits in lower case", field=f"{field}.hash")
    if not 0 <= file.size < 2**63:
        raise Invalid(f"a file cannot have {file.size} bytes", field=f"{field}.size")


def _printable(text: str, field: str) -> None:
    if text.isprintable():
        return
    for character in text:
        if unicodedata.category(character) in _UNPRINTABLE:
            raise Invalid(f"a name has no control characters: {text[:100]!r}", field=field)
