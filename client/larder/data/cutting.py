"""Where long content is cut: at places that its bytes define, so that an edit in the middle changes few chunks.

The places must never change from one release to the next, or nothing would be found again: a test holds them fast.
"""

from collections.abc import Iterator
from typing import Any, Literal

from larder.contract.datasets import LARGEST_CHUNK, LEAST_CHUNK, USUAL_CHUNK

WINDOW = 2 * LARGEST_CHUNK
"""Bytes looked at together; at least one chunk of them is complete."""

_NORMALIZATION: Literal[2] = 2

_cutter: Any = None


class Cutter:
    """Cuts a stream that is given piece by piece; answers the chunks that are complete by then."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: "bytes | memoryview") -> Iterator[bytes]:
        """The chunks that this piece completes."""
        self._rest += piece
        if len(self._rest) >= WINDOW:
            yield from self._cut(last=False)

    def finish(self) -> Iterator[bytes]:
        """What is left, cut."""
        yield from self._cut(last=True)

    def _cut(self, *, last: bool) -> Iterator[bytes]:
        view = memoryview(self._rest)
        begin = 0
        try:
            for length in lengths(view):
                # The last one may have been cut by the end of what we have, not by its bytes.
                if not last and begin + length == len(view):
                    break
                yield bytes(view[begin : begin + length])
                begin += length
        finally:
            view.release()
        del self._rest[:begin]


def lengths(content: "bytes | memoryview") -> Iterator[int]:
    """The lengths of the chunks of a content, one after the other."""
    if len(content):
        for chunk in _fast().cut_buf(content):
            yield chunk.length


def _fast() -> Any:
    global _cutter
    if _cutter is None:
        from pyfastcdc import FastCDC  # late: who only reads data does not pay for it

        _cutter = FastCDC(
            USUAL_CHUNK, min_size=LEAST_CHUNK, max_size=LARGEST_CHUNK, normalized_chunking=_NORMALIZATION, seed=0
        )
    return _cutter
