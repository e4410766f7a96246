"""SIGKILL at any moment loses no record for which `log` had returned, whether the server is there or not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from larder.contract.runs import RunStatus
from larder.journal import shipper
from tests.client.scripts import SILENT, bench, eventually

CODE = f"""
import mmap, sys, larder
file = open(sys.argv[1], "r+b")
seen = mmap.mmap(file.fileno(), 8)  # survives the kill, as fast as memory
run = larder.init(project="bakery", capture={SILENT})
step = 0
while True:
    run.log({{"loss": step / 3}}, step=step)
    step += 1
    seen[:8] = step.to_bytes(8, "little")
"""


@pytest.mark.parametrize("online", [True, False])
def test_nothing_is_lost_by_sigkill(tmp_path: Path, online: bool) -> None:
    random.seed(os.getpid())
    with bench(tmp_path) as desk:
        counted: list[int] = []
        for number in range(4):
            counter = tmp_path / f"counter{number}"
            counter.write_bytes(bytes(8))
            env = desk.env if online else {**desk.env, "LARDER_URL": "http://127.0.0.1:9", "LARDER_LINGER": "0"}
            process = subprocess.Popen([sys.executable, "-c", CODE, counter], env=env, stderr=subprocess.DEVNULL)
            eventually(lambda: any(counter.read_bytes()))
            time.sleep(random.random() * 0.4)
            process.send_signal(signal.SIGKILL)
            process.wait()
            counted.append(int.from_bytes(counter.read_bytes(), "little"))
        if online:
            eventually(lambda: len(desk.server.ended) == 4, seconds=60)
        else:
            eventually(lambda: shipper.sync(tmp_path, desk.url) and len(desk.server.ended) == 4, seconds=60)
        arrived = sorted(len(desk.steps("loss", run)) for run in desk.server.batches)
        # The process may die between the append and the count: one more may have arrived, never one fewer.
        assert all(count <= got <= count + 1 for count, got in zip(sorted(counted), arrived, strict=True))
        for run, ending in desk.server.ended.items():
            assert ending.status == RunStatus.FAILED
            assert desk.steps("loss", run) == list(range(len(desk.steps("loss", run))))
        eventually(lambda: not desk.left)
