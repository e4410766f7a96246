"""Points of a series as compressed bytes and back, bit for bit.

A block holds three columns. Integers (steps, times) become differences, or differences of differences, whichever are
smaller, around their middle. Values that are decimals with few digits become integers times a power of ten, as in ALP
(Afroozeh, Kuffó, Boncz: ALP: Adaptive Lossless floating-Point Compression, SIGMOD 2023), the few that do not fit kept
aside; other values stay 64-bit floats. What remains is cut into planes, the first bytes of all numbers, the second
bytes and so on, and each plane is compressed by itself where that makes it smaller: a plane of noise then does not
spoil the statistics of its neighbours.
"""

import math
import struct
import threading
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import zstandard

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

VERSION = 1
LARGEST = 4_000
"""The most points that are sealed into one block."""

_HEADER = struct.Struct("<BI")
_INTS = struct.Struct("<BBqqq")
_RAW_FLOATS, _DECIMALS = 0, 1
_DIGITS = 10
# planes of a 64-bit float that hold nothing but the lower digits
_MANTISSA = 6
_POWERS = 10.0 ** np.arange(_DIGITS + 1)
_SAMPLE_INTS, _SAMPLE_FLOATS = 128, 32
# integers up to here are exact as 64-bit floats
_EXACT = 2.0**53
_AS_IS = 1 << 31


@dataclass(frozen=True)
class Points:
    """Points of one series: three columns of equal length, in the order in which they arrived."""

    steps: Ints
    times: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, part: slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Points":
        return Points(self.steps[part], self.times[part], self.values[part])


def raw(steps: bytes, times: bytes, values: bytes) -> Points:
    """Points from little-endian columns."""
    return Points(np.frombuffer(steps, "<i8"), np.frombuffer(times, "<i8"), np.frombuffer(values, "<f8"))


def join(parts: list[Points]) -> Points:
    """Points one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return raw(b"", b"", b"")
    return Points(
        np.concatenate([part.steps for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def by_step(points: Points) -> Points:
    """The points by step; those of one step in the order in which they arrived."""
    if is_sorted(points.steps):
        return points
    return points[np.argsort(points.steps, kind="stable")]


def is_sorted(steps: Ints) -> bool:
    """Whether no step is smaller than the one before."""
    return bool((steps[1:] >= steps[:-1]).all())


@dataclass(frozen=True)
class Extremes:
    """Where the smallest and the largest value stand, first of equals; -1 when no value is a number."""

    low: int
    high: int
    numbers: int
    total: float


def extremes(values: Floats) -> Extremes:
    """The extremes of one or more values, NaN left out."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = float(values.sum())
        # a total that is not finite can hide a NaN; a finite one cannot
        if math.isfinite(total):
            return Extremes(int(values.argmin()), int(values.argmax()), len(values), total)
        missing = np.isnan(values)
        numbers = len(values) - int(np.count_nonzero(missing))
        if not numbers:
            return Extremes(-1, -1, 0, 0.0)
        total = float(np.where(missing, 0.0, values).sum())
        low = int(np.where(missing, math.inf, values).argmin())
        high = int(np.where(missing, -math.inf, values).argmax())
        # where all numbers are infinite, NaN's stand-in is as extreme as they are
        first = int(missing.argmin())
        return Extremes(first if missing[low] else low, first if missing[high] else high, numbers, total)


@dataclass(frozen=True)
class Header:
    """What a chart needs of a block that it does not open: the first and last point by step, and the extremes.

    `min` and `max` are NaN when no value is a number.
    """

    count: int
    sorted: bool
    first: float
    first_step: int
    first_time: int
    last: float
    last_step: int
    last_time: int
    min: float
    min_step: int
    min_time: int
    max: float
    max_step: int
    max_time: int


