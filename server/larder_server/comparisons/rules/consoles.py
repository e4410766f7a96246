"""How two consoles differ: by lines, in which numbers count only when asked, since no two runs print the same. Pure."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from larder.contract.comparisons import ConsoleDiff

MOST = 2_000
"""Lines of each console that are compared: the last ones. The time to compare grows with their product."""

_AROUND = 3
_LONGEST = 2_000
_NUMBER = re.compile(r"[+-]?\d[\d.,:]*(?:[eE][+-]?\d+)?(?:[TZ][\d:.]*)?|\bnan\b|\binf\b|\b[0-9a-f]{7,64}\b")


def diff(a: Sequence[str], b: Sequence[str], *, numbers: bool, cut: bool = False) -> ConsoleDiff:
    """The unified difference from `a` to `b`; without `numbers`, lines alike but for their numbers are the same line."""
    ours, theirs = (list(lines) if numbers else [_NUMBER.sub("#", line) for line in lines] for lines in (a, b))
    # lines that stand in every loop would make the search slow and match at random: those count for little
    matcher = SequenceMatcher(None, ours, theirs, autojunk=True)
    text: list[str] = []
    added = removed = 0
    for group in matcher.get_grouped_opcodes(_AROUND):
        first, last = group[0], group[-1]
        text.append(f"@@ -{first[1] + 1},{last[2] - first[1]} +{first[3] + 1},{last[4] - first[3]} @@")
        for kind, a_from, a_to, b_from, b_to in group:
            if kind == "equal":
                text += [f" {line[:_LONGEST]}" for line in b[b_from:b_to]]
                continue
            text += [f"-{line[:_LONGEST]}" for line in a[a_from:a_to]]
            text += [f"+{line[:_LONGEST]}" for line in b[b_from:b_to]]
            removed += a_to - a_from
            added += b_to - b_from
    return ConsoleDiff(
        diff="\n".join(text), added=added, removed=removed, lines_a=len(a), lines_b=len(b), cut=cut,
    )  # fmt: skip
