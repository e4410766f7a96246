"""Seconds from the first `run.log` until the server has acknowledged the last: calls, values a call."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil

import larder

calls, width = int(sys.argv[1]), int(sys.argv[2])
offline = os.environ.get("LARDER_MODE") == "offline"
names = [f"train/metric-{number}" for number in range(width)]
records = [{name: 1.0 / (step + 1) + place for place, name in enumerate(names)} for step in range(calls)]
run: Any = larder.init(project="bench")
journal: Path = run._writer.path


def wait_for(offset: int) -> None:
    """Until the server has acknowledged so many bytes of the journal."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        try:
            if int.from_bytes(journal.with_suffix(".ack").read_bytes(), "little") >= offset:
                return
        except FileNotFoundError:
            pass
        time.sleep(0.001)
    raise SystemExit("the server did not acknowledge the journal within 300 s")


def companion_cpu() -> float:
    """Seconds of the companion's processor time so far."""
    total = 0.0
    for one in companions:
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


run.log(dict.fromkeys(names, 0.0), step=0)
if not offline:
    wait_for(journal.stat().st_size)
time.sleep(1.0)  # the companion has looked at the machine
companions = [one for one in psutil.process_iter(["cmdline"]) if str(run.folder) in (one.info["cmdline"] or [])]
before, cpu = companion_cpu(), time.process_time()
began = time.perf_counter()
for step in range(1, calls):
    run.log(records[step], step=step)
logging, logging_cpu = time.perf_counter() - began, time.process_time() - cpu
if not offline:
    wait_for(journal.stat().st_size)
durable, companion = time.perf_counter() - began, companion_cpu() - before
run.finish()
finished = time.perf_counter() - began - durable
print(
    json.dumps(
        {
            "run": run.id,
            "seconds": durable,
            "finish": finished,
            "logging": logging,
            "logging_cpu": logging_cpu,
            "companion_cpu": companion,
            "lost": run.lost_records,
        }
    )
)
