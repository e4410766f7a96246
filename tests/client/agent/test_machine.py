"""What an agent says that its machine has."""

import os
from pathlib import Path

import pytest

from larder.agent import machine
from larder.contract.errors import Invalid

SMI = """#!/bin/sh
case "$1" in
  --query-gpu=*) echo "0, 81559, 37, NVIDIA H100, 80GB"; echo "1, 81559, [N/A], NVIDIA H100, 80GB";;
  --query-compute-apps=*) echo "17, 1024"; echo "17, 512"; echo "18, [N/A]";;
esac
"""


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def test_all_gpus_are_given_unless_some_are_named(smi):
    assert [gpu.index for gpu in machine.capacity().gpus] == [0, 1]
    assert [gpu.index for gpu in machine.capacity(gpus=[1]).gpus] == [1]
    assert machine.capacity(gpus=[]).gpus == []
    assert machine.capacity().gpus[0].memory == 81559 * 2**20


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(smi):
    with pytest.raises(Invalid, match=r"no GPU 4 \(nvidia-smi shows 0, 1\)"):
        machine.capacity(gpus=[0, 4])


def test_a_machine_without_nvidia_smi_has_no_gpu(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert machine.capacity().gpus == []


def test_memory_is_that_of_the_machine_unless_less_is_given():
    whole = machine.capacity().memory
    assert machine.capacity(memory=10**9).memory == 10**9 < whole
    with pytest.raises(Invalid, match="of memory"):
        machine.capacity(memory=whole * 10)
    assert machine.capacity().cpus >= 0.01


def test_the_load_is_told_at_once_and_gpus_follow(smi):
    meter = machine.Meter([0, 1], every=0.0)
    deadline = 200
    while not meter.load().gpus and deadline:
        deadline -= 1
        __import__("time").sleep(0.05)
    load = meter.load()
    assert load.gpus == [0.37, 0.0] and load.memory > 0 and 0 <= load.cpu <= 1


def test_gpu_memory_is_counted_by_process(smi):
    assert machine.gpu_memory() == {17: 1536 * 2**20}
