"""The `where` grammar: a line of text becomes a tree of conditions, or a refusal that points at the character. Pure.

docs/reference/where.md shows the grammar by examples. The tree knows what each plain field can be compared with;
which metrics and parameters exist is known to the store only.
"""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from larder.contract.errors import Invalid
from larder.contract.runs import Cause, RunStatus

if TYPE_CHECKING:
    import lark

Kind = Literal["field", "param", "metric", "bare", "params", "metrics"]
Operator = Literal["=", "!=", "<", "<=", ">", ">="]

STATISTICS = ("last", "min", "max", "mean", "count")

FIELDS = {
    "archived": "yes or no",
    "branch": "text",
    "cause": "text",
    "code": "text",
    "commit": "text",
    "created": "time",
    "duration": "duration",
    "ended": "time",
    "host": "text",
    "id": "text",
    "kind": "text",
    "name": "text",
    "notes": "text",
    "parent": "text",
    "project": "text",
    "published": "yes or no",
    "retries": "number",
    "started": "time",
    "status": "text",
    "tags": "tags",
    "user": "text",
}
"""The plain fields and what each of them holds."""

ALIASES = {"tag": "tags", "note": "notes", "actor": "user"}

LONGEST = 10_000
MOST_CONDITIONS = 100
MOST_VALUES = 1000
MOST_KEYS = 5
"""So many names may an order have."""
DEEPEST = 12

SECOND = 1_000_000
DAY = 86_400 * SECOND


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A stretch of time, from `first` up to but without `after`, counted in microseconds from its origin."""

    first: int
    after: int
    origin: Literal["epoch", "now", "today"] = "epoch"

    def at(self, now: int) -> "Moment":
        """The same stretch counted from 1970."""
        base = {"epoch": 0, "now": now, "today": now - now % DAY}[self.origin]
        return Moment(first=base + self.first, after=base + self.after)


@dataclass(frozen=True, kw_only=True)
class Value:
    """What something is compared with. `text` is how it was written, without its quotes."""

    value: str | float | bool | Moment | None
    text: str
    position: int
    quoted: bool = False

    @property
    def number(self) -> float | None:
        """The value as a number, where it is one."""
        return self.value if isinstance(self.value, float) else None


@dataclass(frozen=True, kw_only=True)
class Operand:
    """What is compared. A bare name is a metric of that name, else a parameter: the store decides."""

    kind: Kind
    name: str
    text: str
    position: int
    statistic: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`lr < 0.1`"""

    operand: Operand
    operator: Operator
    value: Value


@dataclass(frozen=True, kw_only=True)
class In:
    """`depth in (4, 8)`"""

    operand: Operand
    values: tuple[Value, ...]
    negated: bool = False


@dataclass(frozen=True, kw_only=True)
class Range:
    """`val_acc 0.91..0.92`, both ends belong to it unless `open` leaves the upper one out; an end may be missing."""

    operand: Operand
    low: Value | None
    high: Value | None
    negated: bool = False
    open: bool = False


@dataclass(frozen=True, kw_only=True)
class Has:
    """`tags has 'candidate'`"""

    operand: Operand
    value: Value
    negated: bool = False


@dataclass(frozen=True, kw_only=True)
class Like:
    """`name like 'base*'`; `pieces` is the pattern cut at its wildcards."""

    operand: Operand
    pieces: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, kw_only=True)
class And:
    """All of them; without items everything."""

    items: tuple["Node", ...]


@dataclass(frozen=True, kw_only=True)
class Or:
    """At least one of them."""

    items: tuple["Node", ...]


@dataclass(frozen=True, kw_only=True)
class Not:
    """What does not match the item."""

    item: "Node"


@dataclass(frozen=True, kw_only=True)
class Word:
    """Free text only: the name, a tag or the notes hold these characters, upper or lower case."""

    text: str


