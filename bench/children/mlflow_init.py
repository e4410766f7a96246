"""How long MLflow takes to start and to end a run in a fresh process."""

import json
import sys
import time

import mlflow  # type: ignore[import-not-found]  # of the peers' environment

mlflow.set_tracking_uri(sys.argv[1])
began = time.perf_counter()
mlflow.start_run()
mlflow.log_param("lr", 0.1)
initialised = time.perf_counter() - began
for step in range(10):
    mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
began = time.perf_counter()
mlflow.end_run()
finished = time.perf_counter() - began
print(json.dumps({"init_ms": 1e3 * initialised, "finish_ms": 1e3 * finished}))
