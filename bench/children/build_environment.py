"""Seconds until the agent's environment of these packages is there: folder for environments, then requirements."""

import json
import platform
import sys
import time
from pathlib import Path

from larder.agent.environments import RECORDED, Environments, Spec

place, requirements = Path(sys.argv[1]), sys.argv[2:]
environments = Environments(place)
began = time.perf_counter()
python = environments.get(Spec(wish=RECORDED, python=platform.python_version(), requirements=requirements))
seconds = time.perf_counter() - began
reused = bool(python.fact["reused"])
packages = len(str(python.fact["lock"]).splitlines())
python.close()
print(json.dumps({"seconds": seconds, "reused": reused, "packages": packages, "python": python.executable}))
