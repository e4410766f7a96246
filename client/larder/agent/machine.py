"""What this machine has to give to runs, and how busy it is."""

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from larder.contract import queues
from larder.contract.errors import Invalid

_FIELDS = ("index", "memory.total", "utilization.gpu", "name")
_MIB = 1 << 20
_PATIENCE = 10.0


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU of this machine; `busy` from 0 to 1."""

    index: int
    memory: int
    busy: float = 0.0
    name: str = ""


def capacity(
    *,
    slots: int = 1,
    gpus: Sequence[int] | None = None,
    memory: int = 0,
    labels: Mapping[str, str] | None = None,
    executors: Sequence[str] = ("process",),
) -> queues.Capacity:
    """What an agent gives: these GPUs (all where None), so much memory (all where 0). Invalid: a GPU is not there."""
    there = {gpu.index: gpu for gpu in find_gpus()} if gpus is None or gpus else {}
    missing = [index for index in gpus or () if index not in there]
    if missing:
        known = ", ".join(map(str, there)) or "none"
        raise Invalid(
            f"This machine has no GPU {missing[0]} (nvidia-smi shows {known}).",
            hint="Name others with --gpus, or start with --cpu-only.",
        )
    chosen = there if gpus is None else {index: there[index] for index in gpus}
    total = usable_memory()
    if memory > total:
        raise Invalid(f"This machine has {total:,} bytes of memory, fewer than the {memory:,} of --memory.")
    return queues.Capacity(
        slots=slots,
        cpus=usable_cpus(),
        memory=memory or total,
        gpus=[queues.Gpu(index=gpu.index, memory=gpu.memory, name=gpu.name) for gpu in chosen.values()],
        executors=list(executors),
        labels=dict(labels or {}),
    )


class Meter:
    """How busy the machine is. Answers at once; GPUs are asked now and then, in the background."""

    def __init__(self, gpus: Sequence[int] = (), *, every: float = 10.0) -> None:
        self._gpus = list(gpus)
        self._every = every
        self._busy: list[float] = []
        self._asked = float("-inf")
        self._lock = threading.Lock()
        psutil.cpu_percent()  # what it answers next is the load since now

    def load(self) -> queues.Load:
        """The load now."""
        memory = psutil.virtual_memory()
        with self._lock:
            if self._gpus and time.monotonic() - self._asked > self._every:
                self._asked = time.monotonic()
                threading.Thread(target=self._ask, name="gpus", daemon=True).start()
            busy = list(self._busy)
        return queues.Load(cpu=psutil.cpu_percent() / 100, memory=memory.total - memory.available, gpus=busy)

    def _ask(self) -> None:
        there = {gpu.index: gpu.busy for gpu in find_gpus()}
        with self._lock:
            self._busy = [there.get(index, 0.0) for index in self._gpus]


def find_gpus() -> list[Gpu]:
    """The GPUs that nvidia-smi shows; none where there is no such command."""
    return parse_gpus(_smi(f"--query-gpu={','.join(_FIELDS)}"))


def parse_gpus(text: str) -> list[Gpu]:
    """What `nvidia-smi` answered."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",", len(_FIELDS) - 1)]
        if len(cells) == len(_FIELDS) and cells[0].isdigit():
            memory, busy = (float(cell) if re.fullmatch(r"[\d.]+", cell) else 0.0 for cell in cells[1:3])
            found.append(Gpu(index=int(cells[0]), memory=int(memory) * _MIB, busy=busy / 100, name=cells[3]))
    return found


def gpu_memory() -> dict[int, int]:
    """Bytes of GPU memory by process, over all GPUs."""
    held: dict[int, int] = {}
    for line in _smi("--query-compute-apps=pid,used_gpu_memory").splitlines():
        pid, _, used = line.partition(",")
        if pid.strip().isdigit() and used.strip().isdigit():
            held[int(pid)] = held.get(int(pid), 0) + int(used) * _MIB
    return held


def usable_cpus() -> float:
    """The processors that this process may use: those it is bound to, and no more than its control group is given."""
    count = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        count = min(count, int(quota) / int(period))
    quota, period = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit():
        count = min(count, int(quota) / int(period))
    return count


def usable_memory() -> int:
    """The memory of this machine, or of the container that we are in."""
    total: int = psutil.virtual_memory().total
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        limit = _read(f"/sys/fs/cgroup/{file}")
        if limit.isdigit():
            total = min(total, int(limit))
    return total


def _read(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text().strip()
    return ""


def _smi(query: str) -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        command = (program, query, "--format=csv,noheader,nounits")
        return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""  # a driver that does not answer gives no GPU
