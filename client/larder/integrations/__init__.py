"""What Larder records of other frameworks: one framework a file, patched when that framework is imported, never before.

A framework is not imported by us: its patches wait for the script to import it, and each can be switched off.
"""

import importlib
from collections.abc import Mapping
from types import ModuleType

from larder.integrations import active, imports

FRAMEWORKS: Mapping[str, Mapping[str, str]] = {
    "sklearn": {
        "sklearn.base": "patch_base",
        "sklearn.model_selection._validation": "patch_validation",
    },
    "lightgbm": {"lightgbm.engine": "patch_engine"},
    "xgboost": {"xgboost.training": "patch_training"},
    "tensorboard": {
        "torch.utils.tensorboard.writer": "patch_writer",
        "tensorboardX.writer": "patch_writer",
    },
    "matplotlib": {
        "matplotlib.figure": "patch_figure",
        "matplotlib.pyplot": "patch_pyplot",
        "matplotlib_inline.backend_inline": "patch_inline",
    },
}
"""For each source, the modules whose import is waited for and the function of our file that then patches them."""


def install(source: str) -> str:
    """Let the patches of a framework wait for its import; answers the state of the source."""
    modules = FRAMEWORKS[source]
    for module, function in modules.items():
        imports.when_imported(module, key=source, patch=_patch(source, function))
    return "active" if any(imports.installed(module.partition(".")[0]) for module in modules) else "absent"


def _patch(source: str, function: str) -> imports.Patch:
    def patch(module: ModuleType) -> None:
        # Our file is read when the framework is: most scripts use one or two of them, and starting must be quick.
        with active.watched(source):
            getattr(importlib.import_module(f"{__name__}.{source}"), function)(module)

    return patch
