"""Whatever breaks, each run ends once, and what it logged is there once. `python -m tests.faults` plays many rounds."""

import random

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.play import play
from tests.faults.stage import World

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_nothing_is_lost_or_doubled_by(name: str, world: World, tmp_path_factory: pytest.TempPathFactory):
    seed = f"{random.SystemRandom().getrandbits(32)}"
    outcome = play(world, FAULTS[name], seed, tmp_path_factory.mktemp(name))
    if outcome.skipped:
        pytest.skip(outcome.message)
    again = f"python -m tests.faults --only {name} --seed {seed} --database {world.database}"
    assert outcome.ok, f"{outcome.message}\nevidence: {outcome.folder}\nagain: {again}"
