"""Microseconds of each call that logs one value with a peer: tensorboardX CALLS FOLDER, or mlflow CALLS URL."""

import json
import sys
import time
from array import array

name, calls, where = sys.argv[1], int(sys.argv[2]), sys.argv[3]
WARM_UP = min(2_000, calls // 10)
took = array("q", bytes(8 * calls))
clock = time.perf_counter_ns
values = [1.0 / (index + 1) for index in range(WARM_UP + calls)]
if name == "tensorboardX":
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(where)
    for index in range(-WARM_UP, calls):
        began = clock()
        writer.add_scalar("train/loss", values[WARM_UP + index], WARM_UP + index)
        ended = clock()
        if index >= 0:
            took[index] = ended - began
    writer.close()
else:
    import mlflow  # type: ignore[import-not-found]  # of the peers' environment

    mlflow.set_tracking_uri(where)
    mlflow.start_run()
    last = None
    for index in range(-WARM_UP, calls):
        began = clock()
        last = mlflow.log_metric("train/loss", values[WARM_UP + index], step=WARM_UP + index, synchronous=False)
        ended = clock()
        if index >= 0:
            took[index] = ended - began
    if last is not None:
        last.wait()
    mlflow.end_run()
ordered = sorted(took)
print(
    json.dumps(
        {
            "median_us": ordered[calls // 2] / 1e3,
            "p99_us": ordered[int(calls * 0.99)] / 1e3,
            "max_us": ordered[-1] / 1e3,
        }
    )
)
