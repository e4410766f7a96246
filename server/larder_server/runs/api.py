"""Runs over HTTP."""

import dataclasses

from larder.contract import home, reading, runs, tables
from larder.contract.queues import Lease
from larder.contract.runs import ConsoleQuery
from larder_server.kernel.outbox import Event
from larder_server.kernel.routing import Route, Waiting, bind, bind_download
from larder_server.runs import events, service

_LONGEST_WAIT = 60.0


def _wants(_: ConsoleQuery, event: Event, path: dict[str, str]) -> bool:
    return event.name == events.LOGGED and event.subject == path["run_id"]


def taking(leasing: Waiting) -> Route:
    """Leases a job and starts its run; waits as for a lease."""
    return bind(
        runs.TAKE,
        service.take,
        waiting=dataclasses.replace(
            leasing,
            satisfied=lambda taken: leasing.satisfied(taken.lease),
            nothing=lambda order: runs.Taken(lease=Lease()),
        ),
    )


ROUTES = [
    bind(runs.CREATE, service.create),
    bind(runs.SEARCH, service.find),
    bind(runs.GET, service.get),
    bind(runs.CHANGE, service.change),
    bind(runs.DELETE, service.delete),
    bind(runs.CLONE, service.clone),
    bind(runs.ENQUEUE, service.enqueue),
    bind(runs.START, service.start),
    bind(runs.STOP, service.stop),
    bind(runs.RESET, service.reset),
    bind(runs.PUBLISH, service.publish),
    bind(runs.WHY, service.why),
    bind(runs.FINISH, service.finish),
    bind(runs.APPEND, service.append),
    bind(runs.LOG_METRICS, service.log_metrics),
    bind(runs.LIST_METRICS, service.list_metrics),
    bind(runs.READ_METRIC, service.read_metric),
    bind(runs.CHART_METRIC, service.chart),
    bind(
        runs.READ_CONSOLE,
        service.read_console,
        waiting=Waiting(
            satisfied=lambda console: bool(console.lines),
            seconds=lambda query: min(max(query.wait, 0.0), _LONGEST_WAIT),
            wants=_wants,
        ),
    ),
    bind(runs.LIST_ARTIFACTS, service.list_artifacts),
    bind_download(runs.READ_FILE, service.read_file),
    bind(tables.TABLE, service.table),
    bind(tables.GROUPS, service.groups),
    bind(tables.FACETS, service.facets),
    bind(tables.NAMES, service.names),
    bind(tables.COMPLETE, service.complete),
    bind_download(tables.EXPORT, service.export),
    bind(tables.BULK, service.bulk),
    bind(reading.CHARTS, service.charts),
    bind(reading.NEIGHBOURS, service.neighbours),
    bind(reading.LINEAGE, service.lineage),
    bind(reading.PROGRESS, service.tell_progress),
    bind(reading.MACHINE, service.machine),
    bind(reading.CODE, service.code),
    bind(reading.CODE_FILE, service.code_file),
    bind(reading.CODE_DIFF, service.code_diff),
    bind(home.OVERVIEW, service.overview),
    bind(home.LOOK_UP, service.look_up),
    bind(home.NAMES, service.run_names),
]