@dataclass(frozen=True, kw_only=True)
class AnyNumber:
    """Free text only: some metric's last, min or max, or some parameter lies in [low, high), or [low, high]."""

    low: float
    high: float
    closed: bool = False


Leaf = Comparison | In | Range | Has | Like
Node = Leaf | And | Or | Not | Word | AnyNumber


def parse(text: str) -> Node:
    """The tree of `text`; blank text is everything. Invalid says in words what was expected where."""
    if len(text) > LONGEST:
        refuse(text, LONGEST, f"is longer than {LONGEST:,} characters")
    for at, character in enumerate(text):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            refuse(text, at, "holds a character that no text of ours can hold")
    if not text.strip():
        return And(items=())
    node: Node = _parsed(text, "start")
    _check_size(text, node)
    return node


def operand(text: str, *, field: str = "order_by") -> Operand:
    """A name alone, as in `order_by`."""
    if not text.strip() or len(text) > LONGEST or "\0" in text:
        refuse(text[:100], 0, "needs a name, such as created, metrics.val/mae.min or params.lr", field=field)
    try:
        found: Operand = _parsed(text, "operand")
    except Invalid as problem:
        refuse(text, problem.position or 0, "is not one name", field=field, hint="quote odd names: metrics.`val loss`")
    return found


@dataclass(frozen=True, kw_only=True)
class Key:
    """One name of an order; `descending` where it says so itself."""

    operand: Operand
    descending: bool | None = None


def names(text: str, *, field: str, most: int) -> list[Operand]:
    """Names with commas between them; blank text has none."""
    return [key.operand for key in _listed(text, field=field, most=most)]


def order(text: str) -> list[Key]:
    """The names to sort by, the first one first, each of which may end in `asc` or `desc`."""
    return _listed(text, field="order_by", most=MOST_KEYS, directed=True)


def _listed(text: str, *, field: str, most: int, directed: bool = False) -> list[Key]:
    if not text.strip():
        return []
    if len(text) > LONGEST:
        refuse(text, LONGEST, f"is longer than {LONGEST:,} characters", field=field)
    keys: list[Key] = []
    for piece in _PIECE.finditer(text):
        name = piece.group()
        way = _WAY.search(name) if directed else None
        shift = piece.start() + len(name) - len(name.lstrip())
        name = (name[: way.start()] if way else name).strip()
        if not name:
            refuse(text, piece.start(), "has a comma without a name before or after it", field=field)
        try:
            found = operand(name, field=field)
        except Invalid as problem:
            message = str(problem).removeprefix(f"{field} ").partition("\n")[0]
            refuse(text, shift + (problem.position or 0), message, hint=problem.hint, field=field)
        found = replace(found, position=found.position + shift)
        keys.append(Key(operand=found, descending=way[1].lower() == "desc" if way else None))
        if len(keys) > most:
            refuse(text, shift, f"has more than {most} names", field=field)
    return keys


def expected(text: str) -> tuple[set[str], list[tuple[str, str]]]:
    """The kinds of words that may follow `text`, and the words that it has, each with its kind; Invalid."""
    import lark

    try:
        reading: Any = _parser().parse_interactive(text, start="start")
        tokens = [(str(token.type), str(token)) for token in reading.exhaust_lexer()]
        return set(reading.accepts()), tokens
    except (lark.UnexpectedToken, lark.UnexpectedCharacters) as problem:
        refuse(text, int(problem.pos_in_stream or 0), "is not understood")


def written(kind: Literal["param", "metric"], name: str) -> str:
    """A metric or parameter as one writes it: `params.lr`, `metrics."val loss"`."""
    plain = re.fullmatch(f"{_BARE}+", name) and name.rpartition(".")[2] not in STATISTICS
    quoted = name if plain else '"' + re.sub(r'([\\"])', r"\\\1", name) + '"'
    return f"{kind}s.{quoted}"


def literal(value: str | float | bool | None) -> str:
    """A value as one writes it."""
    if isinstance(value, str):
        return "'" + re.sub(r"([\\'])", r"\\\1", value) + "'"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return repr(value)


