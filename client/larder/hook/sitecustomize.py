"""Runs at the start of every Python process below `larder run` or an agent: capture without a line in the script.

It is found because its folder is first on PYTHONPATH, acts only where LARDER_HOOK=1 says so, and must never be the
reason why an interpreter does not start. A `sitecustomize` that this one hides is run as if it were not hidden.
"""

import os
import sys


def _chain() -> None:
    # The module of this name further down the path belongs to the machine or to the user's environment.
    here = os.path.dirname(os.path.abspath(__file__))
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    path = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    spec = PathFinder.find_spec("sitecustomize", path)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def _install() -> None:
    try:
        from larder import capture
    except ImportError:
        return  # an interpreter of another environment, in which larder is not installed
    capture.hook(_attach if os.environ.get("LARDER_RUN") else None)


def _attach() -> None:
    # Not before there is something to record: most interpreters below a script are none of its business.
    from larder import recording

    recording.attach()


if os.environ.get("LARDER_HOOK") == "1":
    try:
        _install()
    except Exception as error:  # nothing here may keep the user's program from starting
        sys.stderr.write(f"larder: warning (hook): {type(error).__name__}: {error}\n")
_chain()
