"""Commit or get a data version in a process of its own: how long it took, what it moved, the most memory it held."""

import json
import resource
import sys
import time
from pathlib import Path

from larder import data
from larder.transport import Transport

verb, name, folder = sys.argv[1:4]
moved = {"sent": 0, "received": 0}
once = Transport._once


def counted(self, method, target, headers, payload, *rest):
    moved["sent"] += payload.stat().st_size if isinstance(payload, Path) else len(payload or b"")
    answer = once(self, method, target, headers, payload, *rest)
    moved["received"] += len(answer.body)
    return answer


Transport._once = counted
began = time.perf_counter()
if verb == "commit":
    version = data.commit(name, folder, progress=False)
else:
    data.get(name, to=folder or None, progress=False)
seconds = time.perf_counter() - began
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "memory": memory, **moved}))