def refuse(text: str, position: int, problem: str, *, hint: str = "", field: str = "where") -> NoReturn:
    """Raise Invalid for `text`, with a caret under the character at `position`."""
    start = text.rfind("\n", 0, position) + 1
    line = text[start:].split("\n", 1)[0]
    at = position - start
    shift = max(0, at - 60)
    shown = "".join(c if c.isprintable() else " " for c in line[shift : shift + 100])
    raise Invalid(f"{field} {problem}\n  {shown}\n  {' ' * (at - shift)}^", hint=hint, field=field, position=position)


def near(name: str, known: list[str]) -> str:
    """A hint with the known names that look like `name`."""
    close = get_close_matches(name.lower(), {k.lower(): k for k in known}, n=3, cutoff=0.6)
    spelled = {k.lower(): k for k in known}
    return f"did you mean {', '.join(spelled[c] for c in close)}?" if close else ""


def leaves(node: Node) -> Iterator[Leaf]:
    """The conditions of the tree, from left to right."""
    if isinstance(node, And | Or):
        for item in node.items:
            yield from leaves(item)
    elif isinstance(node, Not):
        yield from leaves(node.item)
    elif not isinstance(node, Word | AnyNumber):
        yield node


def span(text: str) -> int | None:
    """Microseconds of a length of time such as `90s`, `1h30m` or `-7d`."""
    if not _SPAN.fullmatch(text):
        return None
    total = sum(float(number) * _UNITS[unit] for number, unit in _SPAN_PART.findall(text))
    # beyond 10,000 years nothing differs any more, and the database's integers end
    return int(min(total, 3_650_000 * DAY)) * (-1 if text.startswith("-") else 1)


# -- text to tree --------------------------------------------------------------------------------------------------

_BARE = r"(?:[\w\/\-:%+@*~&]|\.(?!\.))"
_DOUBLE = r'"(?:[^"\\]|\\.)*"'
_TICKED = r"`[^`]+`"
_STATISTIC = rf"(?:\.(?:{'|'.join(STATISTICS)}))(?!{_BARE})"
_PREFIX = r"(?:params?|metrics?)\."
_SHORT = r"(?:user|tags?|status|cause|project|name|notes|kind|host|branch|commit|code|id|parent)"

# between two commas; a comma in quotes is part of a name
_PIECE = re.compile(rf"(?:{_DOUBLE}|{_TICKED}|[^,])+|(?<=,)(?=,|\Z)|\A(?=,)", re.S)
_WAY = re.compile(r"\s+(asc|desc)\s*\Z", re.I)

_GRAMMAR = rf"""
start: expression
?expression: conjunction (_OR conjunction)*
?conjunction: condition (_AND condition)*
?condition: _NOT condition -> negation
    | "(" expression ")"
    | SHORT -> short
    | operand OPERATOR value -> comparison
    | operand _IN "(" value ("," value)* ")" -> within
    | operand _NOT _IN "(" value ("," value)* ")" -> not_within
    | operand range -> between
    | operand _IN range -> between
    | operand _NOT _IN range -> not_between
    | operand _HAS value -> has
    | operand _NOT _HAS value -> not_has
    | operand _LIKE value -> like
    | operand _NOT _LIKE value -> not_like
range: value _DOTS value -> both
    | value _DOTS -> low
    | _DOTS value -> high
operand: BARE | NAME | DOUBLE
value: BARE | DOUBLE | SINGLE | SHORT

_OR.4: /or(?!{_BARE})/i
_AND.4: /and(?!{_BARE})/i
_NOT.4: /not(?!{_BARE})/i
_IN.4: /in(?!{_BARE})/i
_HAS.4: /has(?!{_BARE})/i
_LIKE.4: /like(?!{_BARE})/i
SHORT.3: /{_SHORT}:[ ]?(?:{_DOUBLE}|'(?:[^'\\]|\\.)*'|[^\s(),"']+)/
NAME.3: /(?:{_PREFIX}(?:{_DOUBLE}|{_TICKED})|{_TICKED})(?:{_STATISTIC})?|{_DOUBLE}{_STATISTIC}/s
DOUBLE.2: /{_DOUBLE}/s
SINGLE.2: /'(?:[^'\\]|\\.)*'/s
OPERATOR.2: /==|!=|<>|<=|>=|=|<|>/
_DOTS.2: ".."
BARE.1: /{_BARE}+/
%ignore /\s+/
"""


