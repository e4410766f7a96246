"""Finding runs: a tree of conditions becomes bound SQL that starts from the rarest condition.

A search that some index narrows to few runs looks at these one by one, and its total is exact. A search that
matches many walks the index of its order until the page is full, and counts as far as it stays cheap; beyond, the
total is extrapolated from the newest runs and says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from larder.contract.errors import Invalid
from larder.contract.runs import RunQuery, Selection
from larder_server.kernel.context import Context
from larder_server.runs.rules import free_text, where
from larder_server.runs.rules.where import Node, Operand
from larder_server.runs.store import conditions
from larder_server.runs.store.conditions import Binds, Compiler, Condition, Names, Series, Sorted

FEW = 5_000
"""So many candidates are looked at one by one without a second thought."""

VISITED = 8_000
"""So many look-ups are spent on the total of a search that matches many."""

MOST = 10_000
"""The longest page."""

COUNTED = 50_000
"""A condition that so many runs pass is still a place to start from, when all that match are looked at."""

ESTIMATED = 8
"""So many conditions are counted before the rarest of them is chosen."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The runs of one page by number, and how many match in all."""

    seqs: list[int]
    total: int
    total_is_exact: bool = True


def find(context: Context, query: RunQuery) -> Found:
    """The page of runs that `query` asks for; Invalid where it does not make sense."""
    if not 0 <= query.limit <= MOST:
        raise Invalid(f"limit is between 0 and {MOST:,}", field="limit")
    if not 0 <= query.offset < 2**31:
        raise Invalid("offset is a number from 0", field="offset")
    return _search(context, query).found()


def every(context: Context, query: RunQuery, *, most: int) -> list[int]:
    """The numbers of all runs that match, in order, whatever `limit` and `offset` say; `most` of them."""
    return _search(context, replace(query, limit=most, offset=0)).found().seqs


@dataclass(frozen=True, kw_only=True)
class Matching:
    """All runs that match, as the end of a statement: `select … from (select r.… {clause}) x`.

    `clause` begins with `from`, calls the run `r`, and takes further joins at `JOINS`.
    """

    clause: str
    binds: Binds
    narrow: bool

    def joined(self, joins: str = "") -> str:
        """The clause with further tables joined to the run."""
        return self.clause.replace(JOINS, joins)


JOINS = "/*joins*/"


def matching(context: Context, selection: Selection) -> Matching:
    """All runs that a selection means; Invalid where it does not make sense."""
    query = RunQuery(
        project=selection.project, where=selection.where, text=selection.text, archived=selection.archived
    )  # fmt: skip
    return _search(context, query, fenced=False).matching()


def _search(context: Context, query: RunQuery, *, fenced: bool = True) -> "_Search":
    binds = Binds()
    now = context.clock.now()
    order = _order(context, query, binds, now)
    # PostgreSQL turns a test into a join where it can, and then, estimating dependent tests one by one, starts a page
    # that an index has in order at the wrong end; behind this, a test stays a look-up
    fence = " offset 0" if context.db.postgres and order.stages and fenced else ""
    wanted, archived = _conditions(context, query, binds, now=now, fence=fence)
    scope = []
    if query.project:
        scope.append(f"r.project = {binds.add(query.project)}")
    if not (archived or query.archived):
        scope.append("r.archived = 0")
    return _Search(context=context, scope=scope, conditions=wanted, order=order, binds=binds, query=query)


# -- what is looked for --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """One stretch of the sorted runs: a table kept in order, or the runs themselves where `source` is empty."""

    source: str = ""
    tests: tuple[str, ...] = ()
    keys: str = ""


@dataclass(frozen=True, kw_only=True)
class _Order:
    """How runs are sorted: by which keys, with which columns of the run `r` and which table joined to it as `o`.

    The stages, one after the other, give the same order from indexes; `rest` are the joins they need.
    """

    keys: str
    columns: tuple[str, ...] = ()
    join: str = ""
    stages: tuple[_Stage, ...] = ()
    rest: str = ""
    sorted: Sorted | None = None
    way: str = "asc"


def _conditions(
    context: Context, query: RunQuery, binds: Binds, *, now: int, fence: str
) -> tuple[list[Condition], bool]:
    wanted: list[Condition] = []
    archived = False
    if query.where.strip():
        node = where.parse(query.where)
        wanted += Compiler(context, node, text=query.where, binds=binds, now=now, fence=fence).conjuncts(node)
        archived |= _speaks_of_archived(node)
    if query.text.strip():
        readings = free_text.readings(query.text)
        for node in readings:
            compiler = Compiler(
                context, node, text=query.text, binds=binds, now=now, fence=fence, lenient=node is readings[-1]
            )
            try:
                wanted += compiler.conjuncts(node)
            except Invalid:
                continue  # the next reading takes any text
            archived |= _speaks_of_archived(node)
            break
    return wanted, archived


