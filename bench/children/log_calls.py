"""Microseconds of each `run.log` of one value, and of a bare `os.write` of the same bytes: calls [pause]."""

import json
import os
import sys
import time
from array import array
from typing import Any

import larder

calls = int(sys.argv[1])
pause = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
WARM_UP = 2_000


def figures(nanoseconds: "array[int]", prefix: str = "") -> dict[str, float]:
    ordered = sorted(nanoseconds)
    return {
        f"{prefix}median_us": ordered[len(ordered) // 2] / 1e3,
        f"{prefix}p99_us": ordered[int(len(ordered) * 0.99)] / 1e3,
        f"{prefix}max_us": ordered[-1] / 1e3,
    }


run: Any = larder.init(project="bench")
log, clock = run.log, time.perf_counter_ns
values = [1.0 / (index + 1) + 1e-3 * (index * 7919 % 1000) for index in range(WARM_UP + calls)]
took = array("q", bytes(8 * calls))
for step in range(WARM_UP):
    log({"train/loss": values[step]}, step=step)
if not pause:
    time.sleep(1.0)  # the companion is up and has sent the warm-up
    before = run._writer.size
    for index in range(calls):
        began = clock()
        log({"train/loss": values[WARM_UP + index]}, step=WARM_UP + index)
        took[index] = clock() - began
else:
    before = run._writer.size
    for index in range(calls):
        time.sleep(pause)
        began = clock()
        log({"train/loss": values[WARM_UP + index]}, step=WARM_UP + index)
        took[index] = clock() - began
size = (run._writer.size - before) / calls

# The limit: one system call with as many bytes, to a file beside the journal.
frame = os.urandom(round(size))
file = os.open(run.folder / "limit", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
bare = array("q", bytes(8 * calls))
for _ in range(WARM_UP):
    os.write(file, frame)
for index in range(calls):
    if pause:
        time.sleep(pause)
    began = clock()
    os.write(file, frame)
    bare[index] = clock() - began
os.close(file)
os.unlink(run.folder / "limit")
run.finish()
print(json.dumps({**figures(took), **figures(bare, "write_"), "bytes": round(size), "lost": run.lost_records}))