@cache
def _parser() -> "lark.Lark":
    # late and once: a server that is never searched pays neither the time nor the memory
    import lark

    return lark.Lark(_GRAMMAR, parser="lalr", lexer="basic", start=["start", "operand"], maybe_placeholders=False)


def _parsed(text: str, start: str) -> Any:
    import lark

    try:
        tree = _parser().parse(text, start=start)
    except lark.UnexpectedToken as problem:
        ended = problem.token.type == "$END"
        position = len(text) if ended else int(problem.token.start_pos or 0)
        found = "ends too early" if ended else f"is not understood at {_shortened(str(problem.token))}"
        refuse(text, position, f"{found}: expected {_expected(problem.accepts or problem.expected)}")
    except lark.UnexpectedCharacters as problem:
        position = int(problem.pos_in_stream or 0)
        character = text[position]
        if character in "\"'`":
            refuse(text, position, f"has a quote {character} that is not closed")
        refuse(
            text,
            position,
            f"has a character {character} that means nothing here",
            hint="quote names and values that hold it",
        )
    return _Builder(text).build(tree)


def _expected(terminals: set[str]) -> str:
    words = []
    if terminals & {"OPERATOR", "_HAS", "_LIKE"}:
        words.append("a comparison (= != < <= > >=, in, has, like, or a range a..b)")
    if "LPAR" in terminals and terminals & {"_NOT", "BARE"}:
        words.append("a condition such as metrics.loss < 3, user:evi or (")
    elif "LPAR" in terminals:
        words.append("a list in parentheses or a range a..b")
    elif "BARE" in terminals and "OPERATOR" not in terminals:
        words.append("a value")
    if "_DOTS" in terminals and not terminals & {"OPERATOR", "BARE"}:
        words.append("'..'")
    if "COMMA" in terminals:
        words.append("','")
    if "RPAR" in terminals:
        words.append("')'")
    if terminals & {"_AND", "_OR"}:
        words.append("'and', 'or'")
    if "$END" in terminals:
        words.append("the end")
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words or ["something else"])


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _check_size(text: str, node: Node) -> None:
    # a database's own parser has a stack, too; walked with a list, because the tree may be deeper than ours
    waiting, conditions = [(node, 1)], 0
    while waiting:
        here, depth = waiting.pop()
        if depth > DEEPEST:
            refuse(text, 0, f"is nested more than {DEEPEST} deep")
        if isinstance(here, And | Or):
            waiting += [(item, depth + 1) for item in here.items]
        elif isinstance(here, Not):
            waiting.append((here.item, depth + 1))
        else:
            conditions += 1
    if conditions > MOST_CONDITIONS:
        refuse(text, 0, f"has more than {MOST_CONDITIONS} conditions", hint="use in (…) for many values of one name")