def _speaks_of_archived(node: Node) -> bool:
    return any(leaf.operand.kind == "field" and leaf.operand.name == "archived" for leaf in where.leaves(node))


# -- order ---------------------------------------------------------------------------------------------------------

_UNSORTED = ("tags", "notes", "code")


def _order(context: Context, query: RunQuery, binds: Binds, now: int) -> _Order:
    keys = where.order(query.order_by) or where.order("created")
    found = conditions.names(context, [key.operand for key in keys])
    parts = []
    for place, key in enumerate(keys):
        downwards = query.descending if key.descending is None else key.descending
        if downwards is None:
            downwards = key.operand.kind == "field" and key.operand.name in ("created", "started", "ended")
        parts.append(_part(context, query, key.operand, found, binds, way="desc" if downwards else "asc",
                           alias=f"o{place or ''}", now=now))  # fmt: skip
    return _combined(parts)


def _combined(parts: list[_Order]) -> _Order:
    """One order of several: the index of the first gives the runs, the others sort those that are equal in it."""
    # what no run of the tenant has sorts nothing
    first, *rest = [part for part in parts if part.keys] or parts[:1]
    also = [part.keys for part in rest]
    return _Order(
        keys=_listed([first.keys, *also, f"r.seq {first.way}"]),
        columns=tuple(dict.fromkeys(column for part in (first, *rest) for column in part.columns)),
        join=" ".join(part.join for part in (first, *rest) if part.join),
        stages=tuple(
            replace(stage, keys=_listed([stage.keys, *also, f"{'s.run' if stage.source else 'r.seq'} {first.way}"]))
            for stage in first.stages
        ),
        rest=" ".join(part.join for part in rest if part.join),
        sorted=first.sorted,
        way=first.way,
    )


def _listed(keys: list[str]) -> str:
    return ", ".join(key for key in keys if key)


def _part(
    context: Context, query: RunQuery, operand: Operand, found: Names, binds: Binds, *, way: str, alias: str, now: int
) -> _Order:
    if operand.kind == "field":
        return _field_order(query, operand, way, binds, now)
    series = found.series(operand)
    if series is None:
        conditions.unknown(context, query.order_by, operand, field="order_by")
    if series.number is None:
        return _Order(keys="", way=way)
    number = binds.add(series.number)
    if series.kind == "param":
        return _param_order(number, way, series.number, alias)
    return _metric_order(number, way, series, alias)


def _field_order(query: RunQuery, operand: Operand, way: str, binds: Binds, now: int) -> _Order:
    if operand.name in _UNSORTED:
        problem = f"cannot be {operand.text}: runs are not sorted by it"
        where.refuse(query.order_by, operand.position, problem, field="order_by")
    if operand.name == "created":
        keys = f"r.created {way}"
        return _Order(keys=keys, columns=("r.created",), stages=(_Stage(keys=keys),), way=way)
    column = conditions.COLUMNS.get(operand.name, "r.archived")
    columns: tuple[str, ...] = (column,)
    if operand.name == "duration":
        column, columns = f"(coalesce(r.ended, {binds.add(now)}) - r.started)", ("r.ended", "r.started")
    missing = f"{column} is null, " if operand.name in ("started", "ended", "duration", "parent") else ""
    return _Order(keys=f"{missing}{column} {way}", columns=columns, way=way)


def _metric_order(number: str, way: str, series: Series, alias: str) -> _Order:
    value = conditions.statistic(alias, series.statistic)
    join = (
        f"left join metric_summaries {alias} on {alias}.tenant = :tenant and {alias}.run = r.seq"
        f" and {alias}.metric = {number}"
    )
    keys = f"{value} is null, {value} {way}"
    if series.statistic not in ("last", "min", "max"):
        return _Order(keys=keys, join=join, way=way)
    column = series.statistic
    present = _Stage(
        source="metric_summaries", tests=(f"s.metric = {number}", f"s.{column} is not null"), keys=f"s.{column} {way}"
    )
    lacking = (
        "not exists (select 1 from metric_summaries o where o.tenant = :tenant and o.run = r.seq"
        f" and o.metric = {number} and o.{column} is not null)"
    )
    return _Order(
        keys=keys, join=join, sorted=("metric", series.number or 0, column), way=way,
        stages=(present, _Stage(tests=(lacking,))),
    )  # fmt: skip


