"""A transaction is durable and whole, or it never was."""

import contextlib
import threading

import pytest
import sqlalchemy as sa

from larder.contract.tenants import Identity
from larder_server.kernel import outbox, schema
from larder_server.kernel.database import READERS, Database, Statements
from larder_server.kernel.outbox import Event
from tests.server.conftest import ALICE, SCRIPTS


def _names(runtime):
    return runtime.view(
        ALICE,
        lambda context: [
            row.name for row in context.db.execute("select name from projects where tenant = :tenant order by name")
        ],
    )


def _insert(name):
    def work(context):
        context.db.change(
            "insert into projects (tenant, id, name, created) values (:tenant, :id, :name, 0)", id=name, name=name
        )

    return work


def test_a_failed_piece_of_work_leaves_nothing(runtime):
    def work(context):
        _insert("a")(context)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        runtime.transact(ALICE, work)
    assert _names(runtime) == []


def test_a_failure_does_not_touch_its_neighbours_in_the_group(runtime):
    errors = []

    def attempt(number):
        def work(context):
            _insert(f"p{number:03}")(context)
            if number % 3 == 0:
                raise ValueError(number)

        try:
            runtime.transact(ALICE, work)
        except ValueError as problem:
            errors.append(problem.args[0])

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(30)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(errors) == [number for number in range(30) if number % 3 == 0]
    assert _names(runtime) == [f"p{number:03}" for number in range(30) if number % 3]


def test_tenants_do_not_see_each_other(runtime):
    runtime.transact(ALICE, _insert("mine"))
    other = Identity(tenant="globex", user="bob", role=ALICE.role)
    found = runtime.view(other, lambda context: context.db.execute("select 1 from projects where tenant = :tenant"))
    assert list(found) == []


def test_an_event_is_written_with_its_change_and_not_without(runtime):
    def work(context):
        context.emit(Event(name="x.happened", subject="s"))
        raise ValueError

    with pytest.raises(ValueError):
        runtime.transact(ALICE, work)
    with runtime.database.read() as connection:
        assert outbox.unhandled(Statements(connection, "")) == []


def test_an_event_reaches_its_handler_once_even_when_the_handler_fails_first(runtime):
    seen = []

    def handler(context, event):
        seen.append(event.subject)
        if len(seen) == 1:
            raise ValueError("not yet")
        _insert("handled")(context)

    runtime.handlers = {"x.happened": [handler]}
    runtime.transact(ALICE, lambda context: context.emit(Event(name="x.happened", subject="s")))
    assert runtime.dispatch() == 0
    assert runtime.dispatch() == 1
    assert runtime.dispatch() == 0
    assert seen == ["s", "s"] and _names(runtime) == ["handled"]


def test_an_event_whose_handler_always_fails_is_put_aside(runtime):
    calls = []

    def handler(context, event):
        calls.append(event)
        raise ValueError

    runtime.handlers = {"x.happened": [handler]}
    runtime.transact(ALICE, lambda context: context.emit(Event(name="x.happened", subject="s")))
    for _ in range(10):
        runtime.dispatch()
    assert len(calls) == outbox.PATIENCE


def test_migrating_twice_changes_nothing(runtime, tmp_path):
    assert schema.migrate(runtime.database, scripts=SCRIPTS, backups=tmp_path / "backups") == []


def test_a_newer_database_is_refused_with_a_sentence(runtime, tmp_path):
    with runtime.database.engine.begin() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    with pytest.raises(schema.Conflict, match="9999"):
        schema.migrate(runtime.database, scripts=SCRIPTS, backups=tmp_path / "backups")


def test_an_older_sqlite_database_is_copied_before_it_is_migrated(tmp_path):
    scripts = tmp_path / "migrations"
    (scripts / "versions").mkdir(parents=True)
    revision = "from alembic import op\nimport sqlalchemy as sa\nrevision = {0!r}\ndown_revision = {1!r}\nbranch_labels = depends_on = None\ndef upgrade():\n    op.create_table({2!r}, sa.Column('x', sa.Integer))\n"
    (scripts / "versions" / "r0001_one.py").write_text(revision.format("0001", None, "one"))
    database = Database(f"sqlite:///{tmp_path / 'larder.sqlite'}")
    assert schema.migrate(database, scripts=scripts, backups=tmp_path / "backups") == ["0001"]
    assert not (tmp_path / "backups").exists()
    (scripts / "versions" / "r0002_two.py").write_text(revision.format("0002", "0001", "two"))
    assert schema.migrate(database, scripts=scripts, backups=tmp_path / "backups") == ["0002"]
    (copy,) = (tmp_path / "backups").iterdir()
    assert {*sa.inspect(sa.create_engine(f"sqlite:///{copy}")).get_table_names()} == {"alembic_version", "one"}
    database.close()


