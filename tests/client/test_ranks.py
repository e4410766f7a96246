"""larder.ranks: the command line of several processes."""

import pytest

from larder import ranks, rehearsal, supervise
from larder.contract.errors import Invalid
from larder.ranks import Group

MEET = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]


@pytest.mark.parametrize(
    ("argv", "options", "module", "script"),
    [
        (["python", "train.py", "--lr", "1"], (), "", "train.py"),
        (
            ["/opt/venv/bin/python3.11", "-u", "-X", "dev", "-m", "shop.train", "-v"],
            ("-u", "-X", "dev"),
            "shop.train",
            "",
        ),
        (["python", "-c", "print(1)"], (), "", ""),
        (["python"], (), "", ""),
    ],
)
def test_a_python_command_line_is_taken_apart(argv, options, module, script):
    found = ranks.python(argv)
    assert (found.options, found.module, found.script) == (options, module, script)
    assert [found.interpreter, *found.options, *found.program] == argv


def test_another_program_is_no_python():
    assert ranks.python(["sh", "train.sh"]) is None and ranks.python([]) is None


def test_the_launcher_of_the_same_interpreter_stands_before_the_script():
    assert ranks.launched(["python", "-u", "train.py", "--lr", "1"], Group(processes=2)) == [
        "python", "-u", "-m", "torch.distributed.run", "--nproc-per-node", "2", *MEET, "train.py", "--lr", "1",
    ]  # fmt: skip
    assert ranks.launched(["python", "-m", "shop.train"], Group(processes=4, restarts=3)) == [
        "python", "-m", "torch.distributed.run", "--nproc-per-node", "4", "--max-restarts", "3", *MEET, "-m", "shop.train",
    ]  # fmt: skip


@pytest.mark.parametrize("argv", [["sh", "train.sh"], ["python", "-c", "pass"], ["python"], ["./train.py"]])
def test_what_torchrun_cannot_start_is_refused(argv):
    with pytest.raises(Invalid, match="several processes"):
        ranks.launched(argv, Group(processes=2))


def test_the_recorded_command_tells_the_script_below_the_launcher(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fact = supervise.described(["python", "train.py", "--lr", "1"], program="/usr/bin/python", group=Group(processes=2))
    assert fact["script"] == str(tmp_path / "train.py") and fact["wrapped"] and fact["env"] == ranks.ENVIRONMENT
    assert supervise.rewrite(fact["argv"], {"lr": 2, "depth": 3}, add=True)[-5:] == [
        "train.py",
        "--lr",
        "2",
        "--depth",
        "3",
    ]


@pytest.mark.parametrize(
    ("one", "other", "tolerance", "alike"),
    [
        (1.0, 1.0005, 0.001, True),
        (1.0, 1.002, 0.001, False),
        (0.0, 0.0, 0.0, True),
        (0.0, 1e-9, 0.001, False),
        (float("nan"), float("nan"), 0.001, True),
        (float("nan"), 1.0, 1.0, False),
        (float("inf"), float("inf"), 0.001, True),
    ],
)
def test_values_are_alike_within_a_tolerance(one, other, tolerance, alike):
    assert rehearsal.alike(one, other, tolerance) is alike and rehearsal.alike(other, one, tolerance) is alike
