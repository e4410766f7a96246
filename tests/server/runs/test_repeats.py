"""What earlier runs of a script tell of its next one."""

import pytest

from larder_server.runs.rules import repeats
from larder_server.runs.rules.repeats import Earlier


@pytest.mark.parametrize(
    "command,script",
    [
        ({"script": "/home/evi/a/train.py", "argv": ["x.py"]}, "train.py"),
        ({"script": "C:\\work\\train.py"}, "train.py"),
        ({"module": "bakery.train", "script": "/x/bakery/train.py"}, "-m bakery.train"),
        ({"argv": ["python", "-u", "jobs/train.py", "--lr", "1"]}, "train.py"),
        ({"argv": ["python", "-m", "bakery.train", "other.py"]}, "-m bakery.train"),
        ({"argv": ["/usr/bin/make", "all"]}, "make"),
        ({"argv": []}, ""),
        ({"argv": [1, None]}, ""),
        (None, ""),
        ("python train.py", ""),
    ],
)
def test_a_script_is_known_by_its_name_whatever_its_options_and_folder(command, script):
    assert repeats.script(command) == script


def earlier(seconds, script="train.py", peak=None):
    execution = None if peak is None else {"peak_memory": peak}
    return Earlier(seconds=seconds, script=script, execution=execution)


def test_the_newest_ten_of_the_script_say_how_long_it_takes():
    runs = [earlier(5.0, "other.py"), *(earlier(10.0) for _ in range(10)), *(earlier(1_000.0) for _ in range(30))]
    assert repeats.expected("train.py", runs) == 10.0
    assert repeats.expected("new.py", [earlier(1.0), earlier(2.0, "b.py"), earlier(9.0)]) == 2.0
    assert repeats.expected("train.py", []) is None


def test_memory_is_that_of_the_newest_measured_run_of_the_script_and_some_more():
    assert (
        repeats.memory("train.py", [earlier(1, "b.py", 7), earlier(1), earlier(1, peak=1_000), earlier(1, peak=9)])
        == 1_100
    )
    for strange in (0, -1, "much", 2**61, None):
        assert repeats.memory("train.py", [earlier(1, peak=strange)]) == 0
    assert repeats.memory("", [earlier(1, peak=5)]) == 0