class _Builder:
    """Makes nodes of the parser's tree, and refuses what a field cannot be compared with."""

    def __init__(self, text: str) -> None:
        self._text = text

    def build(self, tree: "lark.Tree[Any]") -> Any:
        # children before parents, without recursion: `((((…` may be thousands deep
        built: dict[int, Any] = {}
        for branch in tree.iter_subtrees():
            children = [built.get(id(child), child) for child in branch.children]
            built[id(branch)] = getattr(self, str(branch.data))(children)
        return built[id(tree)]

    def start(self, children: list[Any]) -> Node:
        return children[0]  # type: ignore[no-any-return]

    def expression(self, children: list[Any]) -> Node:
        return Or(items=tuple(children))

    def conjunction(self, children: list[Any]) -> Node:
        return And(items=tuple(children))

    def negation(self, children: list[Any]) -> Node:
        return children[0].item if isinstance(children[0], Not) else Not(item=children[0])

    def comparison(self, children: list[Any]) -> Node:
        left, token, right = children
        operator: Operator = {"==": "=", "<>": "!="}.get(str(token), str(token))  # type: ignore[assignment]
        if left.kind == "field" and FIELDS[left.name] in ("text", "tags", "yes or no") and operator not in ("=", "!="):
            self._refuse(left, int(token.start_pos), "cannot be ordered", "use = != in like or has")
        return Comparison(
            operand=left, operator=operator, value=self._fit(left, right, ordered=operator not in ("=", "!="))
        )

    def within(self, children: list[Any], negated: bool = False) -> Node:
        left, values = children[0], children[1:]
        if len(values) > MOST_VALUES:
            refuse(self._text, values[MOST_VALUES].position, f"lists more than {MOST_VALUES:,} values")
        return In(operand=left, values=tuple(self._fit(left, value) for value in values), negated=negated)

    def not_within(self, children: list[Any]) -> Node:
        return self.within(children, negated=True)

    def both(self, children: list[Any]) -> list[Any]:
        return children

    def low(self, children: list[Any]) -> list[Any]:
        return [children[0], None]

    def high(self, children: list[Any]) -> list[Any]:
        return [None, children[0]]

    def between(self, children: list[Any], negated: bool = False) -> Node:
        left, ends = children
        if left.kind == "field" and FIELDS[left.name] in ("text", "tags", "yes or no"):
            self._refuse(left, left.position, "has no range", "use = != in like or has")
        low, high = (value and self._fit(left, value, ordered=True) for value in ends)
        return Range(operand=left, low=low, high=high, negated=negated)

    def not_between(self, children: list[Any]) -> Node:
        return self.between(children, negated=True)

    def has(self, children: list[Any], negated: bool = False) -> Node:
        left, value = children
        if left.kind in ("bare", "metric", "param") or (
            left.kind == "field" and FIELDS[left.name] not in ("text", "tags")
        ):
            self._refuse(left, left.position, "has no parts", "`has` works with tags, params, metrics and texts")
        return Has(operand=left, value=value, negated=negated)

    def not_has(self, children: list[Any]) -> Node:
        return self.has(children, negated=True)

    def like(self, children: list[Any], negated: bool = False) -> Node:
        left, value = children
        if left.kind in ("metric", "params", "metrics"):
            self._refuse(left, left.position, "is not text", "use a comparison or a range")
        if left.kind == "field" and FIELDS[left.name] not in ("text", "tags"):
            self._refuse(left, left.position, f"is a {FIELDS[left.name]}, not text", "use a comparison or a range")
        return Like(operand=left, pieces=tuple(re.split("[%*]", value.text)), negated=negated)

    def not_like(self, children: list[Any]) -> Node:
        return self.like(children, negated=True)

    def short(self, children: list[Any]) -> Node:
        token = children[0]
        key, rest = str(token).split(":", 1)
        value_text = rest.removeprefix(" ")
        position = int(token.start_pos)
        at = position + len(token) - len(value_text)
        left = self._operand(key, key, position)
        if value_text[0] in "\"'":
            value = Value(value=_unquoted(value_text), text=_unquoted(value_text), position=at, quoted=True)
        else:
            value = _value(value_text, position=at)
            if re.search("[%*]", value_text):
                return self.like([left, value])
        if left.name in ("tags", "notes", "name"):
            return self.has([left, value])
        return Comparison(operand=left, operator="=", value=self._fit(left, value))

    def operand(self, children: list[Any]) -> Operand:
        token = children[0]
        return self._operand(str(token), str(token), int(token.start_pos))

    def value(self, children: list[Any]) -> Value:
        token = children[0]
        if token.type in ("DOUBLE", "SINGLE"):
            text = _unquoted(str(token))
            return Value(value=text, text=text, position=int(token.start_pos), quoted=True)
        return _value(str(token), position=int(token.start_pos))

    def _operand(self, name: str, text: str, position: int) -> Operand:
        kind: Kind = "bare"
        for prefix, of in (("params.", "param"), ("param.", "param"), ("metrics.", "metric"), ("metric.", "metric")):
            if name.startswith(prefix):
                kind, name = of, name[len(prefix) :]  # type: ignore[assignment]
                break
        quoted = name[:1] in ('"', "`")
        statistic = ""
        if kind != "param":
            head, _, tail = name.rpartition(".")
            if head and tail in STATISTICS and (not quoted or name[-1] not in '"`'):
                name, statistic = head, tail
        if quoted:
            name = _unquoted(name)
        if not name:
            refuse(self._text, position + len(text), "needs a name after the dot")
        if kind == "bare" and not quoted:
            if name in ("params", "metrics") and not statistic:
                return Operand(kind=name, name=name, text=text, position=position)  # type: ignore[arg-type]
            plain = ALIASES.get(name, name)
            if plain in FIELDS and not statistic:
                return Operand(kind="field", name=plain, text=text, position=position)
            if isinstance(_value(name, position=position).value, float):
                refuse(self._text, position, f"has the number {name} where a name was expected",
                       hint="write the name first: lr > 0.1; quote a name that looks like a number")  # fmt: skip
        if kind == "metric" and not statistic:
            statistic = "last"
        return Operand(kind=kind, name=name, text=text, position=position, statistic=statistic)

    def _fit(self, left: Operand, value: Value, *, ordered: bool = False) -> Value:
        """The value as what `left` holds."""
        if left.kind in ("params", "metrics"):
            self._refuse(
                left, left.position, "needs a name after a dot", f"write {left.name}.NAME, or {left.name} has 'NAME'"
            )
        if left.kind != "field":
            return self._fit_recorded(left, value, ordered=ordered)
        holds = FIELDS[left.name]
        if value.value is None and not value.quoted:
            if ordered:
                self._refuse(left, value.position, "cannot be ordered against null", "use = null or != null")
            return value
        if holds == "time":
            return replace(value, value=self._moment(left, value))
        if holds == "duration":
            length = span(value.text)
            seconds = value.number if length is None else length / SECOND
            if seconds is None or seconds != seconds:
                self._refuse(
                    left, value.position, "is a length of time", "write 90s, 15m, 1h30m, 2d or a number of seconds"
                )
            return replace(value, value=float(max(-1e12, min(1e12, seconds))))
        if holds == "number":
            if value.number is None or value.number != value.number:
                self._refuse(left, value.position, "is a number", "")
            return replace(value, value=value.number)
        if holds == "yes or no":
            known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            if value.text.lower() not in known:
                self._refuse(left, value.position, "is true or false", "")
            return replace(value, value=known[value.text.lower()])
        if left.name == "status" and value.text not in [str(status) for status in RunStatus]:
            known_states = [str(status) for status in RunStatus]
            self._refuse(left, value.position, f"is one of {', '.join(known_states)}", near(value.text, known_states))
        if left.name == "cause" and value.text not in [str(cause) for cause in Cause]:
            known_causes = [str(cause) for cause in Cause if cause]
            self._refuse(left, value.position, f"is one of {', '.join(known_causes)}", near(value.text, known_causes))
        return replace(value, value=value.text)

    def _fit_recorded(self, left: Operand, value: Value, *, ordered: bool) -> Value:
        numeric = left.kind == "metric" or bool(left.statistic) or ordered
        if not numeric or value.number is not None:
            if ordered and value.number != value.number:
                self._refuse(left, value.position, "cannot be ordered against nan", "use = nan or != nan")
            return value
        if value.value is None and not value.quoted and not ordered:
            return value
        number = _value(value.text, position=0).value if value.quoted else None
        if isinstance(number, float) and number == number:
            return replace(value, value=number)
        what = "a metric is a number" if left.kind == "metric" else "only numbers can be ordered"
        return self._refuse(left, value.position, f"is compared with {_shortened(value.text)}: {what}", "")

    def _moment(self, left: Operand, value: Value) -> Moment:
        if not value.quoted and value.text in ("now", "today", "yesterday"):
            start = -DAY if value.text == "yesterday" else 0
            return Moment(
                first=start,
                after=start + (1 if value.text == "now" else DAY),
                origin="now" if value.text == "now" else "today",
            )
        length = span(value.text)
        if length is not None and value.text[0] in "+-":
            return Moment(first=length, after=length + 1, origin="now")
        if length is not None:
            self._refuse(left, value.position, "is a point in time", f"write -{value.text} for {value.text} before now")
        try:
            moment = _date(value.text)
        except ValueError:
            moment = None
        if moment is None:
            self._refuse(left, value.position, "is a point in time",
                         "write 2024-05-31, 2024-05-31T14:30, 2024-05, -7d, -2h, today or now (UTC)")  # fmt: skip
        return moment

    def _refuse(self, left: Operand, position: int, problem: str, hint: str) -> NoReturn:
        refuse(self._text, position, f"does not fit: {left.text} {problem}", hint=hint)


