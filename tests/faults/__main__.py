"""`python -m tests.faults --rounds 50 --database sqlite`: every fault in every round, at other moments each time."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.catalogue import FAULTS
from tests.faults.play import Outcome, play
from tests.faults.stage import World


def main() -> int:
    options = arguments()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="larder-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    for name in [name for name in os.environ if name.startswith("LARDER_")]:
        del os.environ[name]
    os.environ["LARDER_HOME"] = str(folder / "nobody")
    chosen = [FAULTS[name] for name in options.only or FAULTS]
    outcomes: list[Outcome] = []
    world = World(folder, options.database)
    began = time.monotonic()
    try:
        for number in range(1, options.rounds + 1):
            with ThreadPoolExecutor(options.jobs) as pool:
                seed = f"{options.seed}/{number}"
                playing = [
                    pool.submit(play, world, fault, seed, folder / f"round-{number}", keep=options.keep)
                    for fault in chosen
                ]
                # In the order in which they end would be livelier; in this one two rounds can be compared.
                for future in playing:
                    outcome = future.result()
                    outcomes.append(outcome)
                    print(f"round {number:3}  {outcome.line}", flush=True)
            if not options.keep and all(outcome.ok for outcome in outcomes[-len(chosen) :]):
                shutil.rmtree(folder / f"round-{number}", ignore_errors=True)
    finally:
        world.close()
    failed = [outcome for outcome in outcomes if not outcome.ok]
    counts = Counter("skipped" if outcome.skipped else "ok" if outcome.ok else "failed" for outcome in outcomes)
    print(
        f"{options.database}: {options.rounds} rounds of {len(chosen)} faults in {time.monotonic() - began:.0f} s,"
        f" {counts['ok']} ok, {counts['failed']} failed, {counts['skipped']} skipped (seed {options.seed})"
    )
    for outcome in {outcome.fault: outcome for outcome in outcomes if outcome.skipped}.values():
        print(f"  skipped: {outcome.fault}: {outcome.message}")
    for outcome in failed:
        print(f"  failed: {outcome.fault}, seed {outcome.seed}: {outcome.folder}")
    if not failed and not options.folder and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), help="play this fault; may be repeated")
    parser.add_argument("--seed", default=str(int.from_bytes(os.urandom(4), "big")), help="of the random moments")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2, help="faults played at a time")
    parser.add_argument("--keep", action="store_true", help="keep the evidence also where all went well")
    parser.add_argument("--folder", help="where the evidence lies; a folder for temporary files unless given")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