def header(points: Points) -> Header:
    """The header of one or more points."""
    in_order = by_step(points)
    steps, times, values = in_order.steps, in_order.times, in_order.values
    found = extremes(values)
    return Header(
        count=len(points), sorted=in_order is points,
        first=float(values[0]), first_step=int(steps[0]), first_time=int(times[0]),
        last=float(values[-1]), last_step=int(steps[-1]), last_time=int(times[-1]),
        min=float(values[found.low]) if found.numbers else math.nan,
        min_step=int(steps[found.low]), min_time=int(times[found.low]),
        max=float(values[found.high]) if found.numbers else math.nan,
        max_step=int(steps[found.high]), max_time=int(times[found.high]),
    )  # fmt: skip


def cut(points: Points) -> list[Points]:
    """Points in pieces that fit into one block each, about equally long."""
    pieces = -(-len(points) // LARGEST)
    size = -(-len(points) // max(pieces, 1))
    return [points[start : start + size] for start in range(0, len(points), size)] if size else []


def encode(points: Points) -> bytes:
    """Compress points."""
    return b"".join((
        _HEADER.pack(VERSION, len(points)), _pack_ints(points.steps), _pack_ints(points.times),
        _pack_floats(points.values),
    ))  # fmt: skip


def decode(data: bytes) -> Points:
    """The points that were compressed."""
    version, count = _HEADER.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"a block of version {version}; this server reads version {VERSION}")
    steps, at = _unpack_ints(data, _HEADER.size, count)
    times, at = _unpack_ints(data, at, count)
    return Points(steps, times, _unpack_floats(data, at, count))


class _Zstd(threading.local):
    """A compressor may not be used by two threads at once."""

    def __init__(self) -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            1, source_size=LARGEST, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=0
        )
        self.compress = zstandard.ZstdCompressor(compression_params=parameters).compress
        self.decompress = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS).decompress


_zstd = _Zstd()


def _pack_planes(numbers: npt.NDArray[np.uint64], width: int, *, alike: int = 1) -> bytes:
    """The lowest `width` bytes of each number: lengths of the planes, then the planes.

    Where the lowest plane is noise that does not get smaller, the first `alike` planes are taken for noise too.
    """
    if not width:
        return b""
    planes = numbers.view(np.uint8).reshape(-1, 8)[:, :width].T.copy()
    count = len(numbers)
    lengths: list[int] = []
    parts: list[bytes] = []
    while len(lengths) < width:
        index = len(lengths)
        packed = _zstd.compress(planes[index])
        if len(packed) < count:
            lengths.append(len(packed))
            parts.append(packed)
        else:
            noise = 1 if index else alike
            lengths += [count | _AS_IS] * noise
            parts.append(planes[index : index + noise].tobytes())
    return struct.pack(f"<{width}I", *lengths) + b"".join(parts)


def _unpack_planes(data: bytes, at: int, count: int, width: int) -> tuple[npt.NDArray[np.uint64], int]:
    numbers = np.zeros((count, 8), np.uint8)
    lengths = struct.unpack_from(f"<{width}I", data, at)
    at += 4 * width
    for index, length in enumerate(lengths):
        size = length & ~_AS_IS
        part = data[at : at + size]
        plane = part if length & _AS_IS else _zstd.decompress(part, max_output_size=count)
        numbers[:, index] = np.frombuffer(plane, np.uint8)
        at += size
    return numbers.view(np.uint64).reshape(-1), at


