"""A search finds the runs that match, all of them, in order, and nobody else's, on SQLite and on PostgreSQL."""

import math
import random
import struct

import pytest

from larder.contract.errors import Invalid
from larder.contract.ids import new_id
from larder.contract.runs import Run, RunQuery, RunStatus
from larder_server.runs.rules import free_text, where
from larder_server.runs.store import metrics, runs, search
from larder_server.runs.store.metrics import Columns

DAY = 86_400_000_000


@pytest.fixture
def add(context, clock):
    """Store a run and answer its number; metrics are lists of values."""

    def add(name="run", *, ctx=context, params=None, series=None, **fields):
        fields = {"project": "bakery", "user": "evi", "status": RunStatus.COMPLETED, "created": clock.now()} | fields
        record = runs.insert(ctx, Run(id=fields.pop("id", new_id()), name=name, **fields))
        runs.put_params(ctx, record.seq, params or {})
        for key, values in (series or {}).items():
            metrics.append(ctx, record.seq, {key: columns(values)})
        return record.seq

    return add


def columns(values):
    count = struct.pack(f"<{len(values)}q", *range(len(values)))
    return Columns(steps=count, times=count, values=struct.pack(f"<{len(values)}d", *values))


@pytest.fixture
def find(context):
    """The numbers of the runs that match, oldest first unless ordered."""

    def find(where="", *, ctx=context, **query):
        query = {"descending": False} | query
        found = search.find(ctx, RunQuery(where=where, **query))
        assert found.total == len(found.seqs) and found.total_is_exact
        return found.seqs

    return find


def test_metrics_are_compared_by_their_last_value_or_another_statistic(add, find):
    a, b = add(series={"val/mae": [3.0, 1.0, 2.0]}), add(series={"val/mae": [9.0]})
    add(params={"val/mae": 1.0})
    assert find("metrics.val/mae < 3") == [a]
    assert find("metrics.val/mae = 2") == [a]
    assert find("metrics.val/mae.min <= 1") == [a]
    assert find("metrics.val/mae.max >= 3") == [a, b]
    assert find("metrics.val/mae.mean = 2") == [a]
    assert find("metrics.val/mae.count > 1") == [a]
    assert find("metrics.val/mae 2..9") == [a, b]
    assert find("metrics.val/mae != 9") == [a]
    assert find("metrics.val/mae in (9, 10)") == [b]
    assert find("metrics has 'val/mae'") == [a, b]


def test_a_run_without_the_value_matches_no_condition_on_it_but_its_negation(add, find):
    a, b = add(params={"depth": 4}, series={"loss": [1.0]}), add()
    assert find("params.depth != 8") == [a]
    assert find("params.depth not in (8)") == [a]
    assert find("not (params.depth = 4)") == [b]
    assert find("params.depth = null") == [b] and find("params.depth != null") == [a]
    assert find("metrics.loss = null") == [b] and find("metrics.loss != null") == [a]
    assert find("not (metrics.loss < 3)") == [b]
    assert find("not (ended < now)") == [a, b]
    assert find("metrics has loss or not params has depth") == [a, b]


def test_nan_and_infinities_are_found_by_name(add, find):
    nan, infinite, one = add(series={"loss": [math.nan]}), add(series={"loss": [math.inf]}), add(series={"loss": [1.0]})
    assert find("metrics.loss = nan") == [nan]
    assert find("metrics.loss = inf") == [infinite]
    assert find("metrics.loss != 1") == [nan, infinite]
    assert find("metrics.loss in (nan, 1)") == [nan, one]
    assert find("metrics.loss < 3 or metrics.loss > 3") == [infinite, one]
    assert find("metrics.loss != 1", order_by="loss") == [infinite, nan]


def test_params_are_numbers_texts_and_booleans(add, find):
    a = add(params={"depth": 4, "optimizer": "adam", "amp": True, "note": 'say "ä"', "none": None})
    b = add(params={"depth": "4", "optimizer": "SGD", "amp": False, "note": "C:\\x!_%"})
    assert find("params.depth = 4") == [a, b]
    assert find("params.depth = '4'") == [a, b]
    assert find("params.depth < 5") == [a]
    assert find("params.depth in (4, 8)") == [a, b]
    assert find("params.optimizer = adam") == [a]
    assert find("params.optimizer in ('adam', 'SGD')") == [a, b]
    assert find("params.optimizer != 'adam'") == [b]
    assert find("params.optimizer like 's*'") == [b]
    assert find("params.optimizer not like 's*'") == [a]
    assert find("params.amp = true") == [a] and find("params.amp != true") == [b]
    assert find("""params.note = 'say "ä"'""") == [a]
    assert find("""params.note like '%"ä%'""") == [a]
    assert find("params.note like '%!_*'") == [b] and find("params.note like 'x_y'") == []
    assert find("params.none = null") == [a, b]
    assert find("params has none") == [a]


