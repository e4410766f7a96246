"""Home: the projects at a glance, and one search over everything that has a name."""

from collections.abc import Sequence

from larder import config
from larder.contract import home
from larder.transport import Transport


def overview(
    *, text: str = "", limit: int = 48, offset: int = 0, transport: Transport | None = None
) -> list[home.Glance]:
    """Projects with their runs by status, what is running and the best values; the liveliest first."""
    query = home.OverviewQuery(text=text, limit=limit, offset=offset)
    return (transport or config.connect()).call(home.OVERVIEW, query).projects


def look_up(text: str, *, limit: int = 6, transport: Transport | None = None) -> list[home.Hit]:
    """Runs, projects, artifacts, parameters, metrics, tags, queues and agents of such a name."""
    return (transport or config.connect()).call(home.LOOK_UP, home.LookUpQuery(text=text, limit=limit)).hits


def names(ids: Sequence[str], *, transport: Transport | None = None) -> dict[str, home.Brief]:
    """What runs are called, by id; those that are not there are left out. At most 500."""
    return (transport or config.connect()).call(home.NAMES, home.NamesQuery(ids=list(ids))).runs
