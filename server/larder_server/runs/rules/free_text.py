"""Free text becomes a tree of conditions: what somebody remembers of a run, words and numbers in any order. Pure."""

import math
import re
from decimal import Decimal

from larder.contract.errors import Invalid
from larder_server.runs.rules import where
from larder_server.runs.rules.where import And, AnyNumber, Comparison, Node, Not, Operand, Or, Range, Value, Word

MOST_WORDS = 20

_NUMBER = r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{1,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?"
_REMEMBERED = re.compile(_NUMBER)
_RANGE = re.compile(rf"({_NUMBER})?\.\.({_NUMBER})?")
_ASSIGNED = re.compile(rf"(?<=\S)(?:\s*=\s*|:\s+)(?={_NUMBER}(?:[\s,;]|$))")
_SHORT = r"[a-z]+:[ ]?"
_TOKEN = re.compile(rf"""(?:{_SHORT})?(?:"[^"]*"|'[^']*')|[^\s"',;]+""")


def readings(text: str) -> list[Node]:
    """What `text` can mean, the likeliest first: a `where`, in which `=` means "rounds to", or words and numbers.

    The later reading is for when the first names something that does not exist.
    """
    found = []
    try:
        found.append(_rounded(where.parse(text)))
    except Invalid:
        pass  # no condition, so words: any text can be read as words
    found.append(_words(text))
    return found


def interval(number: str) -> AnyNumber | None:
    """All values that print as `number` with as many digits: `0.913` is [0.9125, 0.9135)."""
    middle = Decimal(number)
    half = Decimal(5).scaleb(int(middle.as_tuple().exponent) - 1)
    low, high = float(middle - half), float(middle + half)
    return AnyNumber(low=low, high=high) if math.isfinite(low) and math.isfinite(high) else None


def _rounded(node: Node) -> Node:
    if isinstance(node, And):
        return And(items=tuple(_rounded(item) for item in node.items))
    if isinstance(node, Or):
        return Or(items=tuple(_rounded(item) for item in node.items))
    if isinstance(node, Not):
        return Not(item=_rounded(node.item))
    if isinstance(node, Comparison) and node.operator == "=" and node.operand.kind in ("bare", "metric"):
        around = interval(node.value.text) if _REMEMBERED.fullmatch(node.value.text) else None
        return _between(node.operand, around) if around else node
    return node


def _words(text: str) -> Node:
    text = _ASSIGNED.sub(" ", re.sub("[\0\ud800-\udfff]", " ", text[: where.LONGEST]))
    items: list[Node] = []
    name = ""
    for token in _TOKEN.findall(text)[:MOST_WORDS]:
        short, number = _short(token), _number(token)
        word = token.strip("\"'").lower()
        if short is not None:
            items.append(short)
        elif number is not None and name:
            # `val_acc 0.913`: the number anywhere, and the word anywhere or that metric near that number
            operand = Operand(kind="bare", name=name, text=name, position=0)
            items[-1:] = [_or_word(word, number), Or(items=(items[-1], _between(operand, number)))]
        elif number is not None:
            items.append(_or_word(word, number))
        elif word and (word != "and" or text.strip().lower() == "and"):
            items.append(Word(text=word))
        else:
            continue
        name = token.strip("\"'`") if short is None and number is None else ""
    return And(items=tuple(items))


def _short(token: str) -> Node | None:
    if not re.match(_SHORT, token):
        return None
    try:
        node = where.parse(token)
    except Invalid:
        return None
    return node


def _number(token: str) -> AnyNumber | None:
    if _REMEMBERED.fullmatch(token):
        return interval(token)
    ends = _RANGE.fullmatch(token)
    if ends is None or not (ends[1] or ends[2]):
        return None
    low, high = (float(end) if end else fallback for end, fallback in ((ends[1], -math.inf), (ends[2], math.inf)))
    return AnyNumber(low=low, high=high, closed=True)


def _or_word(word: str, number: AnyNumber) -> Node:
    return number if number.closed else Or(items=(Word(text=word), number))


def _between(operand: Operand, number: AnyNumber) -> Range:
    low, high = (Value(value=end, text=repr(end), position=operand.position) for end in (number.low, number.high))
    return Range(operand=operand, low=low, high=high, open=not number.closed)