def test_a_bare_name_is_a_metric_else_a_parameter(add, find):
    a = add(params={"val_acc": 5, "lr": 0.1}, series={"val_acc": [0.9]})
    assert find("val_acc 0.89..0.91 and lr = 0.1") == [a]
    assert find("val_acc = 5") == []


def test_a_statistic_may_be_part_of_a_name(add, find):
    a = add(params={"sgd.max": 3}, series={"gpu.min": [1.0]})
    assert find("sgd.max = 3 and metrics.gpu.min = 1") == [a]
    assert find('metrics."gpu.min".max = 1') == [a]


def test_an_unknown_metric_matches_nothing_and_an_unknown_name_is_refused(add, find):
    a = add(params={"depth": 4}, series={"val_loss": [1.0]})
    assert find("metrics.nobody < 3") == [] == find("params.nobody != 3")
    assert find("not metrics.nobody < 3") == [a]
    for line, hint in (("vel_loss < 3", "val_loss"), ("usr = evi", "user"), ("dept = 4", "depth")):
        with pytest.raises(Invalid) as caught:
            find(line)
        assert caught.value.position == 0 and caught.value.field == "where" and hint in caught.value.hint
    with pytest.raises(Invalid, match="is a metric"):
        find("val_loss = 'x'")


def test_tags_are_a_set(add, find):
    a, b, c = add(tags=["candidate", "gpu"]), add(tags=["Gpu-2"]), add()
    assert find("tags has 'candidate'") == [a] == find("tag:candidate")
    assert find("tags in (candidate, 'Gpu-2')") == [a, b]
    assert find("tags like 'gpu%'") == [a, b]
    assert find("not tags has gpu") == [b, c] == find("tags not has gpu")
    assert find("tags = null") == [c] and find("tags in (null, gpu)") == [a, c]


def test_plain_fields_are_texts(add, find, clock):
    parent = new_id()
    a = add("Baseline_1", id=parent, notes="Leakage in\npromo", host="h1", branch="main", commit="3f2a" + "0" * 36)
    b = add("tuned", user="otto", status=RunStatus.FAILED, project="dairy", kind="trial", parent=parent)
    assert find("name like 'base*'") == [a] == find("name:base") == find("name = 'Baseline_1'")
    assert find("name like 'baseline%1'") == [a] and find("name like 'baseline1'") == []
    assert find("notes has 'leakage'") == [a] == find("notes:PROMO")
    assert find("user:otto") == [b] and find("user != 'otto'") == [a] and find("user in (evi, otto)") == [a, b]
    assert find("status:failed") == [b] == find("project:dairy") == find("kind = trial")
    assert find("commit = 3f2a") == [a] == find("code = 3f2a") == find("code:main") == find("branch = main")
    assert find("code != main") == [b]
    assert find(f"parent = {parent}") == [b] and find("parent = null") == [a]
    assert find(f"id = {parent[:20]}") == [a] == find(f"id:{parent}")
    assert find("host = ''") == [b]
    assert find(project="dairy") == [b] and find(project="nobody") == []


