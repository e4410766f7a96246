"""Runs in SQL: the run itself, its tags, parameters and facts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import msgspec
from sqlalchemy.engine import Row

from larder.contract.errors import Invalid
from larder.contract.queues import Needs
from larder.contract.runs import Cause, Param, Retry, Run, RunStatus
from larder_server.kernel.context import Context
from larder_server.runs.rules import names
from larder_server.runs.store import lists

_COLUMNS = (
    "seq, id, project, name, status, kind, actor, reason, created, started, ended, heartbeat, host, branch, commit_id,"
    " notes, parent, attempt, archived, exit_status, lost_records, queue, stop, cause, retries, published, made_by,"
    " undecided, needs, retry"
)

_LONGEST_INDEXED = 2_000
"""Bytes of a parameter's JSON text that fit into an index of PostgreSQL. A longer one is cut there, and whole among
the facts, under a name that no other fact can have: names have no control characters."""

CUT = "…"  # no JSON text ends so
_HIDDEN = "\x1f"
_LONG = _HIDDEN + "param:"
_MARKS = _HIDDEN + "marks"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run with the number by which the other tables point at it; tags, parameters, facts and metrics are left out."""

    seq: int
    stop: bool
    run: Run
    made_by: str = ""
    undecided: bool = False


@dataclass(frozen=True, kw_only=True)
class Marks:
    """How much there was of a run when its newest attempt began: points by series, lines, versions of artifacts."""

    points: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    versions: dict[str, int] = field(default_factory=dict)


def find(context: Context, id: str, *, lock: bool = False) -> Record | None:
    """The run; `lock` keeps others from changing it until this transaction ends."""
    row = context.db.one(
        f"select {_COLUMNS} from runs where tenant = :tenant and id = :id{context.db.for_update if lock else ''}", id=id
    )
    return None if row is None else _record(row)


def keep(context: Context, id: str, *, patient: bool) -> bool:
    """Lock a run as `find` does; False when there is none or, unless `patient`, another has it."""
    end = context.db.for_update if patient else context.db.skip_locked
    return context.db.one(f"select id from runs where tenant = :tenant and id = :id{end}", id=id) is not None


# how Python's JSON writes the floats that JSON has not
_NO_JSON = {text: float(text) for text in ("NaN", "Infinity", "-Infinity")}


def by_seqs(context: Context, seqs: Sequence[int]) -> list[Record]:
    """Runs in the order of their numbers in `seqs`."""
    found: dict[int, Record] = {}
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("seq", piece)
        rows = context.db.execute(
            f"select {_COLUMNS} from runs where {context.db.aside}tenant = :tenant and seq in ({marks})", **values
        )
        found.update((row.seq, _record(row)) for row in rows)
    return [found[seq] for seq in seqs if seq in found]


def by_ids(context: Context, ids: Sequence[str]) -> list[Record]:
    """The runs of these ids that are there, in no order."""
    found: list[Record] = []
    for piece in lists.pieces(ids):
        marks, values = lists.bound("id", piece)
        rows = context.db.execute(f"select {_COLUMNS} from runs where tenant = :tenant and id in ({marks})", **values)
        found += map(_record, rows)
    return found


def insert(context: Context, run: Run, *, made_by: str = "") -> Record | None:
    """Insert a run with its tags; None when there is one of that id."""
    row = context.db.one(
        "insert into runs (tenant, id, project, name, status, kind, actor, reason, created, started, ended, heartbeat,"
        " host, branch, commit_id, notes, parent, attempt, archived, exit_status, lost_records, queue, words, made_by,"
        " needs, retry)"
        " values (:tenant, :id, :project, :name, :status, :kind, :actor, :reason, :created, :started, :ended,"
        " :heartbeat, :host, :branch, :commit_id, :notes, :parent, :attempt, :archived, :exit_status, :lost_records,"
        " :queue, :words, :made_by, :needs, :retry) on conflict (tenant, id) do nothing returning seq",
        id=run.id, project=run.project, name=run.name, status=str(run.status), kind=run.kind, actor=run.user,
        reason=run.reason, created=run.created, started=run.started, ended=run.ended, heartbeat=run.heartbeat,
        host=run.host, branch=run.branch, commit_id=run.commit, notes=run.notes, parent=run.parent, attempt=run.attempt,
        archived=int(run.archived), exit_status=run.exit_status, lost_records=run.lost_records, queue=run.queue,
        words=_words(run), made_by=made_by, needs=_brief(run.needs), retry=_brief(run.retry),
    )  # fmt: skip
    if row is None:
        return None
    _add_tags(context, row.seq, run.tags)
    return Record(seq=row.seq, stop=False, run=run, made_by=made_by)


def put_asked(context: Context, seq: int, *, needs: Needs | None = None, retry: Retry | None = None) -> None:
    """Write what a run needs and when it is tried again; None leaves as is."""
    asked = {name: _brief(value) for name, value in (("needs", needs), ("retry", retry)) if value is not None}
    if asked:
        update(context, seq, **asked)