# -- values --------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf|nan", re.IGNORECASE)
_UNITS = {
    "ms": 1000, "s": SECOND, "min": 60 * SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": DAY, "w": 7 * DAY,
    "y": 365 * DAY,
}  # fmt: skip
_SPAN_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|min|m|h|d|w|y)")
_SPAN = re.compile(rf"[+-]?(?:{_SPAN_PART.pattern})+")
_DATE = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})(?:[T ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,6}))?)?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?)?)?"
)


def _value(text: str, *, position: int) -> Value:
    lower = text.lower()
    if lower in ("true", "false"):
        return Value(value=lower == "true", text=text, position=position)
    if lower in ("null", "none"):
        return Value(value=None, text=text, position=position)
    if _NUMBER.fullmatch(text):
        return Value(value=float(text), text=text, position=position)
    return Value(value=text, text=text, position=position)


def _unquoted(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    return re.sub(r"\\([\\'\"])", r"\1", text[1:-1])


def _date(text: str) -> Moment | None:
    """The stretch that a date or time names; ValueError when there is no such day."""
    if re.fullmatch(r"[0-9]{13,18}", text):
        return Moment(first=int(text), after=int(text) + 1)
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    part = {
        name: int(digits) for name, digits in found.groupdict().items() if digits and name not in ("zone", "fraction")
    }
    year, month = part["year"], part.get("month", 1)
    start = datetime(
        year, month, part.get("day", 1), part.get("hour", 0), part.get("minute", 0), part.get("second", 0), tzinfo=UTC
    )
    if "month" not in part:
        length = (366 if calendar.isleap(year) else 365) * DAY
    elif "day" not in part:
        length = calendar.monthrange(year, month)[1] * DAY
    else:
        length = DAY if "hour" not in part else 60 * SECOND if "second" not in part else SECOND
    first = (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if found["fraction"]:
        first, length = first + int(found["fraction"].ljust(6, "0")), 10 ** (6 - len(found["fraction"]))
    if found["zone"] and found["zone"] != "Z":
        sign, hours, minutes = found["zone"][0], int(found["zone"][1:3]), int(found["zone"][-2:])
        offset = timezone(timedelta(hours=hours, minutes=minutes)).utcoffset(None) // timedelta(microseconds=1)
        first += offset if sign == "-" else -offset
    return Moment(first=first, after=first + length)
