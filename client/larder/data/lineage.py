"""Where a version or a run comes from, and what came of it: versions by their parents, runs by what they read and wrote."""

from collections.abc import Callable
from dataclasses import dataclass, field

from larder.contract import datasets as contract
from larder.contract import runs as run_contract
from larder.contract.addresses import parse
from larder.contract.datasets import Use, Version
from larder.contract.endpoint import Nothing
from larder.contract.errors import Invalid, NotFound
from larder.contract.ids import is_id
from larder.data import verbs
from larder.transport import Transport

DEPTH = 10
MOST = 500
"""Nodes of a lineage at most; it says when there were more."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A version or a run, how it is tied to the node above it, and what lies further on.

    `edge`: `parent` or `child` (versions), `wrote`, `written`, `read`, `reader` (a run and a version). `again`: it stands
    elsewhere in the lineage already, with what lies further on.
    """

    kind: str
    id: str
    name: str
    time: int
    text: str = ""
    edge: str = ""
    part: str = ""
    again: bool = False
    nodes: list["Node"] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """A version or a run with what it comes from and what came of it. `cut`: there was more than is told."""

    of: Node
    origins: list[Node]
    results: list[Node]
    at: int | None = None
    cut: bool = False


def lineage(
    address: str,
    *,
    at: int | None = None,
    depth: int = DEPTH,
    project: str = "",
    transport: Transport | None = None,
) -> Lineage:
    """The lineage of `data:ADDRESS` or `run:ID`, both ways.

    `at` (UTC µs): as it was then: an alias as it stood, and nothing that came later. A plain address means data.
    """
    return _Walk(verbs._connected(transport), at, depth).walk(address, project)