def update(context: Context, seq: int, **columns: str | int | None) -> None:
    """Set columns of a run."""
    assignments = ", ".join(f"{column} = :{column}" for column in columns)
    context.db.change(f"update runs set {assignments} where tenant = :tenant and seq = :seq", seq=seq, **columns)


def mark(
    context: Context, record: Record, *, name: str | None, notes: str | None, add: Sequence[str], remove: Sequence[str]
) -> None:
    """Change name, notes and tags, and the words by which they are found."""
    context.db.many(
        "delete from run_tags where tenant = :tenant and run = :run and tag = :tag",
        [{"run": record.seq, "tag": tag} for tag in remove],
    )
    _add_tags(context, record.seq, add)
    run = replace(
        record.run,
        name=record.run.name if name is None else name,
        notes=record.run.notes if notes is None else notes,
        tags=tags_of(context, [record.seq])[record.seq],
    )
    update(context, record.seq, name=run.name, notes=run.notes, words=_words(run))


def tags_of(context: Context, seqs: Sequence[int]) -> dict[int, list[str]]:
    """The tags of runs, sorted."""
    found: dict[int, list[str]] = {seq: [] for seq in seqs}
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("run", piece)
        rows = context.db.execute(
            f"select run, tag from run_tags where tenant = :tenant and run in ({marks})", **values
        )
        for row in rows:
            found[row.run].append(row.tag)
    return {seq: sorted(tags) for seq, tags in found.items()}


def put_params(context: Context, seq: int, params: Mapping[str, Param]) -> None:
    """Write parameters over those of the same names."""
    if not params:
        return
    numbers = _param_numbers(context, sorted(params))
    texts = {name: _text(value) for name, value in params.items()}
    context.db.many(
        "insert into run_params (tenant, run, param, value, number) values (:tenant, :run, :param, :value, :number)"
        " on conflict (tenant, run, param) do update set value = excluded.value, number = excluded.number",
        [
            {"run": seq, "param": numbers[name], "value": _indexed(texts[name]), "number": names.number(value)}
            for name, value in params.items()
        ],
    )
    _put_documents(context, seq, {_LONG + name: text for name, text in texts.items() if _indexed(text) != text})


def params_of(context: Context, seqs: Sequence[int]) -> dict[int, dict[str, Param]]:
    """The parameters of runs, by name."""
    found: dict[int, dict[str, Param]] = {seq: {} for seq in seqs}
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("run", piece)
        rows = context.db.execute(
            "select p.run, n.name, p.value from run_params p join param_names n on n.tenant = p.tenant"
            f" and n.seq = p.param where p.tenant = :tenant and p.run in ({marks})",
            **values,
        )
        for run, name, value in rows:
            text = _whole(context, run, name) if value.endswith(CUT) else value
            found[run][name] = _NO_JSON[text] if text in _NO_JSON else msgspec.json.decode(text)
    return {seq: dict(sorted(params.items())) for seq, params in found.items()}


def shown(value: str) -> Param:
    """A parameter as it stands in the index, where a very long one is cut."""
    text = value if not value.endswith(CUT) else value[:-1].rstrip("\\") + '…"'
    return _NO_JSON[text] if text in _NO_JSON else _decoded(text)


def _decoded(text: str) -> Param:
    try:
        return msgspec.json.decode(text)  # type: ignore[no-any-return]
    except msgspec.DecodeError:  # cut inside an escape
        return text.strip('"')


def put_facts(context: Context, seq: int, facts: Mapping[str, Any]) -> None:
    """Write documents over those of the same names."""
    documents = {}
    for name, document in facts.items():
        try:
            documents[name] = json.dumps(document, ensure_ascii=False)
        except (TypeError, ValueError) as problem:
            raise Invalid(f"the fact {name!r} is not a document: {problem}", field=f"facts.{name}") from None
    _put_documents(context, seq, documents)


