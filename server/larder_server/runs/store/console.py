"""Console lines in SQL: compressed chunks, each knowing the number of its first line."""

import math
import threading
import time
from collections.abc import Iterator, Sequence

import msgspec
import zstandard

from larder.contract.runs import Console, ConsoleLine, NumberedLine
from larder_server.kernel.context import Context
from larder_server.runs.rules.sought import Chosen, Line, Sought

CHUNK = 1_000
"""The most lines in one chunk."""

ANYTHING = Sought()

_AT_ONCE = 32


class _Zstd(threading.local):
    """A compressor may not be used by two threads at once."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=3).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_zstd = _Zstd()
_decoder = msgspec.msgpack.Decoder(list[tuple[int, str, int, str]])


def total(context: Context, run: int) -> int:
    """How many lines there are."""
    row = context.db.one(
        "select first_line, count as size from console_chunks where tenant = :tenant and run = :run"
        " order by first_line desc limit 1",
        run=run,
    )
    return int(row.first_line + row.size) - 1 if row else 0


def append(context: Context, run: int, lines: Sequence[ConsoleLine]) -> None:
    """Add lines. The caller holds the lock on the run."""
    first = total(context, run) + 1
    context.db.many(
        "insert into console_chunks (tenant, run, first_line, count, lines)"
        " values (:tenant, :run, :first, :count, :lines)",
        [
            {"run": run, "first": first + start, "count": len(chunk), "lines": _pack(chunk)}
            for start in range(0, len(lines), CHUNK)
            for chunk in [lines[start : start + CHUNK]]
        ],
    )


def read(
    context: Context, run: int, *, after: int, limit: int, sought: Sought = ANYTHING, until: float = math.inf
) -> Console:
    """Lines after a number that are sought, at most `limit`; what is found until the monotonic clock shows `until`."""
    last_line = total(context, run)
    if after > last_line:
        after = 0  # whoever asks has read the lines of an attempt that were removed: those of the next follow
    found: list[NumberedLine] = []
    last = after
    for first, lines in _chunks(context, run, after):
        for chosen in sought.among(lines):
            number = first + chosen.index
            if number > after:
                found.append(_numbered(number, lines[chosen.index], chosen))
                if len(found) == limit:
                    return Console(lines=found, last=number, total=last_line)
        last = first + len(lines) - 1
        if time.monotonic() > until and last < last_line:
            return Console(lines=found, last=last, total=last_line, complete=False)
    return Console(lines=found, last=last, total=last_line)


def tail(context: Context, run: int, *, lines: int, sought: Sought = ANYTHING, until: float = math.inf) -> Console:
    """The last lines, or the last of those that are sought, the latest part of the log being looked at first."""
    last_line = total(context, run)
    if sought.anything:
        return read(context, run, after=max(last_line - lines, 0), limit=lines)
    found: list[NumberedLine] = []
    for first, chunk in _chunks_backwards(context, run):
        chosen = [_numbered(first + each.index, chunk[each.index], each) for each in sought.among(chunk)]
        found = [*chosen, *found][-lines:]
        if len(found) == lines:
            break
        if time.monotonic() > until and first > 1:
            return Console(lines=found, last=last_line, total=last_line, complete=False)
    return Console(lines=found, last=last_line, total=last_line)


def forget(context: Context, run: int, *, lines: int) -> int:
    """Remove the first lines; those after them keep their numbers, by which somebody may be following them.

    The lines must be those that were there at some time: chunks are never divided.
    """
    context.db.change(
        "delete from console_chunks where tenant = :tenant and run = :run and first_line <= :lines",
        run=run,
        lines=lines,
    )
    return lines


def delete(context: Context, run: int) -> int:
    """Remove all lines; how many there were."""
    lines = total(context, run)
    context.db.change("delete from console_chunks where tenant = :tenant and run = :run", run=run)
    return lines


def _chunks(context: Context, run: int, after: int) -> Iterator[tuple[int, list[Line]]]:
    """The number of the first line of each chunk that holds a line after one, and its lines."""
    while True:
        # no chunk is longer than CHUNK, so the one that holds the next line begins at most so far before it
        rows = context.db.execute(
            "select first_line, count as size, lines from console_chunks where tenant = :tenant and run = :run"
            " and first_line > :from_line and first_line + count - 1 > :after order by first_line limit :chunks",
            run=run,
            from_line=after + 1 - CHUNK,
            after=after,
            chunks=_AT_ONCE,
        )
        for row in rows:
            yield row.first_line, _unpack(row.lines)
        if len(rows) < _AT_ONCE:
            return
        after = rows[-1].first_line + rows[-1].size - 1


def _chunks_backwards(context: Context, run: int) -> Iterator[tuple[int, list[Line]]]:
    before = 2**62
    while True:
        rows = context.db.execute(
            "select first_line, lines from console_chunks where tenant = :tenant and run = :run"
            " and first_line < :before order by first_line desc limit :chunks",
            run=run,
            before=before,
            chunks=_AT_ONCE,
        )
        for row in rows:
            yield row.first_line, _unpack(row.lines)
        if len(rows) < _AT_ONCE:
            return
        before = rows[-1].first_line


def _numbered(number: int, line: Line, chosen: Chosen) -> NumberedLine:
    time, stream, rank, text = line
    return NumberedLine(
        number=number, line=ConsoleLine(time=time, stream=stream, rank=rank, text=text), spans=chosen.spans
    )


def _pack(lines: Sequence[ConsoleLine]) -> bytes:
    return _zstd.compress(msgspec.msgpack.encode([(line.time, line.stream, line.rank, line.text) for line in lines]))


def _unpack(data: bytes) -> list[Line]:
    return _decoder.decode(_zstd.decompress(data))
