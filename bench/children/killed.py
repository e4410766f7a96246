"""Rounds of killing a process that logs as fast as it can: larder ROUNDS SEED, or tensorboardX ROUNDS SEED FOLDER.

The process to be killed is a fork of this one; it tells in shared memory the number of the last log that returned.
"""

import contextlib
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import time
from pathlib import Path

name, rounds, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
# An aligned 64-bit store: it is there or it is not.
shared = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
LOGGED, BEGUN = 0, 1


def value(number: int) -> float:
    return number + 0.5


def larder_logs() -> None:
    import larder

    run = larder.init(project="bench", capture=False)
    shared[BEGUN] = 1
    for number in range(1, 1 << 40):
        run.log({"loss": value(number)}, step=number)
        shared[LOGGED] = number


def larder_finds(folder: Path) -> tuple[list[tuple[int, float]], bool]:
    from larder.journal import format, reader

    found: list[tuple[int, float]] = []
    torn = False
    for journal in reader.journals(folder):
        if journal.role != "main":
            continue
        end = 0
        for position, record in journal.records():
            end = position
            if record[0] == format.POINTS:
                found.append((record[2], record[3]["loss"]))
        torn = torn or end < journal.size
        journal.close()
    return found, torn


def board_logs(folder: Path) -> None:
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(folder))
    shared[BEGUN] = 1
    for number in range(1, 1 << 40):
        writer.add_scalar("loss", value(number), number)
        shared[LOGGED] = number


def board_finds(folder: Path) -> int:
    """Whole records of the event files; the first of each says the version only."""
    found = 0
    for path in folder.glob("events*"):
        data, position = path.read_bytes(), 0
        while position + 12 <= len(data):
            position += 16 + struct.unpack_from("<Q", data, position)[0]
            found += position <= len(data)
        found -= 1
    return found


if name == "larder":
    import larder.recording  # noqa: F401  the fork begins with the modules loaded

    home = Path(os.environ["LARDER_HOME"])
else:
    import tensorboardX  # noqa: F401

    home = Path(sys.argv[4])

total = {"lost": 0, "logged": 0, "wrong": 0, "torn": 0}
moments = []
for turn in range(rounds):
    shared[LOGGED] = shared[BEGUN] = 0
    folder = home / f"round-{turn}"
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            larder_logs() if name == "larder" else board_logs(folder)
        finally:
            os._exit(1)
    until = time.monotonic() + 30
    while not shared[BEGUN] and time.monotonic() < until:
        time.sleep(0.0005)
    moment = chance.uniform(0.0, 0.06)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"round {turn}: the process ended by itself")
    moments.append(moment)
    logged = shared[LOGGED]
    total["logged"] += logged
    if name == "larder":
        (folder,) = (home / "runs").glob("[!.]*")
        found, torn = larder_finds(folder)
        steps = {step for step, _ in found}
        total["lost"] += sum(number not in steps for number in range(1, logged + 1)) + len(found) - len(steps)
        total["wrong"] += sum(value(step) != number for step, number in found)
        total["torn"] += torn
    else:
        total["lost"] += max(0, logged - board_finds(folder))
    # A companion may still write its last words there.
    while folder.exists():
        with contextlib.suppress(OSError):
            os.rename(folder, folder.with_name(f".{folder.name}"))
            break
    shutil.rmtree(folder.with_name(f".{folder.name}"), ignore_errors=True)
print(json.dumps({**total, "shortest_ms": 1e3 * min(moments), "longest_ms": 1e3 * max(moments)}))
