"""What one can do with several runs side by side: the door of this slice."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from larder.contract.comparisons import (
    MOST,
    ComparedRow,
    CompareQuery,
    Comparison,
    ConsoleDiff,
    ConsoleDiffQuery,
    ExplainQuery,
    Explanation,
    Mismatch,
    Picture,
    PictureRow,
    Pictures,
)
from larder.contract.errors import Invalid
from larder.contract.meanings import names_data, names_metric
from larder.contract.reading import CodeDiffQuery, FileDiff
from larder.contract.runs import Artifact, ArtifactQuery, ConsoleQuery, Run, RunQuery
from larder.contract.values import Param
from larder_server.comparisons.rules import comparable, consoles, reasons, rows
from larder_server.comparisons.rules.comparable import Told
from larder_server.comparisons.rules.reasons import Earlier, Seen
from larder_server.kernel.context import Context
from larder_server.runs import service as runs

best_of, main, reached = rows.best_of, rows.main, rows.reached
change, shown = reasons.change, reasons.shown

_EARLIER = 300
"""Earlier runs of the project from which is learned what a parameter does."""

_MOST_PICTURES = 400


def compare(context: Context, query: CompareQuery) -> Comparison:
    """Set runs side by side. NotFound: one of them is not there; Invalid: fewer than 2 or more than 50, or one twice."""
    loaded = several(context, query.runs)
    return Comparison(
        runs=[replace(run, params={}, metrics={}, facts={}) for run in loaded],
        params=rows.rows([run.params for run in loaded]),
        metrics=rows.metrics(loaded, system=query.system),
        facts=rows.rows([rows.facts(run.facts) for run in loaded], only_differing=True),
        packages=rows.rows([rows.packages(run.facts) for run in loaded], only_differing=True),
        mismatches=mismatches(context, loaded),
        main=rows.main(loaded),
    )


def several(context: Context, ids: Sequence[str]) -> list[Run]:
    """2 to 50 different runs with all that is known of them, in the order that was asked for. NotFound; Invalid."""
    if not 2 <= len(ids) <= MOST:
        raise Invalid(f"a comparison has 2 to {MOST} runs, not {len(ids)}", field="runs")
    if twice := sorted({id for id in ids if ids.count(id) > 1}):
        raise Invalid(f"the run {twice[0][:100]} is named twice", field="runs")
    return runs.several(context, ids, facts=True)


def mismatches(context: Context, loaded: Sequence[Run]) -> list[Mismatch]:
    """Why these runs, with their facts, may not be compared; empty where nothing speaks against it."""
    return comparable.mismatches(loaded, [_told(context, run) for run in loaded])


def differing(loaded: Sequence[Run]) -> list[ComparedRow]:
    """The parameters in which runs differ."""
    return rows.rows([run.params for run in loaded], only_differing=True)


def console(context: Context, query: ConsoleDiffQuery) -> ConsoleDiff:
    """How the console of `b` differs from that of `a`, over the last lines of each. NotFound; Invalid: one run twice."""
    _two(query.a, query.b)
    found = [
        runs.read_console(context, ConsoleQuery(tail=consoles.MOST), run_id) for run_id in (query.a, query.b)
    ]  # fmt: skip
    texts = [[numbered.line.text for numbered in one.lines] for one in found]
    cut = any(one.total > len(one.lines) for one in found)
    return consoles.diff(texts[0], texts[1], numbers=query.numbers, cut=cut)


def explain(context: Context, query: ExplainQuery) -> Explanation:
    """What differs between two runs, the most likely reason for their results first. NotFound; Invalid: one run twice."""
    _two(query.a, query.b)
    a, b = runs.several(context, [query.a, query.b], facts=True)
    metric = query.metric or rows.main([a, b])
    before, after = (rows.reached(run.metrics.get(metric), metric) for run in (a, b))
    found = reasons.differences(
        _seen(context, a), _seen(context, b), metric=metric, code=_code(context, a, b),
        earlier=_earlier(context, a, metric) if metric else [],
    )  # fmt: skip
    return Explanation(
        sentence=reasons.sentence(a, b, metric=metric, before=before, after=after, first=found[0] if found else None),
        metric=metric,
        a=before,
        b=after,
        differences=found,
    )


def pictures(context: Context, query: CompareQuery) -> Pictures:
    """The images of runs, by name and step; of those without a step the newest. NotFound; Invalid as for `compare`."""
    found: dict[tuple[str, int], dict[int, Artifact]] = {}
    loaded = several(context, query.runs)
    for place, run in enumerate(loaded):
        for artifact in runs.list_artifacts(context, ArtifactQuery(latest=False), run.id).artifacts:
            if artifact.kind in ("image", "figure") and _is_still(artifact):
                step = -1 if artifact.step is None else artifact.step
                found.setdefault((artifact.name, step), {})[place] = artifact  # a later version stands for its step
    names = sorted(found, key=lambda key: (key[0], -key[1]))[:_MOST_PICTURES]
    return Pictures(
        rows=[
            PictureRow(
                name=name,
                step=None if step < 0 else step,
                pictures=[_picture(found[name, step].get(place)) for place in range(len(loaded))],
            )
            for name, step in names
        ]
    )


# -- helpers -------------------------------------------------------------------------------------------------------


def _two(a: str, b: str) -> None:
    if a == b:
        raise Invalid("name two different runs", field="b")


def _told(context: Context, run: Run) -> Told:
    sizes: dict[str, Param] = {}
    for name, document in run.facts.items():
        if name.startswith("sklearn.") and isinstance(document, dict) and isinstance(document.get("samples"), int):
            sizes[name.removeprefix("sklearn.")] = document["samples"]
    return Told(
        params={name: value for name, value in run.params.items() if names_data(name)},
        data=rows.data(run.facts),
        datasets=_datasets(context, run),
        samples=sizes,
        metric_params={name: value for name, value in run.params.items() if names_metric(name)},
        definitions=rows.definitions(run.facts),
    )


def _datasets(context: Context, run: Run) -> dict[str, Param]:
    """The content of the artifacts of kind `dataset`, by name."""
    return {
        artifact.name: " ".join(sorted(file.hash[:12] for file in artifact.files))
        for artifact in runs.list_artifacts(context, ArtifactQuery(), run.id).artifacts
        if artifact.kind == "dataset"
    }


def _seen(context: Context, run: Run) -> Seen:
    command, imports = (_document(run.facts, name) for name in ("command", "imports"))
    modules = imports.get("modules")
    return Seen(
        run=run,
        params=run.params,
        data={**rows.data(run.facts), **_datasets(context, run)},
        packages=rows.packages(run.facts),
        facts=rows.facts(run.facts),
        imported=frozenset(map(str, modules)) if isinstance(modules, list) else frozenset(),
        script=str(command.get("script") or ""),
    )


def _code(context: Context, a: Run, b: Run) -> list[FileDiff]:
    """The files in which the code of `b` differs from that of `a`."""
    trees = [_document(run.facts, "code").get("tree") for run in (a, b)]
    if not all(trees) or trees[0] == trees[1]:
        return []
    return runs.code_diff(context, CodeDiffQuery(against=a.id), b.id).files


def _earlier(context: Context, run: Run, metric: str) -> list[Earlier]:
    query = RunQuery(project=run.project, where="status = 'completed'", limit=_EARLIER)
    found = runs.find(context, query).runs
    values = [(one, rows.reached(one.metrics.get(metric), metric)) for one in found]
    return [Earlier(params=one.params, value=value) for one, value in values if value is not None]


def _is_still(artifact: Artifact) -> bool:
    """Whether it is an image that a page can show: one file, and no page of its own."""
    return len(artifact.files) == 1 and artifact.format in ("png", "jpeg", "jpg", "gif", "webp", "svg")


def _picture(artifact: Artifact | None) -> Picture | None:
    if artifact is None:
        return None
    file = artifact.files[0]
    return Picture(version=artifact.version, path=file.path, format=artifact.format, size=file.size)


def _document(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = facts.get(name)
    return found if isinstance(found, Mapping) else {}
