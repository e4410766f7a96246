"""What a run needs, as people write it."""

import pytest

from larder import needs
from larder.contract.errors import Invalid
from larder.contract.queues import Needs


def test_every_need_has_its_word():
    text = "cpus=2.5, memory=8GB,gpus=1,gpu_memory=10GiB,executor=container,image=r/x:1@sha256:ab,time=1h30m,label.site=lab"
    found = needs.parse(text)
    assert found == Needs(
        cpus=2.5, memory=8 * 10**9, gpus=1, gpu_memory=10 * 2**30, executor="container", image="r/x:1@sha256:ab",
        seconds=5400.0, labels={"site": "lab"},
    )  # fmt: skip
    assert needs.parse(needs.show(found)) == found
    assert needs.parse("") == needs.parse(" , ") == Needs() and needs.show(Needs()) == ""


def test_needs_are_laid_over_others():
    base = needs.parse("gpus=1,label.site=lab,memory=1GB")
    assert needs.parse("gpus=0,label.disk=ssd", base=base) == Needs(
        memory=10**9, labels={"site": "lab", "disk": "ssd"}
    )  # fmt: skip


@pytest.mark.parametrize(
    "text,bytes", [("512MiB", 2**29), ("1.5g", 1_500_000_000), ("8 GB", 8 * 10**9), ("7", 7), ("1TB", 10**12)]
)
def test_sizes(text, bytes):
    assert needs.size(text) == bytes


@pytest.mark.parametrize("text,seconds", [("90s", 90), ("2h", 7200), ("1h30m", 5400), ("1.5d", 129_600), ("45", 45)])
def test_lengths_of_time(text, seconds):
    assert needs.seconds(text) == seconds


@pytest.mark.parametrize("length", [0.25, 45.0, 90.0, 3600.0, 5400.0, 86_400.0, 1e6, 1 / 3])
def test_what_is_shown_is_read_back(length):
    assert needs.parse(needs.show(Needs(seconds=length, memory=12_345, cpus=0.5))) == Needs(
        seconds=length, memory=12_345, cpus=0.5
    )


@pytest.mark.parametrize(
    "text",
    [
        "gpus=-1", "gpus=1.5", "gpus=one", "gpus", "gpus=", "=1", "memory=8XB", "memory=-1", "cpus=nan", "cpus=inf",
        "time=soon", "time=1x", "executor=magic", "colour=red", "gpus=1,gpus=2", "label.=x", "gpus=1;memory=2",
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_a_sentence(text):
    with pytest.raises(Invalid) as problem:
        needs.parse(text)
    assert str(problem.value).endswith((".", "'"))
