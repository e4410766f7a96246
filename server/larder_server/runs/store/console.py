"""Console lines in SQL: compressed chunks, each knowing the number of its first line."""

import threading
from collections.abc import Iterator, Sequence

import msgspec
import zstandard

from larder.contract.runs import Console, ConsoleLine, NumberedLine
from larder_server.kernel.context import Context

CHUNK = 1_000
"""The most lines in one chunk."""

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


def read(context: Context, run: int, *, after: int, limit: int, search: str = "") -> Console:
    """Lines after a number, at most `limit`; with `search`, only those that hold it, in whatever case."""
    last_line = total(context, run)
    if after > last_line:
        after = 0  # whoever asks has read the lines of an attempt that were removed: those of the next follow
    wanted = search.casefold()
    found: list[NumberedLine] = []
    last = after
    for numbered in _lines(context, run, after):
        last = numbered.number
        if not wanted or wanted in numbered.line.text.casefold():
            found.append(numbered)
            if len(found) == limit:
                break
    return Console(lines=found, last=last, total=last_line)


def tail(context: Context, run: int, *, lines: int, search: str = "") -> Console:
    """The last lines, or the last of those that hold `search`."""
    last_line = total(context, run)
    if not search:
        return read(context, run, after=max(last_line - lines, 0), limit=lines)
    wanted = search.casefold()
    found = [line for line in _lines(context, run, 0) if wanted in line.line.text.casefold()]
    return Console(lines=found[-lines:], last=last_line, total=last_line)


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


def _lines(context: Context, run: int, after: int) -> Iterator[NumberedLine]:
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
            for number, line in enumerate(_unpack(row.lines), row.first_line):
                if number > after:
                    yield NumberedLine(number=number, line=line)
        if len(rows) < _AT_ONCE:
            return
        after = rows[-1].first_line + rows[-1].size - 1


def _pack(lines: Sequence[ConsoleLine]) -> bytes:
    return _zstd.compress(msgspec.msgpack.encode([(line.time, line.stream, line.rank, line.text) for line in lines]))


def _unpack(data: bytes) -> list[ConsoleLine]:
    return [
        ConsoleLine(time=time, stream=stream, rank=rank, text=text)
        for time, stream, rank, text in _decoder.decode(_zstd.decompress(data))
    ]
