"""What SIGKILL takes away: a process logs, is killed at a random moment, and every log that returned is looked for."""

import random
from collections.abc import Iterator

from bench.harness import Bench
from bench.table import Beside, Row


def measure(bench: Bench) -> Iterator[Row]:
    """The rows of this subject."""
    rounds = 20 if bench.quick else 200
    seed = random.SystemRandom().randrange(2**31)
    home = bench.new_folder("home")
    environment = {"LARDER_HOME": str(home), "LARDER_MODE": "offline"}
    told = bench.child("killed", "larder", rounds, seed, environment=environment, timeout=1200)
    few = max(5, rounds // 10)

    def tensorboard() -> list[float]:
        told = bench.child("killed", "tensorboardX", few, seed, bench.new_folder("board"), python=bench.peers.python)
        return [told["lost"] / few, told["logged"] / few]

    beside = bench.beside(["tensorboardX: lost a round", "of logged"], "", tensorboard)
    yield Row(
        what=f"`run.log`s that had returned and are lost after SIGKILL, {rounds} rounds", value=float(told["lost"]),
        unit="", bar=0.0, beside=[Beside(name="limit", value=0.0), *beside],
        note=f"{told['logged']:,} logs had returned, killed after {told['shortest_ms']:.1f} to {told['longest_ms']:.0f} ms;"
        f" {told['wrong']} records read back with another value; {told['torn']} journals ended in a torn record;"
        f" seed {seed}",
    )  # fmt: skip
