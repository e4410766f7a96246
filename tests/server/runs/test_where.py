"""One line of text becomes a tree, or a refusal that points at the character."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from larder.contract.errors import Invalid
from larder_server.runs.rules import free_text, where
from larder_server.runs.rules.where import And, AnyNumber, Comparison, Has, In, Like, Not, Or, Range, Word

NOW = 1_717_200_000_000_000  # 2024-06-01T00:00:00Z
DAY = 86_400_000_000


def operand(text):
    found = where.operand(text)
    return found.kind, found.name, found.statistic


def moment(text):
    node = where.parse(f"created = {text}")
    found = node.value.value.at(NOW)
    return found.first - NOW, found.after - found.first


def refused(text):
    with pytest.raises(Invalid) as caught:
        where.parse(text)
    assert caught.value.field == "where"
    return caught.value


def test_the_line_of_the_readme_is_understood():
    node = where.parse("metrics.val/mae < 3 and (params.depth in (4, 8) or tags has 'candidate')")
    assert isinstance(node, And)
    mae, either = node.items
    assert isinstance(mae, Comparison) and (mae.operand.kind, mae.operand.name) == ("metric", "val/mae")
    assert (mae.operator, mae.value.value) == ("<", 3.0)
    assert isinstance(either, Or)
    depth, tagged = either.items
    assert isinstance(depth, In) and [value.value for value in depth.values] == [4.0, 8.0]
    assert isinstance(tagged, Has) and tagged.value.text == "candidate"


def test_a_range_follows_its_name_or_the_word_in():
    for text in ("val_acc 0.91..0.92", "val_acc in 0.91..0.92", "val_acc 0.91 .. 0.92", "val_acc 0.91...92"):
        node = where.parse(text)
        assert isinstance(node, Range) and (node.low.value, node.high.value) == (0.91, 0.92), text
    assert where.parse("loss 2..").high is None
    assert where.parse("loss ..-2e3").high.value == -2000.0
    assert where.parse("loss not in 1..2").negated


def test_operators_have_their_twins():
    assert where.parse("a == 1").operator == "="
    assert where.parse("a <> 1").operator == "!="


def test_not_binds_closest_then_and_then_or():
    node = where.parse("not a = 1 and b = 2 or c = 3")
    assert isinstance(node, Or) and isinstance(node.items[0], And) and isinstance(node.items[0].items[0], Not)


def test_words_of_the_grammar_are_understood_in_capitals():
    assert where.parse("a IN (1) AND NOT b LIKE 'x' OR tags HAS y") == where.parse(
        "a in (1) and not b like 'x' or tags has y"
    )


def test_names_hold_what_metrics_are_called():
    assert operand("metrics.system/gpu.0.percent") == ("metric", "system/gpu.0.percent", "last")
    assert operand("params.a-b:c%") == ("param", "a-b:c%", "")
    assert operand('metrics."val loss".min') == ("metric", "val loss", "min")
    assert operand("metrics.`val loss`") == ("metric", "val loss", "last")
    assert operand('`a "b"`.max') == ("bare", 'a "b"', "max")
    assert operand('metrics."loss.min"') == ("metric", "loss.min", "last")
    assert operand("params.loss.min") == ("param", "loss.min", "")
    assert operand("`created`") == ("bare", "created", "")
    assert operand("tag") == ("field", "tags", "")
    assert operand("verlust/größe") == ("bare", "verlust/größe", "")


@pytest.mark.parametrize("text", ["", "a b", "a < 3", "a = ", "1", "metrics."])
def test_what_is_not_one_name_is_no_order(text):
    with pytest.raises(Invalid) as caught:
        where.operand(text)
    assert caught.value.field in ("order_by", "where")


def test_short_forms_are_conditions():
    user = where.parse("user:evi")
    assert isinstance(user, Comparison) and (user.operand.name, user.value.text) == ("user", "evi")
    assert isinstance(where.parse("tag:'two words'"), Has)
    assert where.parse("name:base*").pieces == ("base", "")
    assert isinstance(where.parse("name:base"), Has)
    assert where.parse("commit:3e5").value.text == "3e5"


def test_a_value_may_be_one_bare_word():
    assert where.parse("optimizer = adam").value.value == "adam"
    assert where.parse("commit = 3f2a").value.text == "3f2a"
    assert where.parse("params.x = true").value.value is True
    assert where.parse("params.x = 'true'").value.value == "true"
    assert where.parse("params.x = null").value.value is None
    assert where.parse("params.x = -inf").value.value == -math.inf
    assert where.parse(r"""params.x = 'it\'s \d'""").value.value == r"it's \d"


def test_wildcards_are_percent_and_star():
    node = where.parse("name like 'a*b%c_'")
    assert isinstance(node, Like) and node.pieces == ("a", "b", "c_")


def test_times_are_stretches_or_counted_from_now():
    assert moment("2024-05-31") == (-DAY, DAY)
    assert moment("2024-05") == (-31 * DAY, 31 * DAY)
    assert moment("2024")[1] == 366 * DAY
    assert moment("2024-05-31T23:00") == (-DAY // 24, 60_000_000)
    assert moment("'2024-05-31 23:00:00+02:00'") == (-3 * DAY // 24, 1_000_000)
    assert moment("2024-05-31T23:00:00.5Z") == (-DAY // 24 + 500_000, 100_000)
    assert moment("-7d") == (-7 * DAY, 1)
    assert moment("-1h30m") == (-90 * 60 * 1_000_000, 1)
    assert moment("today") == (0, DAY)
    assert moment("yesterday") == (-DAY, DAY)
    assert moment("now") == (0, 1)


def test_a_length_of_time_is_no_point_in_time():
    problem = refused("created > 7d")
    assert problem.position == 10
    assert "-7d" in problem.hint


def test_durations_are_lengths_or_seconds():
    assert where.parse("duration > 1h30m").value.value == 5400.0
    assert where.parse("duration in 90..2m").high.value == 120.0


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("a <", 3, "expected a value"),
        ("a < < 3", 4, "expected a value"),
        ("(a < 3", 6, "')'"),
        ("a < 3 b", 6, "'and', 'or'"),
        ("a in (1, )", 9, "expected a value"),
        ("a", 1, "expected a comparison"),
        ("and a = 1", 0, "expected a condition"),
        ("a = 1 and", 9, "expected a condition"),
        ("a = 'x", 4, "not closed"),
        ("a = $", 4, "means nothing here"),
        ("3 < a", 0, "a name was expected"),
        ("name < 'b'", 5, "cannot be ordered"),
        ("status = runing", 9, "is one of"),
        ("metrics.a like 'x'", 0, "not text"),
        ("metrics.a = 'x'", 12, "a metric is a number"),
        ("a < 'x'", 4, "only numbers can be ordered"),
        ("created > banana", 10, "point in time"),
        ("created = 2024-02-30", 10, "point in time"),
        ("archived = perhaps", 11, "true or false"),
        ("params = 3", 0, "needs a name"),
        ("created has 3", 0, "no parts"),
        ("a = 'x\0'", 6, "no text of ours"),
        ("(" * 30 + "not a = 1" + ")" * 30 + " x", 70, "'and', 'or'"),
        ("not (b = 1 or " * 20 + "a = 1" + ")" * 20, 0, "nested"),
        (" or ".join(["a = 1"] * 101), 0, "more than 100 conditions"),
        ("a" * 10_001, 10_000, "longer"),
    ],
)
def test_a_refusal_says_where_and_what_was_expected(text, position, expected):
    problem = refused(text)
    assert expected in str(problem)
    assert problem.position == position


def test_the_caret_stands_under_the_character():
    message, shown, caret = str(refused("a = 1\nand b << 3")).splitlines()
    assert shown[caret.index("^")] == "<" and caret.index("^") == shown.index("<<") + 1
    _, shown, caret = str(refused(f"a = '{'x' * 500}' and ! b")).splitlines()
    assert shown[caret.index("^")] == "!"


def test_a_hint_names_what_looks_like_it():
    assert "running" in refused("status = runing").hint


PIECES = st.sampled_from(
    ["a", "metrics.", "params.x", "tags", "created", "duration", "status", "archived", "and", "or", "not", "in", "has",
     "like", "(", ")", ",", "..", "<", "=", "!=", "'x'", '"', "'", "`", "1", "-7d", "2024-02-30", "9999", "99999-01-01",
     "null", "nan", "inf", "user:", "user:x", "\n", ".min", "1e999", "2024-01-01T25:00", "99999999999999999", "999999999y"]
)  # fmt: skip
LINES = st.one_of(st.text(), st.lists(PIECES).map(" ".join), st.lists(PIECES).map("".join))


@given(LINES)
@example("(" * 2000)
@example("not " * 2000 + "a = 1")
@example("'\ud800'")
@example("created = 0000-01-01")
@example("created = 9999-12-31T23:59:59.9+99:99")
def test_any_text_parses_or_is_refused_at_a_place_within_it(text):
    try:
        node = where.parse(text)
    except Invalid as problem:
        assert problem.field == "where" and 0 <= problem.position <= len(text)
        assert str(problem)
    else:
        assert list(where.leaves(node)) is not None


@given(LINES)
@example("1e999")
@example("0." + "1" * 60)
@example("a=1e-400")
def test_any_text_can_be_read_as_free_text(text):
    readings = free_text.readings(text)
    assert 1 <= len(readings) <= 2


def test_a_remembered_number_is_all_that_rounds_to_it():
    found = free_text.interval("0.913")
    assert (found.low, found.high) == (0.9125, 0.9135)
    assert free_text.interval("5") == AnyNumber(low=4.5, high=5.5)
    assert free_text.interval("1.50e-3").low == pytest.approx(0.001495)
    assert free_text.interval("1e999") is None


def test_free_text_is_words_numbers_and_short_forms():
    words, user, number = free_text.readings("Bakery user:evi 0.91..0.92")[-1].items
    assert words == Word(text="bakery")
    assert isinstance(user, Comparison) and user.value.text == "evi"
    assert number == AnyNumber(low=0.91, high=0.92, closed=True)


def test_a_name_before_a_number_may_be_the_metric_of_that_name():
    for text in ("val_acc 0.913", "val_acc=0.913", "val_acc: 0.913", "and val_acc 0.913,"):
        number, name = free_text.readings(text)[-1].items
        assert number == Or(items=(Word(text="0.913"), AnyNumber(low=0.9125, high=0.9135))), text
        assert name.items[0] == Word(text="val_acc")
        assert (name.items[1].operand.name, name.items[1].low.value, name.items[1].open) == ("val_acc", 0.9125, True)


def test_equality_in_free_text_means_rounds_to():
    node = free_text.readings("val_acc = 0.913 and user:evi")[0].items[0]
    assert isinstance(node, Range) and node.open and node.high.value == 0.9135
