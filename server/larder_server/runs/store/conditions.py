"""A tree of conditions in SQL: each a test of one run and, where that helps, a select of the runs that pass."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn

from larder_server.kernel.context import Context
from larder_server.runs.rules import where
from larder_server.runs.rules.where import (
    And,
    AnyNumber,
    Comparison,
    Has,
    In,
    Leaf,
    Like,
    Moment,
    Node,
    Not,
    Operand,
    Or,
    Range,
    Value,
    Word,
)

Sorted = tuple[Literal["metric", "param"], int, str]
"""A series that an index keeps in order: its kind, number and column."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition in SQL, as a test of the run `r`, and where that helps as a select of the runs that pass.

    `weight` counts the look-ups of a test in other tables, 0 for one that reads the run alone; `columns` says that
    it reads more than the number of the run. `rows` may repeat a run where `repeats`, and reads every run of the
    tenant where `scans`. `inner` is the test of the sorted series itself.
    """

    test: str
    rows: str = ""
    repeats: bool = False
    scans: bool = False
    weight: int = 0
    columns: bool = False
    sorted: Sorted | None = None
    inner: str = ""


@dataclass(kw_only=True)
class Binds:
    """The values that travel beside the SQL, each under its own name."""

    values: dict[str, Any] = field(default_factory=dict)

    def add(self, value: Any) -> str:
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f":{name}"

    def all(self, values: Iterable[Any]) -> str:
        return ", ".join([self.add(value) for value in values])


# -- names ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Series:
    """The metric or parameter that a name stands for; without a number where nothing of the tenant is called so."""

    kind: Literal["metric", "param"]
    number: int | None
    statistic: str = "last"


@dataclass(frozen=True, kw_only=True)
class Names:
    """Numbers of metrics and parameters by name."""

    metrics: dict[str, int]
    params: dict[str, int]

    def series(self, operand: Operand) -> Series | None:
        """What the operand stands for; None for a bare name that is neither a metric nor a parameter."""
        whole = f"{operand.name}.{operand.statistic}" if operand.statistic else operand.name
        if operand.kind == "param":
            return Series(kind="param", number=self.params.get(operand.name))
        if operand.name in self.metrics:
            return Series(kind="metric", number=self.metrics[operand.name], statistic=operand.statistic or "last")
        if whole in self.metrics:
            return Series(kind="metric", number=self.metrics[whole])
        if operand.kind == "metric":
            return Series(kind="metric", number=None)
        return Series(kind="param", number=self.params[whole]) if whole in self.params else None


def names(context: Context, operands: Sequence[Operand]) -> Names:
    """The numbers of all that the operands can stand for."""
    wanted = {operand.name for operand in operands} | {f"{operand.name}.{operand.statistic}" for operand in operands}
    if not any(operand.kind in ("metric", "param", "bare", "metrics", "params") for operand in operands):
        return Names(metrics={}, params={})
    binds = Binds()
    listed = binds.all(sorted(wanted))
    metrics = context.db.execute(
        f"select name, seq from metric_names where tenant = :tenant and name in ({listed})", **binds.values
    )
    params = context.db.execute(
        f"select name, seq from param_names where tenant = :tenant and name in ({listed})", **binds.values
    )
    return Names(metrics={row.name: row.seq for row in metrics}, params={row.name: row.seq for row in params})


def unknown(context: Context, text: str, operand: Operand, *, field: str) -> NoReturn:
    """Refuse a bare name that stands for nothing, with names that look like it."""
    known = [*where.FIELDS]
    known += [r.name for r in context.db.execute("select name from metric_names where tenant = :tenant limit 2000")]
    known += [r.name for r in context.db.execute("select name from param_names where tenant = :tenant limit 2000")]
    hint = where.near(operand.name, known) or (
        f"fields are {', '.join(where.FIELDS)}; metrics.{operand.name} and params.{operand.name} may be recorded later"
    )
    problem = f"has the name {operand.name!r}, which is no field, and no metric or parameter yet"
    where.refuse(text, operand.position, problem, hint=hint, field=field)


# -- conditions ----------------------------------------------------------------------------------------------------

_NOTHING = Condition(
    test="1 = 0", rows="select r.seq as run from runs r where r.tenant = :tenant and 1 = 0", columns=True
)
_EVERYTHING = Condition(test="1 = 1")

COLUMNS = {
    "branch": "r.branch", "commit": "r.commit_id", "created": "r.created", "ended": "r.ended", "host": "r.host",
    "id": "r.id", "kind": "r.kind", "name": "r.name", "notes": "r.notes", "parent": "r.parent",
    "project": "r.project", "started": "r.started", "status": "r.status", "user": "r.actor",
    "archived": "r.archived", "cause": "r.cause", "published": "r.published", "retries": "r.retries",
}  # fmt: skip
_INDEXED = ("created", "name", "parent", "project", "status", "user")
"""Fields whose equal runs an index gives."""

_Pieces = tuple[str, ...]


class Compiler:
    """Makes conditions of one tree. `lenient` lets unknown bare names match nothing; `fence` ends each look-up."""

    def __init__(
        self,
        context: Context,
        node: Node,
        *,
        text: str,
        binds: Binds,
        now: int,
        fence: str = "",
        lenient: bool = False,
    ) -> None:
        self._context = context
        self._text = text
        self._binds = binds
        self._now = now
        self._lenient = lenient
        self._fence = fence
        operands = [leaf.operand for leaf in where.leaves(node)]
        operands += [
            replace(leaf.operand, name=leaf.value.text)
            for leaf in where.leaves(node)
            if isinstance(leaf, Has) and leaf.operand.kind in ("params", "metrics")
        ]
        self._names = names(context, operands)

    def conjuncts(self, node: Node) -> list[Condition]:
        """The conditions that all have to hold."""
        if isinstance(node, And):
            return [condition for item in node.items for condition in self.conjuncts(item)]
        return [self._condition(node)]

    def _condition(self, node: Node) -> Condition:
        if isinstance(node, And):
            return _all(self.conjuncts(node))
        if isinstance(node, Or):
            return _any([self._condition(item) for item in node.items])
        if isinstance(node, Not):
            return _not(self._condition(node.item))
        if isinstance(node, Word):
            return self._scan(self._like("r.words", ("", node.text.lower(), ""), fold=False))
        if isinstance(node, AnyNumber):
            return self._any_number(node)
        return self._leaf(node)

    def _leaf(self, leaf: Leaf) -> Condition:
        operand = leaf.operand
        if operand.kind == "field":
            return self._field(leaf)
        if isinstance(leaf, Has):
            known = self._names.metrics if operand.kind == "metrics" else self._names.params
            number = known.get(leaf.value.text)
            kind: Literal["metric", "param"] = "metric" if operand.kind == "metrics" else "param"
            found = _NOTHING if number is None else self._recorded(Series(kind=kind, number=number), ["1 = 1"])
            return _not(found) if leaf.negated else found
        series = self._names.series(operand)
        if series is None:
            if not self._lenient:
                unknown(self._context, self._text, operand, field="where")
            return _NOTHING
        return self._metric(leaf, series) if series.kind == "metric" else self._param(leaf, series)

    # -- metrics and parameters

    def _recorded(self, series: Series, tests: list[str], *, column: str = "", present: bool = True) -> Condition:
        """The runs whose metric or parameter passes one of `tests`, which call its row `s` and read its `column`.

        `present` says that no test is passed by a row whose column is empty.
        """
        if series.number is None:
            return _NOTHING
        number = self._binds.add(series.number)
        either = f"({' or '.join(tests)})"
        if series.kind == "metric":
            test = (
                "exists (select 1 from metric_summaries s where s.tenant = :tenant and s.run = r.seq"
                f" and s.metric = {number} and {either}{self._fence})"
            )
            rows = [
                f"select s.run from metric_summaries s where s.tenant = :tenant and s.metric = {number} and {one}"
                for one in tests
            ]
        else:
            test = (
                "exists (select 1 from run_params s where s.tenant = :tenant and s.run = r.seq"
                f" and s.param = {number} and {either}{self._fence})"
            )
            rows = [
                f"select s.run from run_params s where s.tenant = :tenant and s.param = {number} and {one}"
                for one in tests
            ]
        kept = (series.kind, series.number, column) if present and column in ("last", "min", "max", "number") else None
        if column in ("mean", "count"):
            rows = []  # no index keeps these
        return Condition(
            test=test, rows=" union all ".join(rows), repeats=len(rows) > 1, weight=1, sorted=kept, inner=either
        )

    def _metric(self, leaf: Leaf, series: Series) -> Condition:
        column = statistic("s", series.statistic)
        values = _values(leaf)
        for value in values:
            if value.number is None and (value.quoted or value.value is not None):
                where.refuse(
                    self._text, value.position, f"does not fit: {leaf.operand.text} is a metric, which is a number"
                )
        if isinstance(leaf, Like):
            where.refuse(self._text, leaf.operand.position, f"does not fit: {leaf.operand.text} is a metric, not text")
        present = self._recorded(series, ["1 = 1"])
        if isinstance(leaf, Comparison) and leaf.value.value is None:
            return _not(present) if leaf.operator == "=" else present
        test = self._number_test(leaf, column)
        negated = _is_negated(leaf)
        # a summary without a value is the one of a series of NaN, which differs from every number
        if negated:
            return self._recorded(series, [f"not coalesce({test}, false)"], column=series.statistic, present=False)
        nan = any(value.number != value.number for value in values)
        return self._recorded(series, [test], column=series.statistic, present=not nan)

    def _number_test(self, leaf: Leaf, column: str) -> str:
        if isinstance(leaf, Range):
            return self._between(column, leaf, lambda value: value.number)
        if isinstance(leaf, Comparison) and leaf.operator not in ("=", "!="):
            return f"{column} {leaf.operator} {self._binds.add(leaf.value.number)}"
        numbers = [value.number for value in _values(leaf) if value.number is not None]
        tests = []
        if any(number != number for number in numbers):
            tests.append(f"{column} is null")
        plain = [number for number in numbers if number == number]
        if plain:
            tests.append(f"{column} in ({self._binds.all(plain)})")
        return f"({' or '.join(tests)})" if tests else "1 = 0"

    def _between(self, column: str, leaf: Range, number: Callable[[Value], float | int | None]) -> str:
        tests = []
        if leaf.low is not None:
            tests.append(f"{column} >= {self._binds.add(number(leaf.low))}")
        if leaf.high is not None:
            tests.append(f"{column} {'<' if leaf.open else '<='} {self._binds.add(number(leaf.high))}")
        return f"({' and '.join(tests)})"

    def _param(self, leaf: Leaf, series: Series) -> Condition:
        if isinstance(leaf, Comparison) and leaf.value.value is None and not leaf.value.quoted:
            present = self._recorded(series, ["s.value <> 'null'"])
            return _not(present) if leaf.operator == "=" else present
        if isinstance(leaf, Range) or (isinstance(leaf, Comparison) and leaf.operator not in ("=", "!=")):
            tests, column = [self._number_test(leaf, "s.number")], "number"
        elif isinstance(leaf, Like):
            # the text of a parameter is kept as JSON: in quotes where it is text, without where it is a number
            quoted = ('"' + _json(leaf.pieces[0]), *map(_json, leaf.pieces[1:]))
            quoted = (*quoted[:-1], quoted[-1] + '"')
            tests, column = [f"({self._like('s.value', quoted)} or {self._like('s.value', leaf.pieces)})"], ""
        else:
            tests, column = self._param_equals(_values(leaf)), ""
        if not _is_negated(leaf):
            return self._recorded(series, tests, column=column)
        differs = [f"s.value <> 'null' and not coalesce(({' or '.join(tests)}), false)"]
        return self._recorded(series, differs)

    def _param_equals(self, values: Sequence[Value]) -> list[str]:
        numbers, texts = [], []
        for value in values:
            if value.number is not None:
                numbers.append(value.number)
                texts.append(f'"{value.text}"')
            elif isinstance(value.value, bool):
                texts.append(str(value.value).lower())
            elif value.value is None:
                texts.append("null")
            else:
                texts += [f'"{_json(value.text)}"', value.text]
        tests = [f"s.number in ({self._binds.all(numbers)})"] if numbers else []
        return [*tests, f"s.value in ({self._binds.all(texts)})"]

    def _any_number(self, node: AnyNumber) -> Condition:
        low, high = self._binds.add(node.low), self._binds.add(node.high)
        below = "<=" if node.closed else "<"
        inside = {c: f"s.{c} >= {low} and s.{c} {below} {high}" for c in ("last", "min", "max", "number")}
        test = (
            "(exists (select 1 from metric_summaries s where s.tenant = :tenant and s.run = r.seq"
            f" and (({inside['last']}) or ({inside['min']}) or ({inside['max']})){self._fence})"
            " or exists (select 1 from run_params s where s.tenant = :tenant and s.run = r.seq"
            f" and {inside['number']}{self._fence}))"
        )
        # one short stretch of the index for each name
        rows = [
            "select s.run from metric_names n cross join metric_summaries s where n.tenant = :tenant"
            f" and s.tenant = :tenant and s.metric = n.seq and {inside[column]}"
            for column in ("last", "min", "max")
        ]
        rows.append(
            "select s.run from param_names n cross join run_params s where n.tenant = :tenant"
            f" and s.tenant = :tenant and s.param = n.seq and {inside['number']}"
        )
        return Condition(test=test, rows=" union all ".join(rows), repeats=True, weight=10)

    # -- fields

    def _field(self, leaf: Leaf) -> Condition:
        name, negated = leaf.operand.name, _is_negated(leaf)
        if name == "tags":
            found = self._tags(leaf)
            return _not(found) if negated else found
        if name == "code":
            names = ("branch", "commit")
            found = _any([self._field(_positive(leaf, replace(leaf.operand, name=name))) for name in names])
            return _not(found) if negated else found
        test = self._field_test(leaf)
        if negated:
            return self._scan(f"{COLUMNS[name]} is not null and not ({test})" if name in COLUMNS else f"not ({test})")
        condition = self._scan(test)
        indexed = name in _INDEXED and not isinstance(leaf, Like | Has)
        return replace(condition, scans=False) if indexed else condition

    def _scan(self, test: str) -> Condition:
        return Condition(
            test=f"({test})", rows=f"select r.seq as run from runs r where r.tenant = :tenant and ({test})",
            scans=True, columns=True,
        )  # fmt: skip

    def _field_test(self, leaf: Leaf) -> str:
        name = leaf.operand.name
        if isinstance(leaf, Like):
            return self._like(COLUMNS[name], leaf.pieces)
        if isinstance(leaf, Has):
            return self._like(COLUMNS[name], ("", leaf.value.text, ""))
        if where.FIELDS[name] == "yes or no":
            return f"{COLUMNS[name]} in ({self._binds.all(int(value.value is True) for value in _values(leaf))})"
        if where.FIELDS[name] == "time":
            return self._time_test(leaf)
        if name == "duration":
            return self._duration_test(leaf)
        if where.FIELDS[name] == "number":
            return self._number_test(leaf, COLUMNS[name])
        return " or ".join(f"({self._text_test(name, value)})" for value in _values(leaf))

    def _text_test(self, name: str, value: Value) -> str:
        column = COLUMNS[name]
        if value.value is None and not value.quoted:
            return f"{column} is null" if name == "parent" else f"{column} = ''"
        if name in ("commit", "id") and value.text:
            return self._like(column, (value.text, ""))
        return f"{column} = {self._binds.add(value.text)}"

    def _time_test(self, leaf: Leaf) -> str:
        column = COLUMNS[leaf.operand.name]

        def moment(value: Value) -> Moment:
            assert isinstance(value.value, Moment)
            found = value.value.at(self._now)
            return Moment(first=max(found.first, -(2**62)), after=min(found.after, 2**62))

        if isinstance(leaf, Range):
            tests = []
            if leaf.low is not None:
                tests.append(f"{column} >= {self._binds.add(moment(leaf.low).first)}")
            if leaf.high is not None:
                tests.append(f"{column} < {self._binds.add(moment(leaf.high).after)}")
            return f"{column} is not null and {' and '.join(tests)}"
        if isinstance(leaf, Comparison) and leaf.operator not in ("=", "!="):
            # a day is a stretch: before it is before its first moment, after it begins where it ends
            at = moment(leaf.value)
            sign, edge = {
                "<": ("<", at.first), "<=": ("<", at.after), ">": (">=", at.after), ">=": (">=", at.first),
            }[leaf.operator]  # fmt: skip
            return f"{column} is not null and {column} {sign} {self._binds.add(edge)}"
        tests = []
        for value in _values(leaf):
            if value.value is None:
                tests.append(f"{column} is null")
            else:
                at = moment(value)
                first, after = self._binds.add(at.first), self._binds.add(at.after)
                tests.append(f"{column} is not null and {column} >= {first} and {column} < {after}")
        return " or ".join(f"({test})" for test in tests)

    def _duration_test(self, leaf: Leaf) -> str:
        column = f"(coalesce(r.ended, {self._binds.add(self._now)}) - r.started)"

        def microseconds(value: Value) -> int:
            return int((value.number or 0.0) * where.SECOND)

        if isinstance(leaf, Range):
            return f"r.started is not null and {self._between(column, leaf, microseconds)}"
        if isinstance(leaf, Comparison) and leaf.operator not in ("=", "!="):
            return f"r.started is not null and {column} {leaf.operator} {self._binds.add(microseconds(leaf.value))}"
        tests = ["r.started is null" for value in _values(leaf) if value.value is None][:1]
        lengths = [microseconds(value) for value in _values(leaf) if value.value is not None]
        if lengths:
            tests.append(f"r.started is not null and {column} in ({self._binds.all(lengths)})")
        return " or ".join(f"({test})" for test in tests)

    def _tags(self, leaf: Leaf) -> Condition:
        if isinstance(leaf, Like):
            test = self._like("t.tag", leaf.pieces)
        else:
            values = _values(leaf)
            if any(value.value is None and not value.quoted for value in values):
                none = _not(self._tagged("1 = 1"))
                rest = tuple(value for value in values if value.value is not None or value.quoted)
                return _any([none, self._tags(In(operand=leaf.operand, values=rest))]) if rest else none
            test = f"t.tag in ({self._binds.all(value.text for value in values)})"
        return self._tagged(test)

    def _tagged(self, test: str) -> Condition:
        return Condition(
            test=f"exists (select 1 from run_tags t where t.tenant = :tenant and t.run = r.seq and {test}{self._fence})",
            rows=f"select t.run from run_tags t where t.tenant = :tenant and {test}",
            repeats=True,
            weight=1,
        )

    def _like(self, column: str, pieces: _Pieces, *, fold: bool = True) -> str:
        # `!` escapes, for a backslash is one on PostgreSQL and none on SQLite; `_` is a character like others
        pattern = "%".join(re.sub("([!%_])", r"!\1", piece) for piece in pieces)
        bound = self._binds.add(pattern)
        return f"lower({column}) like lower({bound}) escape '!'" if fold else f"{column} like {bound} escape '!'"


def _values(leaf: Leaf) -> tuple[Value, ...]:
    if isinstance(leaf, In):
        return leaf.values
    if isinstance(leaf, Range):
        return tuple(end for end in (leaf.low, leaf.high) if end is not None)
    return () if isinstance(leaf, Like) else (leaf.value,)


def _is_negated(leaf: Leaf) -> bool:
    return leaf.operator == "!=" if isinstance(leaf, Comparison) else leaf.negated


def _positive(leaf: Leaf, operand: Operand) -> Leaf:
    if isinstance(leaf, Comparison):
        return replace(leaf, operand=operand, operator="=")
    return replace(leaf, operand=operand, negated=False)


def statistic(alias: str, name: str) -> str:
    """A statistic of a summary in SQL."""
    if name == "mean":
        return f"({alias}.total / nullif({alias}.numbers, 0))"
    return f"{alias}.{name}"


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _all(conditions: list[Condition]) -> Condition:
    if not conditions:
        return _EVERYTHING
    # any one of them narrows: an index does it cheaper than a scan
    best = next((c for c in conditions if c.rows and not c.scans), next((c for c in conditions if c.rows), None))
    return Condition(
        test=f"({' and '.join(c.test for c in conditions)})",
        rows="" if best is None else best.rows,
        repeats=best is not None and best.repeats,
        scans=best is not None and best.scans,
        weight=sum(c.weight for c in conditions),
        columns=any(c.columns for c in conditions),
    )


def _any(conditions: list[Condition]) -> Condition:
    conditions = [condition for condition in conditions if condition is not _NOTHING] or [_NOTHING]
    return Condition(
        test=f"({' or '.join(c.test for c in conditions)})",
        rows=" union all ".join(c.rows for c in conditions) if all(c.rows for c in conditions) else "",
        repeats=True,
        scans=any(c.scans for c in conditions),
        weight=sum(c.weight for c in conditions),
        columns=any(c.columns for c in conditions),
    )


def _not(condition: Condition) -> Condition:
    return Condition(test=f"not {condition.test}", weight=condition.weight, columns=condition.columns)
