"""SQL lives in a slice's store, speaks of that slice's tables only, and every statement names the tenant."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

SERVER = Path(__file__).resolve().parents[2] / "server" / "larder_server"

OWNERS = {
    "kernel": {"events"},
    "tenants": {"tenants", "users", "tokens"},
    "projects": {"projects"},
    "views": {"views"},
    "queues": {"jobs", "queue_policies", "agents", "job_log"},
    "schedules": {"event_doors", "received_events"},
    "shares": {"shares", "share_policies"},
    "datasets": {
        "datasets", "dataset_versions", "dataset_parts", "dataset_pins", "dataset_packs", "dataset_chunks",
        "dataset_contents", "dataset_trees", "dataset_tags", "dataset_aliases", "dataset_moves", "dataset_uses",
        "dataset_collections",
    },
    "runs": {
        "runs", "run_tags", "run_facts", "run_params", "param_names", "metric_names", "metric_summaries",
        "metric_heads", "metric_blocks", "writers", "console_chunks", "artifacts",
    },
}  # fmt: skip
"""Which slice owns which table; a new table is added here by the change that makes it."""

TABLES = {table for slice_ in OWNERS.values() for table in slice_}

ACROSS_TENANTS = {
    "tenants/store.py:every_tenant": "the timers ask for whom there is work to do",
}
"""The functions whose statements speak of all tenants, each with its reason."""

NAME = r"[a-z_][a-z0-9_]*"
STATEMENT = re.compile(r"\bselect\b.*\bfrom\b|\binsert\s+into\b|\bupdate\s+\S+\s+set\b|\bdelete\s+from\b", re.I | re.S)
CLAUSE = re.compile(rf"\b(from|join|into|update)\s+(?!(?:set|skip|nowait|select|lateral)\b)({NAME}|\?)\s*(\()?", re.I)
MORE = re.compile(
    rf"\s*(?:\bas\s+)?(?!(?:where|on|join|left|inner|cross|order|group|set|limit|union)\b)(?:{NAME}\s*)?,\s*({NAME})(?!\s*[.(])",
    re.I,
)
WITH = re.compile(
    rf"(?:\bwith\s+(?:recursive\s+)?|\)\s*,\s*)({NAME})\s*(?:\([^()]*\)\s*)?\bas\s+(?:materialized\s*)?\(", re.I
)
TENANT = re.compile(r"(?<![:\w])tenant\b", re.I)
EVADED = re.compile(r"(?<![:\w])tenant\s*(?:<|>|!|\bnot\b|\bin\b|\blike\b|\bis\b|\bbetween\b)", re.I)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One text of SQL; what is put in at run time reads `?`."""

    text: str
    line: int
    function: str


def statements(source: str) -> list[Statement]:
    """Every text in a module that is SQL, joined from its pieces as far as they stand together."""
    found: list[Statement] = []

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            function = getattr(node, "name", function)
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            for child in body:
                visit(child, function)
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a text that stands alone is a comment
        text = joined(node)
        if text is not None:
            if STATEMENT.search(text):
                found.append(Statement(text=text, line=getattr(node, "lineno", 0), function=function))
            return
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(source), "")
    return found


