"""A server in memory behind `Transport(send=…)`: it keeps runs and queues well enough for the client to be tested."""

import array
import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import msgspec
from blake3 import blake3

from larder.contract import comparisons, errors, events, ids, queues, runs, tenants
from larder.contract.endpoint import Endpoint, Nothing, Problem, Role
from larder.contract.runs import RunStatus
from larder.transport import Transport


def now() -> int:
    return time.time_ns() // 1000


class FakeServer:
    """Runs by id, jobs in order, a line of what was asked."""

    url = "http://larder.test"

    def __init__(self) -> None:
        self.runs: dict[str, runs.Run] = {}
        self.points: dict[tuple[str, str], runs.Points] = {}
        self.lines: dict[str, list[runs.ConsoleLine]] = {}
        self.artifacts: dict[str, list[runs.Artifact]] = {}
        self.objects: dict[str, bytes] = {}
        self.jobs: dict[str, queues.Job] = {}
        self.asked: list[str] = []
        self.queries: list[runs.RunQuery] = []
        self.stops: set[str] = set()
        self.mismatches: list[comparisons.Mismatch] = []
        self.lease_seconds = 30.0
        self.role = Role.CONTRIBUTOR
        self.down = False
        self.answers: list[tuple[Endpoint[Any, Any], Callable[..., Any]]] = [
            (tenants.WHOAMI, lambda _: tenants.Identity(tenant="default", user="evi", role=self.role)),
            (runs.SEARCH, self.search),
            (runs.CREATE, self.create),
            (runs.APPEND, self.append),
            (runs.GET, lambda _, run_id: self.found(run_id)),
            (runs.CHANGE, self.change),
            (runs.DELETE, self.delete),
            (runs.CLONE, self.clone),
            (runs.ENQUEUE, self.enqueue),
            (runs.TAKE, self.take),
            (runs.START, self.start),
            (runs.STOP, self.stop),
            (runs.RESET, self.reset),
            (runs.PUBLISH, self.publish),
            (runs.WHY, self.why_run),
            (runs.FINISH, self.finish),
            (runs.LOG_METRICS, self.log_metrics),
            (runs.READ_METRIC, self.read_metric),
            (runs.CHART_METRIC, self.chart),
            (runs.READ_CONSOLE, self.console),
            (runs.LIST_ARTIFACTS, self.list_artifacts),
            (comparisons.COMPARE, self.compare),
            (events.LIST, lambda _: events.Events(events=[], last=0)),
            (queues.LIST, self.list_queues),
            (queues.SHOW, self.show),
            (queues.LEASE, self.lease),
            (queues.RENEW, self.renew),
            (queues.COMPLETE, self.complete),
            (queues.GIVE_BACK, self.give_back),
            (queues.MOVE, self.move),
        ]

    @property
    def transport(self) -> Transport:
        return Transport(self.url, "secret", send=self.send, retries=0)

    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self.down:
            raise errors.Unavailable(f"{self.url} cannot be reached")
        parts = urlsplit(target)
        if parts.path == "/healthz":
            return 200, {"content-type": "application/json"}, b'{"status": "ok", "version": "0.1.0"}'
        if parts.path.endswith("/artifact-file"):
            return self.read_file(parts.path.split("/")[3], dict(parse_qsl(parts.query)))
        for endpoint, function in self.answers:
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", endpoint.path)
            found = re.fullmatch(pattern, parts.path)
            if found is None or endpoint.method != method:
                continue
            self.asked.append(f"{method} {endpoint.path}")
            path = {name: unquote(value) for name, value in found.groupdict().items()}
            if endpoint.body is Nothing:
                read: Any = Nothing()
            elif method == "GET":
                given = parse_qs(parts.query)
                values = {name: texts if len(texts) > 1 else texts[0] for name, texts in given.items()}
                read = msgspec.convert(values, endpoint.body, strict=False)
            else:
                read = msgspec.msgpack.decode(body or b"\x80", type=endpoint.body)
            try:
                result = function(read, **path)
            except errors.LarderError as error:
                problem = Problem(code=error.code, message=str(error), hint=error.hint)
                return error.status, {"content-type": "application/json"}, msgspec.json.encode(problem)
            return 200, {"content-type": "application/msgpack"}, msgspec.msgpack.encode(result)
        raise AssertionError(f"nobody answers {method} {target}")

    # -- runs

    def add(self, **fields: Any) -> runs.Run:
        """A run as if it had been recorded."""
        values: dict[str, Any] = {
            "id": ids.new_id(),
            "project": "bakery",
            "name": "baseline",
            "status": RunStatus.COMPLETED,
            "created": now(),
        }
        run = runs.Run(**(values | fields))
        self.runs[run.id] = run
        return run

    def add_metric(self, run: runs.Run, name: str, values: list[float]) -> None:
        self.log_metrics(runs.PointsBatch(metrics=[runs.Points(name=name, values=values)]), run.id)

    def add_artifact(
        self, run: runs.Run, name: str, format: str, files: dict[str, bytes], kind: str = "file", **fields: Any
    ) -> runs.Artifact:
        listed = []
        for path, data in files.items():
            digest = blake3(data).hexdigest()
            self.objects[digest] = data
            listed.append(runs.ArtifactFile(path=path, hash=digest, size=len(data)))
        artifact = runs.Artifact(
            name=name, version=1 + sum(each.name == name for each in self.artifacts.get(run.id, [])), kind=kind,
            format=format, files=listed, size=sum(file.size for file in listed), created=now(), **fields,
        )  # fmt: skip
        self.artifacts.setdefault(run.id, []).append(artifact)
        return artifact

    def put(self, run_id: str, **fields: Any) -> runs.Run:
        self.runs[run_id] = dataclasses.replace(self.runs[run_id], **fields)
        return self.runs[run_id]

    def found(self, run_id: str) -> runs.Run:
        if run_id not in self.runs:
            raise errors.NotFound(f"there is no run {run_id}")
        return self.runs[run_id]

    def search(self, query: runs.RunQuery) -> runs.RunPage:
        self.queries.append(query)
        chosen = [
            run for run in self.runs.values() if query.project in ("", run.project) and run.archived == query.archived
        ]
        like = re.fullmatch(r"id like '(\*?)([^*]*)(\*?)'", query.where)
        if like is not None:
            chosen = [run for run in chosen if (run.id.endswith if like[1] else run.id.startswith)(like[2])]
        if "metrics." in query.order_by:
            name = query.order_by.removeprefix("metrics.")
            chosen.sort(key=lambda run: run.metrics[name].last if name in run.metrics else float("inf"))
        page = chosen[query.offset : query.offset + query.limit]
        return runs.RunPage(runs=[dataclasses.replace(run, facts={}) for run in page], total=len(chosen))

    def delete(self, _: Nothing, run_id: str) -> Nothing:
        del self.runs[self.found(run_id).id]
        return Nothing()

    def append(self, batch: runs.Batch, run_id: str) -> runs.Acknowledged:
        if run_id not in self.runs:
            assert batch.opening is not None
            self.add(id=run_id, project=batch.opening.project, name=batch.opening.name, created=batch.opening.time)
            self.log_series(run_id, batch.series)
            self.put(run_id, params=batch.params, facts=batch.facts, tags=batch.add_tags, notes=batch.notes or "")
            if batch.ending is not None:
                self.put(run_id, status=batch.ending.status, ended=batch.ending.time)
        elif batch.attempt:
            self.hear(batch, run_id)
        return runs.Acknowledged(offset=batch.end, stop=run_id in self.stops)

    def hear(self, batch: runs.Batch, run_id: str) -> None:
        """What the agent that executes a run reports; the end takes the job out of its queue."""
        run = self.runs[run_id]
        if batch.attempt < run.attempt:
            raise errors.Conflict("a newer attempt goes on")
        if run.status.final and batch.end > batch.start:
            raise errors.Conflict("the run has ended")
        self.lines.setdefault(run_id, []).extend(batch.console)
        self.log_series(run_id, [series for series in batch.series if not series.name.startswith("system/")])
        self.put(run_id, facts=run.facts | batch.facts)
        if batch.ending is not None:
            end = batch.ending
            self.put(
                run_id, status=end.status, ended=end.time, reason=end.reason, exit_status=end.exit_status,
                cause=end.cause, lost_records=end.lost_records,
            )  # fmt: skip
            self.jobs = {job.id: job for job in self.jobs.values() if job.subject != run_id}

    def log_series(self, run_id: str, series: list[runs.Series]) -> None:
        for each in series:
            values = array.array("d")
            values.frombytes(each.values)
            self.log_metrics(runs.PointsBatch(metrics=[runs.Points(name=each.name, values=values.tolist())]), run_id)

    def create(self, new: runs.NewRun) -> runs.Run:
        return self.add(
            project=new.project, name=new.name, params=new.params, tags=new.tags, notes=new.notes, facts=new.facts,
            status=new.status, parent=new.parent, started=new.started, ended=new.ended,
        )  # fmt: skip

    def change(self, change: runs.Change, run_id: str) -> runs.Run:
        run = self.found(run_id)
        tags = [tag for tag in dict.fromkeys([*run.tags, *change.add_tags]) if tag not in change.remove_tags]
        fields = {name: getattr(change, name) for name in ("name", "notes", "archived", "needs", "retry")}
        fields["params"] = None if change.params is None else run.params | change.params
        return self.put(run_id, tags=tags, **{name: value for name, value in fields.items() if value is not None})

    def clone(self, change: runs.Clone, run_id: str) -> runs.Run:
        run = self.found(run_id)
        return self.add(
            project=run.project, name=change.name or run.name, params=run.params | change.params,
            facts=run.facts | self.environment(change), parent=run.id, status=RunStatus.DRAFT, tags=change.tags,
            needs=change.needs or run.needs, retry=run.retry,
        )  # fmt: skip

    def environment(self, change: runs.Clone) -> dict[str, Any]:
        if not change.environment and not change.requirements:
            return {}
        return {"environment": {"from": change.environment, "requirements": change.requirements}}

    def enqueue(self, order: runs.Enqueue, run_id: str) -> runs.Run:
        if self.found(run_id).status is not RunStatus.DRAFT:
            raise errors.Conflict("only a draft can be enqueued", hint="clone it")
        job = queues.Job(
            id=ids.new_id(), queue=order.queue, kind="run", subject=run_id, state="waiting", position=len(self.jobs),
            fence=0, created=now(), priority=queues.Priority(order.priority or "human"),
        )  # fmt: skip
        self.jobs[job.id] = job
        asked = {name: getattr(order, name) for name in ("needs", "retry") if getattr(order, name) is not None}
        return self.put(run_id, status=RunStatus.QUEUED, queue=order.queue, **asked)

    def start(self, start: runs.Start, run_id: str) -> runs.Run:
        if self.found(run_id).status.final:
            raise errors.Conflict("it has ended")
        return self.put(run_id, status=RunStatus.RUNNING, attempt=start.fence, host=start.host, started=now())

    def take(self, order: queues.LeaseRequest) -> runs.Taken:
        """A lease as it is answered, and the run that it starts."""
        lease = next(function for endpoint, function in self.answers if endpoint is queues.LEASE)
        while True:
            given: queues.Lease = lease(order)
            job = given.job
            if job is None or job.kind != "run":
                return runs.Taken(lease=given)
            try:
                return runs.Taken(
                    lease=given, run=self.start(runs.Start(fence=job.fence, host=order.host), job.subject)
                )
            except (errors.Conflict, errors.NotFound):
                self.complete(queues.Hold(fence=job.fence), job.id)

    def stop(self, stop: runs.Stop, run_id: str) -> runs.Run:
        run = self.found(run_id)
        self.stops.add(run_id)
        return run if run.status is RunStatus.RUNNING else self.put(run_id, status=RunStatus.STOPPED)

    def reset(self, _: Nothing, run_id: str) -> runs.Run:
        if self.found(run_id).published:
            raise errors.Conflict("it is published")
        return self.put(run_id, status=RunStatus.DRAFT, metrics={}, ended=None)

    def publish(self, _: Nothing, run_id: str) -> runs.Run:
        if not self.found(run_id).status.final:
            raise errors.Conflict("only a run that has ended can be published")
        return self.put(run_id, published=True)

    def why_run(self, _: Nothing, run_id: str) -> queues.Why:
        job = next((job for job in self.jobs.values() if job.subject == run_id), None)
        if job is None:
            raise errors.Conflict("it waits in no queue")
        return queues.Why(job=job, reasons=["no agent listens to it"], ahead=2, starts=1_700_000_000_000_000)

    def finish(self, end: runs.Finish, run_id: str) -> runs.Run:
        run = self.found(run_id)
        if run.status.final:
            return run
        return self.put(run_id, status=end.status, reason=end.reason, exit_status=end.exit_status, ended=now())

    def log_metrics(self, batch: runs.PointsBatch, run_id: str) -> Nothing:
        for points in batch.metrics:
            self.points[run_id, points.name] = points
            values = points.values
            summary = runs.MetricSummary(
                last=values[-1], last_step=len(values) - 1, min=min(values), min_step=values.index(min(values)),
                max=max(values), max_step=values.index(max(values)), mean=sum(values) / len(values), count=len(values),
            )  # fmt: skip
            self.put(run_id, metrics=self.runs[run_id].metrics | {points.name: summary})
        return Nothing()

    def read_metric(self, query: runs.MetricQuery, run_id: str) -> runs.Series:
        points = self.points.get((run_id, query.name))
        if points is None:
            raise errors.NotFound(f"the run has no metric {query.name}")
        steps = array.array("q", range(len(points.values))).tobytes()
        return runs.Series(name=query.name, steps=steps, times=steps, values=array.array("d", points.values).tobytes())

    def chart(self, query: runs.ChartQuery, run_id: str) -> runs.Chart:
        values = self.points[run_id, query.name].values
        kept = list(range(len(values)))[: query.points]
        return runs.Chart(
            name=query.name, steps=kept, times=kept, values=[values[index] for index in kept], total=len(values)
        )

    def console(self, query: runs.ConsoleQuery, run_id: str) -> runs.Console:
        lines = [runs.NumberedLine(number=n, line=line) for n, line in enumerate(self.lines.get(run_id, []), start=1)]
        chosen = [line for line in lines if line.number > query.after and query.search in line.line.text]
        chosen = chosen[-query.tail :] if query.tail else chosen[: query.limit]
        return runs.Console(lines=chosen, last=chosen[-1].number if chosen else query.after, total=len(lines))

    def list_artifacts(self, query: runs.ArtifactQuery, run_id: str) -> runs.Artifacts:
        self.found(run_id)
        return runs.Artifacts(
            artifacts=[artifact for artifact in self.artifacts.get(run_id, []) if query.name in ("", artifact.name)]
        )

    def compare(self, query: comparisons.CompareQuery) -> comparisons.Comparison:
        """Only whether the runs may be compared: the rest of it no client asks for."""
        loaded = [self.found(run_id) for run_id in query.runs]
        return comparisons.Comparison(
            runs=loaded, params=[], metrics=[], facts=[], packages=[], mismatches=self.mismatches
        )  # fmt: skip

    def read_file(self, run_id: str, query: dict[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        for artifact in self.artifacts.get(run_id, []):
            for file in artifact.files:
                version = int(query.get("version") or 0) or artifact.version
                if (artifact.name, file.path, artifact.version) == (query["name"], query["path"], version):
                    return 200, {"content-type": "application/octet-stream"}, self.objects[file.hash]
        raise AssertionError(query)

    # -- queues

    def list_queues(self, _: Nothing) -> queues.Queues:
        names = sorted({job.queue for job in self.jobs.values()})
        states = [(job.queue, job.state) for job in self.jobs.values()]
        return queues.Queues(
            queues=[
                queues.Queue(name=name, waiting=states.count((name, "waiting")), leased=states.count((name, "leased")))
                for name in names
            ]
        )

    def show(self, _: Nothing, queue: str) -> queues.Jobs:
        jobs = [job for job in self.jobs.values() if job.queue == queue]
        return queues.Jobs(jobs=sorted(jobs, key=lambda job: (job.state, job.position)))

    def lease(self, order: queues.LeaseRequest) -> queues.Lease:
        for job in sorted(self.jobs.values(), key=lambda job: job.position):
            if job.state == "waiting" and job.queue in order.queues:
                self.jobs[job.id] = dataclasses.replace(job, state="leased", fence=job.fence + 1, agent=order.agent)
                return queues.Lease(job=self.jobs[job.id], seconds=self.lease_seconds)
        time.sleep(min(order.wait, 0.02))
        return queues.Lease(seconds=self.lease_seconds)

    def held(self, job_id: str, hold: queues.Hold) -> queues.Job:
        job = self.jobs.get(job_id)
        if job is None or job.fence != hold.fence or job.state != "leased":
            raise errors.Conflict("another agent holds this job")
        return job

    def renew(self, hold: queues.Hold, job_id: str) -> queues.Renewal:
        job = self.held(job_id, hold)
        return queues.Renewal(expires=now(), stop=job.subject in self.stops)

    def complete(self, hold: queues.Hold, job_id: str) -> Nothing:
        del self.jobs[self.held(job_id, hold).id]
        return Nothing()

    def give_back(self, hold: queues.Hold, job_id: str) -> Nothing:
        job = self.held(job_id, hold)
        self.jobs[job_id] = dataclasses.replace(job, state="waiting", agent="")
        self.put(job.subject, status=RunStatus.QUEUED)
        return Nothing()

    def move(self, order: queues.Move, job_id: str) -> queues.Job:
        positions = [job.position for job in self.jobs.values()]
        position = min(positions) - 1 if order.to == "top" else max(positions) + 1
        if order.before:
            position = self.jobs[order.before].position
        self.jobs[job_id] = dataclasses.replace(
            self.jobs[job_id], position=position, queue=order.queue or self.jobs[job_id].queue
        )
        return self.jobs[job_id]