class _Walk:
    def __init__(self, transport: Transport, at: int | None, depth: int) -> None:
        self._transport, self._at, self._depth = transport, at, depth
        self._versions: dict[str, Version | None] = {}
        self._uses: dict[str, list[Use]] = {}
        self._siblings: dict[str, list[Version]] = {}
        self._count = 0
        self._cut = False

    def walk(self, address: str, project: str) -> Lineage:
        kind, colon, rest = address.partition(":")
        if not colon:
            kind, rest = "data", address
        if kind == "data":
            version = verbs.resolve(rest, project=project, at=self._at, transport=self._transport)
            if self._later(version.committed or version.created):
                if parse(rest).number or parse(rest).id:
                    raise NotFound(f"{version.address} was not there yet at that time.")
                version = self._newest_then(version)
            self._versions[version.id] = version
            root = self._version_node(version, "")
        elif kind == "run":
            root = self._run_node(self._run_id(rest), "", self._at or 0)
        else:
            raise Invalid(
                f"Nothing is known of the lineage of {kind!r}.", hint="Write data:NAME@v3 or run:ID.", field="address"
            )
        origins = self._further(root, self._origins, {(root.kind, root.id)}, self._depth)
        results = self._further(root, self._results, {(root.kind, root.id)}, self._depth)
        return Lineage(of=root, origins=origins, results=results, at=self._at, cut=self._cut)

    def _further(
        self, node: Node, step: Callable[[Node], list[Node]], seen: set[tuple[str, str]], depth: int
    ) -> list[Node]:
        next_ = step(node)
        if depth <= 0:
            self._cut = self._cut or bool(next_)
            return []
        found = []
        for each in next_:
            if self._count >= MOST:
                self._cut = True
                break
            self._count += 1
            again = (each.kind, each.id) in seen
            seen.add((each.kind, each.id))
            nodes = [] if again else self._further(each, step, seen, depth - 1)
            found.append(_with(each, again, nodes))
        return found

    # -- one step

    def _origins(self, node: Node) -> list[Node]:
        if node.kind == "run":
            return self._versions_of(node.id, "input", "read")
        version = self._version(node.id)
        if version is None:
            return []
        found = []
        for parent in version.parents:
            before = self._version(parent)
            if before is not None:
                found.append(self._version_node(before, "parent"))
        return found + self._runs_of(version.id, "output", "wrote")

    def _results(self, node: Node) -> list[Node]:
        if node.kind == "run":
            return self._versions_of(node.id, "output", "written")
        version = self._version(node.id)
        if version is None:
            return []
        children = [each for each in self._all(version.dataset) if version.id in each.parents]
        return [self._version_node(each, "child") for each in children] + self._runs_of(version.id, "input", "reader")

    def _versions_of(self, run: str, role: str, edge: str) -> list[Node]:
        found: dict[str, Node] = {}
        for use in self._told(contract.UseQuery(run=run), f"run:{run}"):
            version = self._version(use.version) if use.role == role else None
            if version is not None and not self._later(use.time):
                found.setdefault(version.id, self._version_node(version, edge, part=use.part))
        return list(found.values())

    def _runs_of(self, version: str, role: str, edge: str) -> list[Node]:
        found: dict[str, Node] = {}
        for use in self._told(contract.UseQuery(version=version), version):
            if use.role == role and not self._later(use.time) and use.run not in found:
                found[use.run] = self._run_node(use.run, edge, use.time, part=use.part)
        return list(found.values())

    # -- asked once

    def _told(self, query: contract.UseQuery, key: str) -> list[Use]:
        if key not in self._uses:
            self._uses[key] = self._transport.call(contract.USES, query).uses
        return self._uses[key]

    def _version(self, id: str) -> Version | None:
        if id not in self._versions:
            try:
                self._versions[id] = self._transport.call(contract.VERSION, Nothing(), version_id=id)
            except NotFound:  # it was deleted
                self._versions[id] = None
        return self._versions[id]

    def _all(self, dataset: str) -> list[Version]:
        if dataset not in self._siblings:
            found: list[Version] = []
            while True:
                page = self._transport.call(
                    contract.VERSIONS, contract.VersionQuery(limit=100, offset=len(found)), dataset_id=dataset
                )
                found += page.versions
                if len(found) >= page.total or not page.versions:
                    break
            self._siblings[dataset] = [each for each in found if not self._later(each.committed or each.created)]
            self._versions.update({each.id: each for each in found})
        return self._siblings[dataset]

    def _newest_then(self, version: Version) -> Version:
        then = self._all(version.dataset)
        if not then:
            raise NotFound(f"{version.project}/{version.name} had no version yet at that time.")
        return then[0]

    def _later(self, time: int) -> bool:
        return self._at is not None and time > self._at

    def _run_id(self, text: str) -> str:
        name = text.strip().lower().rstrip("/").rsplit("/", 1)[-1]
        if is_id(name):
            return name
        found = []
        if len(name) >= 6 and all(each in "0123456789abcdef-" for each in name):
            query = run_contract.RunQuery(where=f"id like '*{name}'", limit=2)
            found = self._transport.call(run_contract.SEARCH, query).runs
        if len(found) > 1:
            raise Invalid(f"Several runs are named by {text!r}.", hint="Give more of the id.")
        if not found:
            raise NotFound(f"No run has an id that ends in {text!r}.", hint="`larder runs ls` lists the runs.")
        return found[0].id

    # -- nodes

    def _version_node(self, version: Version, edge: str, *, part: str = "") -> Node:
        return Node(
            kind="data", id=version.id, name=version.address, time=version.committed or version.created,
            text=version.message, edge=edge, part=part,
        )  # fmt: skip

    def _run_node(self, id: str, edge: str, time: int, *, part: str = "") -> Node:
        try:
            run = self._transport.call(run_contract.GET, Nothing(), run_id=id)
        except NotFound:
            if not edge:
                raise
            return Node(kind="run", id=id, name=id, time=time, text="deleted, or not sent yet", edge=edge, part=part)
        commit = f", code {run.commit[:8]}" if run.commit else ""
        return Node(
            kind="run",
            id=id,
            name=run.name,
            time=run.created,
            text=f"{run.project}, {run.status}{commit}",
            edge=edge,
            part=part,
        )


def _with(node: Node, again: bool, nodes: list[Node]) -> Node:
    return Node(
        kind=node.kind, id=node.id, name=node.name, time=node.time, text=node.text, edge=node.edge, part=node.part,
        again=again, nodes=nodes,
    )  # fmt: skip