def joined(node: ast.AST) -> str | None:
    """The text of an expression, or None where it is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        pieces = [joined(piece.value if isinstance(piece, ast.FormattedValue) else piece) for piece in node.values]
        return "".join(" ? " if piece is None else piece for piece in pieces)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = joined(node.left), joined(node.right)
        return None if left is None and right is None else f"{left or ' ? '}{right or ' ? '}"
    if isinstance(node, ast.IfExp):
        yes, no = joined(node.body), joined(node.orelse)
        return None if yes is None and no is None else f"{yes or ''} {no or ''}"
    return None


def tables(text: str) -> list[str]:
    """The tables that a text names, as often as it names them; `?` for one that is put in at run time."""
    text = re.sub(r"'[^']*'", "''", text)
    text = re.sub(r"\bdistinct\s+from\b|\b(?:extract|substring|trim|overlay)\s*\([^()]*\bfrom\b", " ", text, flags=re.I)
    named: list[str] = []
    for match in CLAUSE.finditer(text):
        word, name, call = match.group(1).lower(), match.group(2).lower(), match.group(3)
        if call and word in ("from", "join"):
            continue  # a function that gives rows
        named.append(name)
        after = match.end()
        while word == "from" and (more := MORE.match(text, after)):
            named.append(more.group(1).lower())
            after = more.end()
    return named


def temporary(texts: Iterable[str]) -> set[str]:
    """The names that `with` gives to results for the length of a statement."""
    return {name.lower() for text in texts for name in WITH.findall(text)}


def faults(source: str, *, owned: set[str], across: set[str] = frozenset()) -> list[str]:
    """What is wrong with the SQL of a store that owns these tables."""
    wrong: list[str] = []
    found = statements(source)
    for statement in found:
        where = f"line {statement.line} ({statement.function or 'module'})"
        # a long statement may be put together in its function from several texts
        own = temporary(other.text for other in found if other.function == statement.function)
        wrong += [f"{where}: {name} is a table's name" for name in own & TABLES]
        said = tables(statement.text)
        named = [name for name in said if name not in own]
        wrong += [f"{where}: the table {name} is not this slice's" for name in named if name not in owned]
        if said and not named:
            continue  # reads only what the same function has read with its tenant
        if statement.function in across:
            continue
        if ":tenant" not in statement.text:
            wrong.append(f"{where}: no :tenant")
        elif len(TENANT.findall(statement.text)) < len(named):
            wrong.append(f"{where}: names {len(named)} tables and fewer columns `tenant`")
        if EVADED.search(statement.text):
            wrong.append(f"{where}: compares the tenant by something else than =")
    return wrong


def modules() -> list[tuple[str, Path]]:
    return [
        (slice_.name, path)
        for slice_ in sorted(SERVER.iterdir())
        if slice_.is_dir() and slice_.name not in ("migrations", "pages", "__pycache__")
        for path in sorted(slice_.rglob("*.py"))
    ]


def in_store(path: Path, slice_: str) -> bool:
    return path.relative_to(SERVER / slice_).parts[0] in ("store", "store.py")


STORES = [(slice_, path) for slice_, path in modules() if in_store(path, slice_)]


@pytest.mark.parametrize("slice_,path", STORES, ids=[str(path.relative_to(SERVER)) for _, path in STORES])
def test_a_store_speaks_of_its_own_tables_and_names_the_tenant(slice_, path):
    prefix = f"{path.relative_to(SERVER).as_posix()}:"
    across = {name.removeprefix(prefix) for name in ACROSS_TENANTS if name.startswith(prefix)}
    assert not faults(path.read_text(), owned=OWNERS.get(slice_, set()), across=across)


def test_sql_is_nowhere_but_in_stores():
    elsewhere = [
        f"{path.relative_to(SERVER)} line {statement.line}: {statement.text[:60]}"
        for slice_, path in modules()
        if slice_ != "kernel" and not in_store(path, slice_)
        for statement in statements(path.read_text())
    ]
    assert not elsewhere


def test_the_kernel_speaks_of_its_own_tables():
    for slice_, path in modules():
        if slice_ == "kernel":
            found = statements(path.read_text())
            named = {name for one in found for name in tables(one.text)} - temporary(one.text for one in found)
            assert named <= OWNERS["kernel"] | {"alembic_version"}, path.name


def test_every_table_of_the_migrations_has_one_owner():
    made = {
        call.args[0].value
        for path in (SERVER / "migrations" / "versions").glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) in ("_table", "op.create_table")
        and isinstance(call.args[0], ast.Constant)
    }
    owned = [table for slice_ in OWNERS.values() for table in slice_]
    assert len(owned) == len(set(owned))
    assert made == set(owned)


def test_every_exception_is_still_there():
    for name in ACROSS_TENANTS:
        file, function = name.split(":")
        assert f"def {function}(" in (SERVER / file).read_text()


GOOD = {
    "plain": """db.execute("select id from runs where tenant = :tenant and id = :id", id=id)""",
    "insert": """db.change("insert into runs (tenant, id) values (:tenant, :id) on conflict (tenant, id) do update set x = 1")""",
    "pieces": """db.execute("select id from runs where tenant = :tenant" + (" and id = :id" if id else "") + " limit 1")""",
    "fragment": '''sql = f"id in (select run from tags where tenant = :tenant and tag = :{name})"''',
    "join": """db.execute("select 1 from runs r join tags t on t.tenant = r.tenant where r.tenant = :tenant")""",
    "own name": """db.execute("with few as (select id from runs where tenant = :tenant) select id from few")""",
    "own name in two texts": '''def f():
    page = f"select id, (select count(*) from few) as n from few order by {keys}"
    sql = f"with few as materialized (select id from runs where tenant = :tenant) {page}"''',
    "function": """db.execute("select id from runs where tenant = :tenant and id in (select value from json_each(:ids))")""",
    "lock": """db.execute("select id from runs where tenant = :tenant for update skip locked")""",
    "no sql": """raise Conflict("stop the run and take it from the queue")""",
    "docstring": '''def f():\n    """select what you like from queues"""''',
}
BAD = {
    "foreign table": """db.execute("select id from jobs where tenant = :tenant")""",
    "foreign join": """db.execute("select 1 from runs r join jobs j on j.tenant = r.tenant where r.tenant = :tenant")""",
    "foreign after a comma": """db.execute("select 1 from runs r, jobs j where r.tenant = :tenant and j.tenant = r.tenant")""",
    "foreign update": """db.change("update jobs set x = 1 where tenant = :tenant")""",
    "foreign delete": """db.change("DELETE FROM jobs WHERE tenant = :tenant")""",
    "foreign insert": """db.change("insert into jobs(tenant) values (:tenant)")""",
    "foreign subquery": """db.execute("select 1 from runs where tenant = :tenant and id in (select id from jobs where tenant = :tenant)")""",
    "foreign inside a name": """db.execute("with few as (select 1 from jobs where tenant = :tenant) select 1 from few")""",
    "own name like a table": """db.execute("with jobs as (select 1 from runs where tenant = :tenant) select 1 from jobs")""",
    "own name of another function": """def f():
    db.execute("with few as (select id from runs where tenant = :tenant) select id from few")
def g():
    db.execute("select id from few")""",
    "no tenant": """db.execute("select id from runs where id = :id", id=id)""",
    "no tenant in a constant": '''SQL = "update runs set name = :name where id = :id"''',
    "a subquery without tenant": """db.execute("select 1 from runs where tenant = :tenant and id in (select run from tags where tag = :t)")""",
    "other tenants": """db.execute("select id from runs where tenant > :tenant")""",
    "any table": """db.execute(f"select id from {table} where tenant = :tenant")""",
    "in a nested function": """def f():\n    def g():\n        return db.one("select id from runs")""",
}


@pytest.mark.parametrize("source", GOOD.values(), ids=GOOD.keys())
def test_what_is_right_passes(source):
    assert faults(source, owned={"runs", "tags"}) == []


@pytest.mark.parametrize("source", BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_found(source):
    assert faults(source, owned={"runs", "tags"})


def test_an_exception_excuses_the_tenant_but_not_a_foreign_table():
    mine = 'def everything(db):\n    return db.execute("select id from runs")'
    other = 'def everything(db):\n    return db.execute("select id from jobs")'
    assert faults(mine, owned={"runs"}, across={"everything"}) == []
    assert faults(other, owned={"runs"}, across={"everything"})