def test_a_migration_that_fails_changes_nothing(tmp_path):
    scripts = tmp_path / "migrations"
    (scripts / "versions").mkdir(parents=True)
    (scripts / "versions" / "r0001_one.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\nrevision = '0001'\ndown_revision = None\nbranch_labels = depends_on = None\n"
        "def upgrade():\n    op.create_table('one', sa.Column('x', sa.Integer))\n    raise RuntimeError('broken')\n"
    )
    database = Database(f"sqlite:///{tmp_path / 'larder.sqlite'}")
    with pytest.raises(RuntimeError, match="broken"):
        schema.migrate(database, scripts=scripts, backups=tmp_path / "backups")
    assert sa.inspect(database.engine).get_table_names() == []
    database.close()


def test_a_reader_sees_one_moment_however_many_questions_it_asks(runtime):
    runtime.transact(ALICE, _insert("before"))

    def look(context):
        first = context.db.execute("select name from projects where tenant = :tenant")
        runtime.transact(ALICE, _insert("between"))
        return len(first), len(context.db.execute("select name from projects where tenant = :tenant"))

    assert runtime.view(ALICE, look) == (1, 1)
    assert _names(runtime) == ["before", "between"]


def test_rows_have_their_columns_as_attributes_and_in_order(runtime):
    runtime.transact(ALICE, _insert("a"))

    def look(context):
        (row,) = context.db.execute("select name, created as at from projects where tenant = :tenant")
        one = context.db.one("select name, created as at from projects where tenant = :tenant")
        none = context.db.one("select name from projects where tenant = :tenant and name = :name", name="b")
        return (row.name, row.at), tuple(one), none

    assert runtime.view(ALICE, look) == (("a", 0), ("a", 0), None)


def test_what_the_driver_says_comes_in_the_words_of_sqlalchemy(runtime):
    runtime.transact(ALICE, _insert("a"))
    with pytest.raises(sa.exc.IntegrityError):
        runtime.transact(ALICE, _insert("a"))
    with pytest.raises(sa.exc.DBAPIError):
        runtime.view(ALICE, lambda context: context.db.execute("select nothing from projects where tenant = :tenant"))
    twice = [{"id": "b", "name": "b"}] * 2
    with pytest.raises(sa.exc.IntegrityError):
        runtime.transact(
            ALICE,
            lambda context: context.db.many(
                "insert into projects (tenant, id, name, created) values (:tenant, :id, :name, 0)", twice
            ),
        )
    assert _names(runtime) == ["a"]


def test_views_that_fail_and_many_at_a_time_leave_the_next_one_a_fresh_look(runtime):
    if not runtime.database.sqlite:
        pytest.skip("the pool of PostgreSQL is SQLAlchemy's")
    begun = threading.Barrier(READERS)
    seen = []

    def look(number):
        def work(context):
            begun.wait(20)
            found = [row.name for row in context.db.execute("select name from projects where tenant = :tenant")]
            if number % 2:
                raise ValueError(number)
            seen.append(found)

        with contextlib.suppress(ValueError):
            runtime.view(ALICE, work)

    for round in range(2):
        threads = [threading.Thread(target=look, args=(number,)) for number in range(READERS)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        runtime.transact(ALICE, _insert(f"p{round}"))
    assert seen == [[]] * (READERS // 2) + [["p0"]] * (READERS // 2)
    assert _names(runtime) == ["p0", "p1"]


def test_the_events_that_wait_are_found_without_going_through_all_there_ever_were(runtime):
    if not runtime.database.sqlite:
        pytest.skip("PostgreSQL has statistics to choose by")
    asked = []
    with runtime.database.read() as connection:
        db = Statements(connection, "")
        run = db._run
        db._run = lambda sql, params: asked.append((sql, params)) or run(sql, params)
        outbox.unhandled(db)
        ((sql, params),) = asked
        plan = " ".join(row.detail for row in Statements(connection, "").execute(f"explain query plan {sql}", **params))
    assert "events_unhandled" in plan
