"""The machine and how loaded it is while the run goes on: processors, memory, disk, network, GPUs."""

import functools
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

from larder.capture.observing import Record

_GPU_FIELDS = ("index", "name", "utilization.gpu", "memory.used", "memory.total", "power.draw", "temperature.gpu")
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Gpu:
    """A GPU at one moment; None for what it does not tell."""

    index: int
    name: str
    percent: float | None
    memory: float | None
    memory_total: float | None
    power: float | None
    temperature: float | None


class Machine:
    """The source `machine`: the fact once, then a point of each `system/` series at every look."""

    name = "machine"
    interval: float | None = 5.0

    def __init__(self, pid: int, *, smi: str | None = None) -> None:
        self._described = False
        self._smi = smi or shutil.which("nvidia-smi")
        self._process: psutil.Process | None = None
        with suppress(psutil.Error):
            self._process = psutil.Process(pid)
        self._spent: dict[int, float] = {}
        self._at = time.monotonic()
        self._counters: dict[str, float] = {}

    def observe(self, record: Record) -> None:
        """Look: first at what the machine is, then at its load; rates are over the time since the look before."""
        gpus = self._gpus()
        points = self._sample(gpus)
        if self._described:
            record.points(points)
            return
        self._described = True  # the first sample only begins the counts
        record.fact("machine", describe(gpus))
        record.source(self.name, "active")
        record.source("gpu", "active" if gpus else "absent")

    def _gpus(self) -> Sequence[Gpu]:
        if self._smi is None:
            return ()
        command = (self._smi, f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader,nounits")
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            self._smi = None  # a driver that does not answer now costs ten seconds at every look
            return ()
        return parse_gpus(answer.stdout)

    def _sample(self, gpus: Sequence[Gpu]) -> dict[str, float]:
        now = time.monotonic()
        elapsed, self._at = max(now - self._at, 1e-3), now
        points: dict[str, float] = {}
        memory = psutil.virtual_memory()
        points["cpu_percent"] = psutil.cpu_percent()
        points["memory_percent"] = memory.percent
        points["memory_bytes"] = float(memory.total - memory.available)
        points.update(self._tree(elapsed))
        points.update(self._rates(elapsed))
        for gpu in gpus:
            readings = {
                "percent": gpu.percent,
                "memory_bytes": gpu.memory,
                "power_watts": gpu.power,
                "temperature_celsius": gpu.temperature,
            }
            points.update({f"gpu.{gpu.index}.{key}": value for key, value in readings.items() if value is not None})
            if gpu.memory is not None and gpu.memory_total:
                points[f"gpu.{gpu.index}.memory_percent"] = 100 * gpu.memory / gpu.memory_total
        return {f"system/{name}": value for name, value in points.items()}

    def _tree(self, elapsed: float) -> dict[str, float]:
        """Processor time and memory of the process and its descendants."""
        if self._process is None:
            return {}
        try:
            processes = [self._process, *self._process.children(recursive=True)]
        except psutil.Error:
            return {}
        resident, spent, before = 0.0, {}, self._spent
        for process in processes:
            with suppress(psutil.Error):
                with process.oneshot():
                    times = process.cpu_times()
                    resident += process.memory_info().rss
                spent[process.pid] = times.user + times.system
        self._spent = spent
        points = {"process.memory_bytes": resident, "process.count": float(len(spent))}
        if before:
            # A process that began since then has spent all of its time since then.
            used = sum(max(0.0, time - before.get(pid, 0.0)) for pid, time in spent.items())
            points["process.cpu_percent"] = 100 * used / elapsed
        return points

    def _rates(self, elapsed: float) -> dict[str, float]:
        counters: dict[str, float] = {}
        with suppress(OSError, RuntimeError):  # a container may not show its disks or its network
            disk = psutil.disk_io_counters()
            if disk is not None:
                counters |= {"disk_read_bytes": disk.read_bytes, "disk_write_bytes": disk.write_bytes}
        with suppress(OSError, RuntimeError):
            network = psutil.net_io_counters()
            if network is not None:
                counters |= {"network_sent_bytes": network.bytes_sent, "network_received_bytes": network.bytes_recv}
        before, self._counters = self._counters, counters
        return {
            f"{name}_per_second": max(0.0, value - before[name]) / elapsed
            for name, value in counters.items()
            if name in before
        }


def parse_gpus(text: str) -> Sequence[Gpu]:
    """What `nvidia-smi` answered to our question."""
    gpus = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(_GPU_FIELDS) or not cells[0].isdigit():
            continue
        percent, used, total, power, temperature = (_number(cell) for cell in cells[2:])
        gpus.append(
            Gpu(
                index=int(cells[0]),
                name=cells[1],
                percent=percent,
                memory=None if used is None else used * _MIB,
                memory_total=None if total is None else total * _MIB,
                power=power,
                temperature=temperature,
            )
        )
    return gpus


@functools.cache
def here() -> Mapping[str, Any]:
    """The machine fact, looked for once."""
    return describe(Machine(os.getpid())._gpus())


def describe(gpus: Sequence[Gpu]) -> Mapping[str, Any]:
    """The machine fact."""
    return {
        "host": platform.node(),
        "os": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count() or 0,
        "cpus_usable": _usable(),
        "memory": psutil.virtual_memory().total,
        "gpus": [{"index": gpu.index, "name": gpu.name, "memory": gpu.memory_total} for gpu in gpus],
        "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def _usable() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 0


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:  # "[N/A]", "[Not Supported]"
        return None
