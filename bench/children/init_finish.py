"""How long `larder.init` and a `finish` with an empty queue take in a fresh process."""

import json
import time
from typing import Any

import larder

began = time.perf_counter()
run: Any = larder.init(project="bench", params={"lr": 0.1})
initialised = time.perf_counter() - began
for step in range(10):
    run.log({"loss": 1.0 / (step + 1)}, step=step)
# All that was said reaches the server, so that only the end is left to say.
acknowledged = run._writer.path.with_suffix(".ack")
until = time.monotonic() + 20
while time.monotonic() < until:
    time.sleep(0.05)
    if acknowledged.exists() and int.from_bytes(acknowledged.read_bytes(), "little") == run._writer.size:
        break
else:
    raise SystemExit("the companion did not send what there was within 20 s")
time.sleep(0.5)
began = time.perf_counter()
run.finish()
finished = time.perf_counter() - began
print(json.dumps({"init_ms": 1e3 * initialised, "finish_ms": 1e3 * finished, "lost": run.lost_records}))