def _middle(sample: Ints) -> tuple[int, int]:
    """A number in the middle of a sample, and the width of most of the sample."""
    ordered = np.sort(sample)
    count = len(ordered)
    return int(ordered[count // 2]), int(ordered[count * 9 // 10]) - int(ordered[count // 10])


def _pack_ints(numbers: Ints) -> bytes:
    """Differences wrap around at 64 bits, and so does their sum: any numbers come back as they were."""
    count = len(numbers)
    if not count:
        return _INTS.pack(0, 0, 0, 0, 0)
    first = int(numbers[0])
    once = numbers[1:] - numbers[:-1]
    second = int(once[0]) if count > 1 else 0
    if (once == second).all():
        return _INTS.pack(2, 0, 0, first, second)
    start = max(count // 2 - _SAMPLE_INTS // 2, 0)
    order, sample = 0, numbers[start : start + _SAMPLE_INTS]
    middle, spread = _middle(sample)
    for other in (1, 2):
        sample = sample[1:] - sample[:-1]
        if not len(sample):
            break
        other_middle, other_spread = _middle(sample)
        if other_spread < spread:
            order, middle, spread = other, other_middle, other_spread
    apart = (numbers, once, once[1:] - once[:-1])[order] - np.int64(middle)
    folded = ((apart << 1) ^ (apart >> 63)).view(np.uint64)
    width = (int(folded.max()).bit_length() + 7) // 8
    return _INTS.pack(order, width, middle, first, second) + _pack_planes(folded, width)


def _unpack_ints(data: bytes, at: int, count: int) -> tuple[Ints, int]:
    order, width, middle, first, second = _INTS.unpack_from(data, at)
    at += _INTS.size
    left = max(count - order, 0)
    if width:
        folded, at = _unpack_planes(data, at, left, width)
        rest = (folded >> np.uint64(1)).view(np.int64) ^ -(folded & np.uint64(1)).view(np.int64)
        rest += np.int64(middle)
    else:
        rest = np.full(left, middle, np.int64)
    if not order or not count:
        return rest, at
    if order == 2 and count > 1:
        once = np.empty(count - 1, np.int64)
        once[0] = second
        once[1:] = rest
        rest = np.cumsum(once)
    numbers = np.empty(count, np.int64)
    numbers[0] = first
    numbers[1:] = rest
    return np.cumsum(numbers), at


def _pack_floats(values: Floats) -> bytes:
    with np.errstate(invalid="ignore", over="ignore"):
        digits = _few_digits(values)
        if digits is not None:
            scaled = np.rint(values * _POWERS[digits])
            whole = scaled.astype(np.int64)
            # compared as bits, so that -0.0 and NaN count as odd
            odd = (whole / _POWERS[digits]).view(np.int64) != values.view(np.int64)
            odd |= ~(np.abs(scaled) < _EXACT)
            places = np.flatnonzero(odd)
            if len(places) * 16 <= len(values):
                if len(places):
                    whole[places] = whole[np.argmin(odd)]
                return b"".join((
                    struct.pack("<BBI", _DECIMALS, digits, len(places)), places.astype("<u4").tobytes(),
                    values[places].tobytes(), _pack_ints(whole),
                ))  # fmt: skip
    return bytes((_RAW_FLOATS,)) + _pack_planes(np.ascontiguousarray(values).view(np.uint64), 8, alike=_MANTISSA)


def _unpack_floats(data: bytes, at: int, count: int) -> Floats:
    if data[at] == _RAW_FLOATS:
        return _unpack_planes(data, at + 1, count, 8)[0].view(np.float64)
    _, digits, odd = struct.unpack_from("<BBI", data, at)
    at += 6
    places = np.frombuffer(data, "<u4", odd, at)
    at += 4 * odd
    as_they_were = np.frombuffer(data, "<f8", odd, at)
    scaled, _ = _unpack_ints(data, at + 8 * odd, count)
    values = scaled / _POWERS[digits]
    values[places] = as_they_were
    return cast(Floats, values)


def _few_digits(values: Floats) -> int | None:
    """The number of decimal digits with which a sample of the values can be written; None when there is none."""
    sample = values[:: max(len(values) // _SAMPLE_FLOATS, 1)]
    if sum(round(value, _DIGITS) == value for value in sample[:8].tolist()) * 2 < min(len(sample), 8):
        return None
    scaled = np.rint(sample[:, None] * _POWERS)
    best = (scaled / _POWERS == sample[:, None]).sum(axis=0)
    digits = int(best.argmax())
    return digits if best[digits] * 8 >= len(sample) * 7 else None
