"""`python -m bench`: measure, print one table, and put it into docs/explanation/performance.md."""

import argparse
import importlib
import importlib.metadata
import os
import platform
import signal
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import table
from bench.harness import ROOT, Bench, Failed
from bench.table import Row

SUBJECTS = {
    "log": "run.log in the training process",
    "kill": "what SIGKILL takes away",
    "ingest": "columnar batches through a socket, and what a point weighs",
    "search": "finding among 100,000 runs",
    "runs_table": "the runs table of 100,000 runs in a browser",
    "chart": "10 million points in a chart",
    "page": "a run of fifty charts in a browser",
    "compare": "twenty runs side by side, and a share on a phone",
    "start": "imports, init, finish, larder up",
    "starts": "from a queue to the first line of a script",
    "queue": "a thousand runs that do nothing",
    "agents": "two thousand agents that wait",
    "environment": "an environment that nobody has built before",
    "data_tree": "a data version of a million files",
    "data_versions": "a data version: commit, get, and the next one",
}
PAGE = ROOT / "docs" / "explanation" / "performance.md"


def main() -> int:
    """Measure what is asked for; 0 when each of it could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller stores; writes no page")
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=SUBJECTS, help=f"one of {', '.join(SUBJECTS)}"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results as JSON, too")
    parser.add_argument("--no-peers", action="store_true", help="do not install or measure the peers")
    parser.add_argument("--no-page", action="store_true", help=f"leave {PAGE.relative_to(ROOT)} as it is")
    arguments = parser.parse_args()
    # Asked to end, we end our children, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results: dict[str, list[Row]] = {}
    failed = []
    with Bench(quick=arguments.quick, without_peers=arguments.no_peers) as bench:
        here = machine(bench)
        if not arguments.no_peers and bench.peers.why:
            bench.say(f"the peers are absent: {bench.peers.why}")
        for subject in arguments.only or SUBJECTS:
            bench.say(f"{subject}: {SUBJECTS[subject]}")
            began, load = time.monotonic(), os.getloadavg()[0]
            rows: list[Row] = []
            try:
                for row in importlib.import_module(f"bench.{subject}").measure(bench):
                    rows.append(row)
                    bench.say(f"  {' | '.join(row.cells())}")
            except Exception as problem:  # the edge of a subject: the others are measured all the same
                failed.append(subject)
                why = str(problem) if isinstance(problem, Failed) else traceback.format_exc()
                bench.say(f"{subject} could not be measured to its end: {why}")
            bench.say(f"{subject} took {time.monotonic() - began:.0f} s")
            results[subject] = rows
            if rows and subject not in failed and not arguments.quick and not arguments.no_page:
                table.write_page(PAGE, subject, rows=rows, measured=_measured({**here, "load": round(load, 1)}))
    print(table.plain(row for rows in results.values() for row in rows))
    notes = [f"{row.what}: {row.note}" for rows in results.values() for row in rows if row.note]
    print("\n".join(["", *notes, "", _measured(here)]))
    if arguments.json:
        table.write_json(arguments.json, machine=here, subjects=results)
    return int(bool(failed))


def machine(bench: Bench) -> dict[str, Any]:
    """What the figures depend on."""
    import psutil

    versions = {
        name: importlib.metadata.version(name)
        for name in ("larder", "msgspec", "starlette", "uvicorn", "sqlalchemy", "numpy", "zstandard", "tsdownsample")
    }
    if bench.peers:
        versions |= {name: bench.peers.version(name) for name in ("mlflow", "tensorboardX", "dvc")}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "quick": bench.quick,
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _measured(here: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    return (
        f"Measured {here['date']} on {here['cores']} cores ({here['processor']}), {here['memory_gb']} GB,"
        f" {here['system']}, Python {here['python']}; load average before it began {here['load']}"
        f"{', so other work disturbed it' if here['load'] >= 1 else ''}. {versions}."
    )


if __name__ == "__main__":
    sys.exit(main())
