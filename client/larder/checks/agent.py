"""A process that starts an execution, to be killed: `python -m larder.checks.agent MAKE RUN WORK JOURNALS PYTHON …`."""

import os
import sys
import time
from pathlib import Path

from larder.agent.executors import Order
from larder.checks.executors import resolve


def main() -> None:
    """Start what the arguments say, and say what it says."""
    make, run, work, journals, python, image, *readable = sys.argv[1:]
    order = Order(
        run=run,
        command=[python, "script.py"],
        folder=Path(work),
        work=Path(work),
        journals=Path(journals),
        env={"PATH": os.environ.get("PATH", os.defpath), "LARDER_CHECK": work},
        readable=tuple(map(Path, readable)),
        image=image,
    )
    execution = resolve(make)().start(order)
    said = b""
    while b"ready" not in said:
        piece = os.read(execution.stdout, 65536)
        if not piece:
            break
        said += piece
    os.write(1, said)
    time.sleep(600)


if __name__ == "__main__":
    main()
