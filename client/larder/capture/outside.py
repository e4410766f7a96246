"""The sources that look at a run from the companion process."""

import os
import platform
import sys
from collections.abc import Mapping
from typing import Any

from larder import config
from larder.capture import code, machine, packages
from larder.capture.observing import Observer, Off


def observers(info: Mapping[str, Any], *, off: frozenset[str]) -> list[Observer]:
    """The observers of the run that `info` tells of; the code first, before its user edits on."""
    path = [str(entry) for entry in info.get("path") or sys.path]
    python = str(info.get("python") or platform.python_version())
    return [
        Off("code") if "code" in off else code.Code(code.place(info), config.home()),
        Off("machine") if "machine" in off else machine.Machine(int(info.get("pid") or os.getpid())),
        Off("packages") if "packages" in off else packages.Packages(path, python),
    ]