def facts_of(context: Context, seqs: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The facts of runs, by name."""
    found: dict[int, dict[str, Any]] = {seq: {} for seq in seqs}
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("run", piece)
        rows = context.db.execute(
            f"select run, name, document from run_facts where tenant = :tenant and run in ({marks}) order by name",
            **values,
        )
        for row in rows:
            if not row.name.startswith(_HIDDEN):
                found[row.run][row.name] = json.loads(row.document)
    return found


def fact_of(context: Context, seqs: Sequence[int], name: str) -> dict[int, Any]:
    """One fact of runs; runs without it are left out."""
    found: dict[int, Any] = {}
    for piece in lists.pieces(seqs):
        marks, values = lists.bound("run", piece)
        rows = context.db.execute(
            f"select run, document from run_facts where tenant = :tenant and run in ({marks}) and name = :name",
            name=name,
            **values,
        )
        found.update((row.run, json.loads(row.document)) for row in rows)
    return found


def put_marks(context: Context, seq: int, marks: Marks) -> None:
    """Remember how much there was when the newest attempt began."""
    _put_documents(context, seq, {_MARKS: json.dumps(asdict(marks))})


def marks_of(context: Context, seq: int) -> Marks:
    """How much there was when the newest attempt began."""
    found = fact_of(context, [seq], _MARKS)
    return Marks(**found[seq]) if seq in found else Marks()


def completed(context: Context, project: str, *, most: int) -> dict[int, float]:
    """How many seconds the newest completed runs of a project took, the newest first."""
    rows = context.db.execute(
        "select seq, started, ended from runs where tenant = :tenant and project = :project and archived = 0"
        " and status = 'completed' and started is not null and ended >= started order by created desc limit :most",
        project=project,
        most=most,
    )
    return {row.seq: (row.ended - row.started) / 1e6 for row in rows}


def silent(context: Context, *, before: int) -> list[Record]:
    """Running runs that no agent watches and that have not been heard of since a time."""
    rows = context.db.execute(
        f"select {_COLUMNS} from runs where tenant = :tenant and status = 'running' and attempt = 0"
        f" and heartbeat < :before{context.db.skip_locked}",
        before=before,
    )
    return [_record(row) for row in rows]


def delete(context: Context, seq: int) -> None:
    """Remove a run with its tags, parameters and facts."""
    context.db.change("delete from run_tags where tenant = :tenant and run = :run", run=seq)
    context.db.change("delete from run_params where tenant = :tenant and run = :run", run=seq)
    context.db.change("delete from run_facts where tenant = :tenant and run = :run", run=seq)
    context.db.change("delete from runs where tenant = :tenant and seq = :seq", seq=seq)


def _add_tags(context: Context, seq: int, tags: Iterable[str]) -> None:
    context.db.many(
        "insert into run_tags (tenant, run, tag) values (:tenant, :run, :tag)"
        " on conflict (tenant, run, tag) do nothing",
        [{"run": seq, "tag": tag} for tag in tags],
    )


def _param_numbers(context: Context, names: Sequence[str]) -> dict[str, int]:
    found = _look_up(context, names)
    missing = [name for name in names if name not in found]
    if missing:
        context.db.many(
            "insert into param_names (tenant, name) values (:tenant, :name) on conflict (tenant, name) do nothing",
            [{"name": name} for name in missing],
        )
        found.update(_look_up(context, missing))
    return found


def _look_up(context: Context, names: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for piece in lists.pieces(names):
        marks, values = lists.bound("name", piece)
        rows = context.db.execute(
            f"select seq, name from param_names where tenant = :tenant and name in ({marks})", **values
        )
        found.update((row.name, row.seq) for row in rows)
    return found


def _put_documents(context: Context, seq: int, documents: Mapping[str, str]) -> None:
    context.db.many(
        "insert into run_facts (tenant, run, name, document) values (:tenant, :run, :name, :document)"
        " on conflict (tenant, run, name) do update set document = excluded.document",
        [{"run": seq, "name": name, "document": document} for name, document in documents.items()],
    )


def _indexed(text: str) -> str:
    """What of a parameter's JSON text stands in the index."""
    data = text.encode()
    return text if len(data) <= _LONGEST_INDEXED else data[:_LONGEST_INDEXED].decode(errors="ignore") + CUT


def _whole(context: Context, seq: int, param: str) -> str:
    row = context.db.one(
        "select document from run_facts where tenant = :tenant and run = :run and name = :name",
        run=seq,
        name=_LONG + param,
    )
    assert row is not None, "the whole text was written beside the cut one"
    return str(row.document)


def _text(value: Param) -> str:
    # text as the search writes it; numbers by Python's JSON, which has NaN and infinities
    return msgspec.json.encode(value).decode() if isinstance(value, str) else json.dumps(value)


def _words(run: Run) -> str:
    return "\n".join((run.name, *sorted(run.tags), run.notes)).lower()


def _record(row: Row[Any]) -> Record:
    run = Run(
        id=row.id, project=row.project, name=row.name, status=RunStatus(row.status), kind=row.kind, user=row.actor,
        reason=row.reason, created=row.created, started=row.started, ended=row.ended, heartbeat=row.heartbeat,
        host=row.host, branch=row.branch, commit=row.commit_id, notes=row.notes, parent=row.parent, attempt=row.attempt,
        archived=bool(row.archived), exit_status=row.exit_status, lost_records=row.lost_records, queue=row.queue,
        cause=Cause(row.cause), retries=row.retries, published=bool(row.published),
        needs=_needs.decode(row.needs) if row.needs else Needs(),
        retry=_retry.decode(row.retry) if row.retry else Retry(),
    )  # fmt: skip
    return Record(seq=row.seq, stop=bool(row.stop), run=run, made_by=row.made_by, undecided=bool(row.undecided))


_needs = msgspec.json.Decoder(Needs)
_retry = msgspec.json.Decoder(Retry)


def _brief(asked: Needs | Retry) -> str:
    """JSON, empty for the default: a row in which most runs have nothing is read faster."""
    return "" if asked == type(asked)() else msgspec.json.encode(asked).decode()
