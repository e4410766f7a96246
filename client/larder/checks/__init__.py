"""What every implementation of an interface must do, shipped so that those of others can be checked, too."""

from larder.checks.executors import check_executor
from larder.checks.failed import Failed

__all__ = ["Failed", "check_executor"]