def test_times_and_durations(add, find, clock):
    now = clock.now()  # 2023-11-14T22:13:20Z
    old = add(created=now - 8 * DAY, started=now - 8 * DAY, ended=now - 8 * DAY + 7_200_000_000)
    new = add(created=now - DAY // 2, started=now - 3_600_000_000)
    draft = add(created=now)
    assert find("created > -7d") == [new, draft] and find("created <= -7d") == [old]
    assert find("created = 2023-11-14") == [new, draft] and find("created < 2023-11-14") == [old]
    assert find("created 2023-11-06..2023-11-06") == [old] and find("created > 2023-11") == []
    assert find("created = 2023-11-06") == [old] and find("created != 2023-11-06") == [new, draft]
    assert (
        find("duration > 1h30m") == [old] and find("duration = 1h") == [new] and find("duration 3000..2h") == [old, new]
    )
    assert find("ended = null") == [new, draft] and find("started = null") == [draft] == find("duration = null")
    assert find("started < now", order_by="duration") == [new, old]


def test_how_a_run_was_tried_is_found(add, find, context):
    seqs = [add() for _ in range(4)]
    for retries, (seq, cause) in enumerate(zip(seqs, ["", "failed", "agent_lost", "agent_lost"], strict=True)):
        runs.update(context, seq, cause=cause, retries=retries, published=retries % 2)
    a, b, c, d = seqs
    assert find("cause = agent_lost") == [c, d] and find("cause = null") == [a] and find("cause:failed") == [b]
    assert find("cause in (failed, agent_lost) and retries < 3") == [b, c]
    assert find("retries = 0") == [a] and find("retries 1..2") == [b, c] and find("retries != 1") == [a, c, d]
    assert find("not (retries >= 2)") == [a, b] and find("retries in (1, 3)") == [b, d]
    assert find("published = true") == [b, d] and find("published = no") == [a, c]
    assert find(order_by="retries", descending=True) == [d, c, b, a]
    assert find(order_by="published", descending=True)[:2] == [d, b]
    assert find(order_by="cause") == [a, c, d, b]
    for wrong in (
        "cause = tired",
        "retries = many",
        "retries = nan",
        "published = 2",
        "cause < failed",
        "retries like '1*'",
    ):
        with pytest.raises(Invalid):
            find(wrong)


def test_archived_runs_are_hidden_until_somebody_asks(add, find):
    a, b = add(), add(archived=True)
    assert find() == [a] and find(archived=True) == [a, b]
    assert find("archived = true") == [b] and find("archived = false or user:evi") == [a, b]


def test_free_text_finds_words_and_remembered_numbers(add, find):
    a = add("Brave-Fox", notes="trying deeper trees", tags=["night"], series={"val_acc": [0.5, 0.91281]})
    b = add("calm-owl", params={"lr": 0.913}, series={"val_acc": [0.99]})
    c = add("0.913 reasons", user="otto")
    assert find(text="brave") == [a] == find(text="TREES night") and find(text="brave owl") == []
    assert find(text="0.913") == [a, b, c] and find(text="0.9128") == [a] and find(text="0.91") == [a, b, c]
    assert find(text="0.912..0.9129") == [a]
    assert find(text="val_acc 0.91..0.92") == [a] == find(text="val_acc=0.913") == find(text="val_acc 0.913")
    assert find(text="val_acc 0.91..0.92 and user:evi") == [a] and find(text="0.913 user:otto") == [c]
    assert find(text="unknown_name < 3") == [] and find(text="100%") == [] and find(text="'brave fox'") == []
    assert find("user:evi", text="0.913") == [a, b]


def test_runs_are_sorted_with_those_lacking_the_value_last(add, find):
    a = add("b", params={"lr": 0.3}, series={"mae": [2.0, 5.0]})
    b = add("a", params={"lr": "auto"}, series={"mae": [3.0]})
    c = add("c", params={"lr": 0.1}, series={"mae": [math.nan]})
    d = add("d")
    assert find(order_by="metrics.mae") == [b, a, c, d] == find(order_by="mae", descending=None)
    assert find(order_by="mae.min") == [a, b, c, d]
    assert find(order_by="mae", descending=True) == [a, b, d, c]
    assert find(order_by="mae.mean") == [b, a, c, d] and find(order_by="mae.count")[-1] == d
    assert find(order_by="params.lr") == [c, a, b, d] and find(order_by="params.lr", descending=True) == [a, c, b, d]
    assert find(order_by="name") == [b, a, c, d] and find(order_by="name", descending=True) == [d, c, a, b]
    assert find(order_by="created", descending=None) == [d, c, b, a]
    assert find(order_by="metrics.nobody") == [a, b, c, d]
    assert find("mae < 9", order_by="mae") == [b, a]
    for name in where.FIELDS:
        if name not in ("tags", "notes", "code"):
            assert sorted(find(order_by=name)) == [a, b, c, d]
    for name in ("tags", "nobody", "a b"):
        with pytest.raises(Invalid) as caught:
            find(order_by=name)
        assert caught.value.field == "order_by"


def test_pages_follow_each_other(add, context):
    seqs = [add(series={"mae": [float(i % 3)]} if i % 4 else {}) for i in range(20)]
    whole = search.find(context, RunQuery(order_by="mae")).seqs
    assert sorted(whole) == seqs
    for condition in ("", "user:evi", "kind like '*'"):
        pages = [
            search.find(context, RunQuery(where=condition, order_by="mae", limit=3, offset=i)) for i in range(0, 24, 3)
        ]
        assert [seq for page in pages for seq in page.seqs] == whole
        assert {page.total for page in pages} == {20}
    assert search.find(context, RunQuery(limit=0)).total == 20
    for bad in ({"limit": -1}, {"limit": 10_001}, {"offset": -1}):
        with pytest.raises(Invalid):
            search.find(context, RunQuery(**bad))


def test_another_tenants_runs_are_never_found(add, find, other_context):
    add("mine", params={"lr": 1}, series={"loss": [1.0]}, tags=["x"])
    theirs = add("theirs", ctx=other_context, params={"lr": 1}, series={"loss": [1.0]}, tags=["x"])
    for line in ("", "params.lr = 1", "metrics.loss = 1", "tag:x", "user:evi", "not user:otto", "metrics has loss"):
        assert find(line, ctx=other_context) == [theirs], line
    assert find(text="mine", ctx=other_context) == [] and find(text="1", ctx=other_context) == [theirs]


LINES = [
    "", "loss < 0.5", "loss > 0.2 and user:evi", "loss.max 0.1..0.9 and params.depth in (1, 2, 3)", "not loss < 0.5",
    "tags has x or loss < 0.2", "depth != 2 and (loss < 0.1 or not tag:x)", "loss.mean > 0.5", "host like 'h*'",
    "name has '1' and loss < 0.9", "depth = 2", "opt = adam and loss < 0.9", "loss != 0.5", "created > -1d and depth < 3",
    "params.depth > 0 and loss >= 0 and opt != sgd and not archived = true",
]  # fmt: skip
ORDERS = ["created", "loss", "loss.min", "loss.mean", "depth", "opt", "name", "duration"]


def test_every_way_of_searching_finds_the_same(add, context, monkeypatch):
    dice = random.Random(5)
    for i in range(60):
        add(
            f"run {i}", user=dice.choice(["evi", "otto"]), tags=["x"] if dice.random() < 0.3 else [],
            host=dice.choice(["h1", "g2"]), archived=dice.random() < 0.1, created=context.clock.now() - dice.randrange(2 * DAY),
            project=dice.choice(["bakery", "dairy"]),
            params={"depth": dice.randrange(5), "opt": dice.choice(["adam", "sgd"])} if dice.random() < 0.9 else {},
            series={"loss": [round(dice.random(), 1) for _ in range(3)]} if dice.random() < 0.8 else {},
        )  # fmt: skip
    queries = [
        RunQuery(where=line, order_by=order, descending=way, project=project, limit=limit, offset=offset)
        for line in LINES
        for order in dice.sample(ORDERS, 3)
        for way, project, limit, offset in ((False, "", 1000, 0), (True, "bakery", 7, 3))
    ]
    queries += [RunQuery(text=text) for text in ("0.5", "run 1", "loss 0.5", "h1", "1", "loss=0.3 and user:evi")]
    expected = [search.find(context, query) for query in queries]
    assert all(found.total_is_exact for found in expected)
    assert sum(found.total for found in expected) > 1000
    # with bars as low as these, searches of 60 runs go the ways of searches of 100,000
    for few, visited in ((3, 60), (3, 8), (0, 0)):
        monkeypatch.setattr(search, "FEW", few)
        monkeypatch.setattr(search, "VISITED", visited)
        for query, before in zip(queries, expected, strict=True):
            found = search.find(context, query)
            assert found.seqs == before.seqs, query
            assert found.total == before.total or not found.total_is_exact, query


def test_the_deepest_and_longest_lines_are_within_what_databases_take(add, context):
    add(params={"a": 1}, tags=["x"])
    deep = "a = 1"
    for _ in range(where.DEEPEST // 2):
        deep = f"not ({deep} and (tag:x or a like 'x')) or a = 2"
        try:
            search.find(context, RunQuery(where=deep))
        except Invalid as problem:
            assert "nested" in str(problem)
    wide = " or ".join(f"a in ({i}, 'x')" for i in range(where.MOST_CONDITIONS))
    assert search.find(context, RunQuery(where=wide)).total == 1
    values = ", ".join(str(i) for i in range(where.MOST_VALUES))
    assert search.find(context, RunQuery(where=f"a in ({values}) and a not in (7)")).total == 1
    assert free_text.MOST_WORDS >= 20
    assert search.find(context, RunQuery(text=" ".join(f"0.{i}" for i in range(30)))).total == 0
    for line in ("a < 1e999", "a = -1e999", "duration < 9e99", "created > 999999999999999999", "created > -999999999y"):
        search.find(context, RunQuery(where=line))