def _param_order(number: str, way: str, param: int, alias: str) -> _Order:
    join = (
        f"left join run_params {alias} on {alias}.tenant = :tenant and {alias}.run = r.seq and {alias}.param = {number}"
    )
    keys = (
        f"{alias}.number is null, {alias}.number {way},"
        f" case when {alias}.value is null or {alias}.value = 'null' then 1 else 0 end, {alias}.value {way}"
    )
    of = f"s.param = {number}"
    numbers = _Stage(source="run_params", tests=(of, "s.number is not null"), keys=f"s.number {way}")
    texts = _Stage(source="run_params", tests=(of, "s.number is null", "s.value <> 'null'"), keys=f"s.value {way}")
    lacking = (
        "not exists (select 1 from run_params o where o.tenant = :tenant and o.run = r.seq"
        f" and o.param = {number} and (o.number is not null or o.value <> 'null'))"
    )
    return _Order(
        keys=keys, join=join, sorted=("param", param, "number"), way=way,
        stages=(numbers, texts, _Stage(tests=(lacking,))),
    )  # fmt: skip


# -- the search ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Search:
    """One search, ready to run."""

    context: Context
    scope: list[str]
    conditions: list[Condition]
    order: _Order
    binds: Binds
    query: RunQuery

    def found(self) -> Found:
        """Choose a way by counting what is cheap to count, and go it."""
        if not self.conditions:
            return Found(seqs=self._walk(), total=self._in_scope())
        indexed = [condition for condition in self.conditions if condition.rows and not condition.scans]
        rarest = self._rarest(indexed, FEW)
        if rarest is not None:
            return self._look_at(rarest)
        scans = [condition for condition in self.conditions if condition.scans]
        weight = max(1, sum(condition.weight for condition in self.conditions))
        affordable = max(1, VISITED // weight)
        if scans and all(condition.weight == 0 for condition in scans):
            # the runs are read anyhow: until there are too many hits to look at one by one
            found = self._look_at(None, most=FEW + 1)
            return found if found.total <= FEW else self._wide(affordable)
        if scans:
            rarest = next((scan for scan in scans if self._rarest([scan], FEW)), None)
            return self._wide(affordable) if rarest is None else self._look_at(rarest)
        rarest = self._rarest(indexed, VISITED // max(1, weight - 1))
        if rarest is None and self._in_scope_up_to(affordable + 1) > affordable:
            return self._wide(affordable)
        if rarest is not None and weight <= 1:
            total = self._count(rarest)
            return self._look_at(rarest) if total <= FEW else Found(seqs=self._walk(), total=total)
        found = self._look_at(rarest, most=FEW + 1)
        return found if found.total <= FEW else Found(seqs=self._walk(), total=self._count(rarest))

    def matching(self) -> Matching:
        """All that match, starting from the rarest condition where an index has few."""
        start = self._rarest([c for c in self.conditions if c.rows and not c.scans], COUNTED)
        tests = self._tests([condition for condition in self.conditions if condition is not start])
        if start is None:
            clause = f"from runs r {JOINS} where r.tenant = :tenant{tests}"
        else:
            # on SQLite, a cross join is walked from left to right
            once = "distinct" if start.repeats else ""
            clause = (
                f"from (select {once} run from ({start.rows}) found) d cross join runs r {JOINS}"
                f" where r.tenant = :tenant and r.seq = d.run{tests}"
            )
        return Matching(clause=clause, binds=self.binds, narrow=start is not None)

    def _wide(self, visited: int) -> Found:
        """Many match: the page by walking, the total from as many of the newest runs as may be visited."""
        seqs = self._walk()
        if seqs and len(seqs) < self.query.limit:
            return Found(seqs=seqs, total=self.query.offset + len(seqs))
        return self._extrapolated(seqs, visited)

    def _execute(self, sql: str, **values: int) -> Sequence[Any]:
        return self.context.db.execute(sql, **self.binds.values, **values)

    def _in_scope(self) -> int:
        tests = "".join(f" and {test}" for test in self.scope)
        return int(self._execute(f"select count(*) as n from runs r where r.tenant = :tenant{tests}")[0].n)

    def _in_scope_up_to(self, most: int) -> int:
        tests = "".join(f" and {test}" for test in self.scope)
        sql = f"select count(*) as n from (select 1 from runs r where r.tenant = :tenant{tests} limit :most) few"
        return int(self._execute(sql, most=most)[0].n)

    def _rarest(self, conditions: list[Condition], most: int) -> Condition | None:
        """The condition that the fewest runs pass, where these are at most `most`."""
        conditions = conditions[:ESTIMATED]
        if not conditions:
            return None
        row = self._execute(
            f"""select {
                ", ".join(
                    f"(select count(*) from (select run from ({condition.rows}) found limit :most) few) as n{i}"
                    for i, condition in enumerate(conditions)
                )
            } from runs r where r.tenant = :tenant limit 1""",
            most=most + 1,
        )
        if not row:
            return conditions[0]  # a tenant without runs
        count, i = min((count, i) for i, count in enumerate(row[0]))
        return conditions[i] if count <= most else None

    def _look_at(self, start: Condition | None, *, most: int = 2**31) -> Found:
        """Test the runs that `start` gives, or all in scope, one by one until `most` match, and sort those that do."""
        tests = self._tests([condition for condition in self.conditions if condition is not start])
        columns = "".join(f", {column}" for column in self.order.columns)
        if start is None:
            sql = (
                f"with matched as materialized (select r.seq{columns} from runs r where r.tenant = :tenant{tests}"
                " limit :most) select r.seq, (select count(*) from matched) as total from matched r"
                f" {self.order.join} order by {self.order.keys} limit :limit offset :offset"
            )
        else:
            # on SQLite, a cross join is walked from left to right
            sql = (
                f"with matched as materialized (select {'distinct' if start.repeats else ''} r.seq{columns}"
                f" from ({start.rows}) d cross join runs r where r.tenant = :tenant and r.seq = d.run{tests}"
                " limit :most) select r.seq, (select count(*) from matched) as total from matched r"
                f" {self.order.join} order by {self.order.keys} limit :limit offset :offset"
            )
        rows = self._execute(sql, limit=max(self.query.limit, 1), offset=self.query.offset, most=most)
        if rows:
            return Found(seqs=[row.seq for row in rows][: self.query.limit], total=rows[0].total)
        if not self.query.offset:
            return Found(seqs=[], total=0)
        first = replace(self, query=replace(self.query, offset=0, limit=1))._look_at(start, most=most)
        return Found(seqs=[], total=first.total)

    def _count(self, start: Condition | None) -> int:
        tests = self._tests([condition for condition in self.conditions if condition is not start])
        if start is None:
            sql = f"select count(*) as n from runs r where r.tenant = :tenant{tests}"
        else:
            sql = (
                f"select count({'distinct r.seq' if start.repeats else '*'}) as n from ({start.rows}) d"
                f" cross join runs r where r.tenant = :tenant and r.seq = d.run{tests}"
            )
        return int(self._execute(sql)[0].n)

    def _walk(self) -> list[int]:
        """The page, in the order in which an index gives the runs."""
        if not self.query.limit:
            return []
        if not self.order.stages:
            rows = self._execute(
                f"select r.seq from runs r {self.order.join} where r.tenant = :tenant{self._tests(self.conditions)}"
                f" order by {self.order.keys} limit :limit offset :offset",
                limit=self.query.limit, offset=self.query.offset,
            )  # fmt: skip
            return [row.seq for row in rows]
        # what is asked of the sorted series itself is asked of its index
        own = [c for c in self.conditions if c.sorted is not None and c.sorted == self.order.sorted]
        tests = self._tests([condition for condition in self.conditions if condition not in own])
        seqs: list[int] = []
        offset = self.query.offset
        for stage in self.order.stages:
            also = "".join(f" and {test}" for test in [*stage.tests, *(condition.inner for condition in own)])
            if stage.source == "metric_summaries":
                source = (
                    f"from metric_summaries s cross join runs r {self.order.rest} where s.tenant = :tenant"
                    f" and r.tenant = :tenant and r.seq = s.run{also}{tests}"
                )
            elif stage.source == "run_params":
                source = (
                    f"from run_params s cross join runs r {self.order.rest} where s.tenant = :tenant"
                    f" and r.tenant = :tenant and r.seq = s.run{also}{tests}"
                )
            else:
                source = f"from runs r {self.order.rest} where r.tenant = :tenant{also}{tests}"
            left = self.query.limit - len(seqs)
            found = self._execute(
                f"select r.seq {source} order by {stage.keys} limit :limit offset :offset", limit=left, offset=offset
            )
            seqs += [row.seq for row in found]
            if len(seqs) >= self.query.limit or own or stage is self.order.stages[-1]:
                break
            if found:
                offset = 0
            elif offset:  # the page begins in a later stage
                offset -= int(self._execute(f"select count(*) as n {source}")[0].n)
        return seqs

    def _tests(self, conditions: list[Condition]) -> str:
        ordered = sorted(conditions, key=lambda condition: condition.weight)
        return "".join(f" and {test}" for test in [*self.scope, *(condition.test for condition in ordered)])

    def _extrapolated(self, seqs: list[int], visited: int) -> Found:
        """A page with a total that the newest `visited` runs stand for."""
        hit = " and ".join(condition.test for condition in sorted(self.conditions, key=lambda c: c.weight))
        scope = "".join(f" and {test}" for test in self.scope)
        hits = self._execute(
            f"select sum(hit) as n from (select case when {hit} then 1 else 0 end as hit from runs r"
            f" where r.tenant = :tenant{scope} order by r.created desc limit :visited) newest",
            visited=visited,
        )[0].n or 0  # fmt: skip
        in_scope = self._in_scope()
        total = hits if in_scope <= visited else round(in_scope * hits / visited)
        seen = self.query.offset + len(seqs) if seqs else 0
        return Found(seqs=seqs, total=max(total, seen), total_is_exact=in_scope <= visited)
