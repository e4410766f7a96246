"""What the companion sees: packages, machine, load; and what is switched off."""

import os
import stat
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from larder import capture
from larder.capture import machine, packages

from .recorder import FakeRecord


def test_the_packages_on_the_path_are_recorded_with_the_interpreter(tmp_path: Path) -> None:
    record = FakeRecord(tmp_path)
    packages.Packages(sys.path, "3.11.7").observe(record)
    found = record.facts["packages"]
    assert found["python"] == "3.11.7"
    assert found["numpy"] == metadata.version("numpy")
    assert found["scikit-learn"] == metadata.version("scikit-learn")
    assert record.states == {"packages": "active"}


def test_a_package_from_an_address_says_which_and_keeps_its_password(tmp_path: Path) -> None:
    for name, direct in (
        ("Fine_Package", '{"url": "https://u:p@h/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}'),
        ("odd", "not json"),
    ):
        folder = tmp_path / f"{name}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (folder / "direct_url.json").write_text(direct)
    (tmp_path / "broken-1.dist-info").mkdir()
    assert packages.installed([str(tmp_path), ""]) == {"fine-package": "1.2 @ https://h/x.git@abc", "odd": "1.2"}


def test_the_machine_is_described_once_and_then_sampled(tmp_path: Path) -> None:
    record = FakeRecord(tmp_path)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        observer = machine.Machine(os.getpid(), smi=str(tmp_path / "no-such-program"))
        observer.observe(record)
        time.sleep(0.3)
        observer.observe(record)
    finally:
        busy.kill()
        busy.wait()
    assert record.facts["machine"]["cpus"] == os.cpu_count()
    assert record.facts["machine"]["gpus"] == []
    assert record.states == {"machine": "active", "gpu": "absent"}
    assert len(record.samples) == 1
    sample = record.samples[0]
    assert {"system/cpu_percent", "system/memory_percent", "system/memory_bytes", "system/process.memory_bytes"} <= set(
        sample
    )
    assert sample["system/process.cpu_percent"] > 20
    assert sample["system/process.count"] >= 2
    assert "system/network_sent_bytes_per_second" in sample


def test_a_process_that_has_ended_leaves_the_load_of_the_machine(tmp_path: Path) -> None:
    record = FakeRecord(tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    observer = machine.Machine(ended.pid)
    observer.observe(record)
    ended.wait()
    observer.observe(record)
    assert "system/cpu_percent" in record.samples[0]


SMI = """#!/bin/sh
echo "0, NVIDIA H200, 37, 1024, 143771, 120.55, 41"
echo "1, NVIDIA H200, [N/A], [N/A], [N/A], [Not Supported], 40"
echo "garbage"
"""


def test_gpus_are_sampled_as_far_as_they_tell(tmp_path: Path) -> None:
    smi = tmp_path / "smi"
    smi.write_text(SMI)
    smi.chmod(smi.stat().st_mode | stat.S_IXUSR)
    record = FakeRecord(tmp_path)
    observer = machine.Machine(os.getpid(), smi=str(smi))
    observer.observe(record)
    observer.observe(record)
    sample = {name: value for name, value in record.samples[0].items() if ".gpu." in name or "/gpu." in name}
    assert sample == {
        "system/gpu.0.percent": 37.0,
        "system/gpu.0.memory_bytes": 1024.0**3,
        "system/gpu.0.memory_percent": 100 * 1024 / 143771,
        "system/gpu.0.power_watts": 120.55,
        "system/gpu.0.temperature_celsius": 41.0,
        "system/gpu.1.temperature_celsius": 40.0,
    }
    assert [gpu["name"] for gpu in record.facts["machine"]["gpus"]] == ["NVIDIA H200", "NVIDIA H200"]
    assert record.states["gpu"] == "active"


def test_observers_that_are_switched_off_say_so(tmp_path: Path) -> None:
    record = FakeRecord(tmp_path)
    info = {"cwd": str(tmp_path), "pid": os.getpid(), "path": sys.path, "capture": {"code": False, "packages": False}}
    observers = capture.observers(info)
    assert [observer.name for observer in observers] == ["code", "machine", "packages"]
    for observer in observers:
        observer.observe(record)
    assert record.states == {"code": "off", "packages": "off", "machine": "active", "gpu": "absent"}
