"""The code that a run executed: its files, their texts, and how it differs from its commit or from another run's."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from larder.contract.endpoint import Nothing
from larder.contract.errors import Invalid, NotFound
from larder.contract.reading import (
    Code,
    CodeDiff,
    CodeDiffQuery,
    CodeFile,
    CodeQuery,
    CodeText,
    FileDiff,
    SkippedFile,
)
from larder.contract.runs import ArtifactFile
from larder_server.kernel.context import Context
from larder_server.runs.rules import patches, remotes
from larder_server.runs.rules.patches import Section
from larder_server.runs.service.packs import LARGEST_PACK, Files, Packs
from larder_server.runs.service.reading import found
from larder_server.runs.store import artifacts, runs
from larder_server.runs.store.runs import Record

log = logging.getLogger(__name__)

_PATCH, _FOLDER, _BUNDLE = "code/patch", "code/folder", "code/bundle"
_LARGEST_PATCH = 50_000_000
_LARGEST_FILE = 2_000_000
_LONGEST_TEXT = 1_000_000
_MOST_DIFFERENCES = 500

_packs = Packs()


@dataclass(frozen=True, kw_only=True)
class _State:
    """What is known here of the code of one run."""

    kind: str = "none"
    fact: Mapping[str, Any] = field(default_factory=dict)
    base: Files | None = None
    """The files of the commit, where they travelled with the run."""
    sections: dict[str, Section] = field(default_factory=dict)
    packed: dict[str, ArtifactFile] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every file is known."""
        return self.kind == "folder" or (self.kind == "git" and (self.base is not None or not self.commit))

    @property
    def commit(self) -> str:
        return _said(self.fact, "commit")

    @property
    def remote(self) -> str:
        return _said(self.fact, "remote")

    def paths(self) -> set[str]:
        """The files that there are."""
        if self.kind == "folder":
            return set(self.packed)
        gone = {path for path, section in self.sections.items() if section.change == patches.DELETED}
        return (set(self.base or ()) | set(self.sections)) - gone


def code(context: Context, _: Nothing, run_id: str) -> Code:
    """The files of the code that a run executed, by path. NotFound."""
    state = _state(context, found(context, run_id))
    files = []
    for path in sorted(state.paths() | set(state.sections)):
        section, kept = state.sections.get(path), state.packed.get(path)
        content = (state.base or {}).get(path)
        files.append(
            CodeFile(
                path=path, change=section.change if section else "",
                size=kept.size if kept else len(content) if content is not None and section is None else None,
                readable=_is_readable(state, path),
            )
        )  # fmt: skip
    skipped = state.fact.get("skipped")
    return Code(
        kind=state.kind, files=files, whole=state.whole, commit=state.commit, branch=_said(state.fact, "branch"),
        remote=state.remote, tree=_said(state.fact, "tree"), link=remotes.of_commit(state.remote, state.commit),
        skipped=[
            SkippedFile(path=_said(each, "path"), why=_said(each, "why"))
            for each in (skipped if isinstance(skipped, list) else []) if isinstance(each, Mapping)
        ],
    )  # fmt: skip


def code_file(context: Context, query: CodeQuery, run_id: str) -> CodeText:
    """The text of a file of a run's code. NotFound; Invalid: it is no text, or is not here."""
    state = _state(context, found(context, run_id))
    if query.path not in state.paths():
        raise NotFound(f"the code of run {run_id} has no file {query.path[:200]!r}")
    text = _text(context, state, query.path)
    if text is None:
        where = remotes.of_commit(state.remote, state.commit)
        raise Invalid(f"{query.path[:200]!r} is no text, or its text is not kept here", field="path",
                      hint=f"look at {where}" if where else "`larder code restore` brings all files back")  # fmt: skip
    return CodeText(path=query.path, text=text[:_LONGEST_TEXT], cut=len(text) > _LONGEST_TEXT)


def code_diff(context: Context, query: CodeDiffQuery, run_id: str) -> CodeDiff:
    """How the code of a run differs from its commit, or from that of the run `against`. NotFound."""
    state = _state(context, found(context, run_id))
    if not query.against:
        if state.kind != "git":
            return CodeDiff(files=[], note="The code was packed from a folder without git: there is no commit.")
        return CodeDiff(files=[_of_section(section) for section in state.sections.values()][:_MOST_DIFFERENCES])
    return _between(context, _state(context, found(context, query.against)), state)


def _between(context: Context, old: _State, new: _State) -> CodeDiff:
    if "none" in (old.kind, new.kind):
        which = "Neither of the runs has" if old.kind == new.kind else "One of the runs has no"
        return CodeDiff(files=[], whole=False, note=f"{which} recorded code.")
    if _said(old.fact, "tree") and old.kind == new.kind and _said(old.fact, "tree") == _said(new.fact, "tree"):
        return CodeDiff(files=[])
    files: list[FileDiff] = []
    together = old.whole and new.whole
    paths = old.paths() | new.paths() if together else set(old.sections) | set(new.sections)
    for path in sorted(paths):
        told = _whole_file(context, old, new, path) if together else _changed_file(context, old, new, path)
        if told is not None:
            files.append(told)
        if len(files) == _MOST_DIFFERENCES:
            break
    if together or old.commit == new.commit:
        return CodeDiff(files=files, whole=len(files) < _MOST_DIFFERENCES)
    return CodeDiff(
        files=files, whole=False, link=remotes.of_difference(new.remote, old.commit, new.commit),
        note=f"The runs were made from different commits, {old.commit[:10] or 'none'} and {new.commit[:10] or 'none'},"
        " of which not all files are kept here. Shown is how they differ in what was not committed.",
    )  # fmt: skip


def _whole_file(context: Context, old: _State, new: _State, path: str) -> FileDiff | None:
    had, has = path in old.paths(), path in new.paths()
    a, b = old.packed.get(path), new.packed.get(path)
    if a is not None and b is not None and a.hash == b.hash:
        return None
    before = _text(context, old, path) if had else ""
    after = _text(context, new, path) if has else ""
    change = patches.CHANGED if had and has else patches.ADDED if has else patches.DELETED
    if before is None or after is None:
        same = had and has and _mark(old, path) == _mark(new, path)
        return None if same else FileDiff(path=path, change=change)
    if before == after and had and has:
        return None
    body = patches.difference(before, after)
    added, removed = patches.counts(body)
    return FileDiff(path=path, change=change, diff=body, added=added, removed=removed)


def _changed_file(context: Context, old: _State, new: _State, path: str) -> FileDiff | None:
    a, b = old.sections.get(path), new.sections.get(path)
    if a is not None and b is not None and a.after == b.after:
        return None
    if old.commit == new.commit:
        if a is None and b is not None:
            return _of_section(b)
        if b is None and a is not None:
            back = {patches.ADDED: patches.DELETED, patches.DELETED: patches.ADDED}
            body = patches.reversed_body(a.body)
            added, removed = patches.counts(body)
            return FileDiff(path=path, change=back.get(a.change, a.change), diff=body, added=added, removed=removed)
        before, after = _text(context, old, path), _text(context, new, path)
        if before is not None and after is not None:
            body = patches.difference(before, after)
            added, removed = patches.counts(body)
            return FileDiff(path=path, change=patches.CHANGED, diff=body, added=added, removed=removed)
    body = patches.difference(a.body if a else "", b.body if b else "")
    added, removed = patches.counts(body)
    return FileDiff(path=path, change=patches.CHANGED, diff=body, added=added, removed=removed, of_changes=True)


def _of_section(section: Section) -> FileDiff:
    added, removed = patches.counts(section.body)
    return FileDiff(path=section.path, change=section.change, diff=section.body, added=added, removed=removed)


def _mark(state: _State, path: str) -> object:
    """What two contents that are no text are compared by."""
    if path in state.packed:
        return state.packed[path].hash
    section = state.sections.get(path)
    return section.after if section is not None else (state.base or {}).get(path)


def _is_readable(state: _State, path: str) -> bool:
    if path in state.packed:
        return state.packed[path].size <= _LARGEST_FILE
    section = state.sections.get(path)
    content = (state.base or {}).get(path)
    if section is None:
        return content is not None and b"\0" not in content[:8_000]
    if section.binary or section.change == patches.DELETED:
        return False
    return section.change == patches.ADDED or content is not None


def _text(context: Context, state: _State, path: str) -> str | None:
    """The text of a file; None where it is no text, or not known here."""
    if not _is_readable(state, path):
        return None
    if path in state.packed:
        data = context.objects.read(context.tenant, state.packed[path].hash)
        return None if b"\0" in data[:8_000] else data.decode("utf-8", "replace")
    section = state.sections.get(path)
    content = (state.base or {}).get(path) or b""
    if section is None:
        return content.decode("utf-8", "replace")
    base = "" if section.change == patches.ADDED else content.decode("utf-8", "replace")
    return patches.applied(section.body, base)


def _state(context: Context, record: Record) -> _State:
    fact = runs.fact_of(context, [record.seq], "code").get(record.seq)
    fact = fact if isinstance(fact, Mapping) else {}
    held = {
        name: artifact.files
        for name in (_PATCH, _FOLDER, _BUNDLE)
        if (artifact := artifacts.find(context, record.seq, name, 0)) is not None
    }
    if _FOLDER in held and fact.get("kind") != "git":
        return _State(kind="folder", fact=fact, packed={file.path: file for file in held[_FOLDER]})
    if fact.get("kind") != "git":
        return _State(fact=fact)
    sections: dict[str, Section] = {}
    if (patch := next(iter(held.get(_PATCH, ())), None)) is not None and patch.size <= _LARGEST_PATCH:
        data = context.objects.read(context.tenant, patch.hash)
        sections = {section.path: section for section in patches.sections(data)}
    base = _base(context, fact, next(iter(held.get(_BUNDLE, ())), None))
    return _State(kind="git", fact=fact, sections=sections, base=base)


def _base(context: Context, fact: Mapping[str, Any], file: ArtifactFile | None) -> Files | None:
    """The files of the commit, where all of them travelled with the run."""
    bundle = fact.get("bundle")
    if file is None or file.size > LARGEST_PACK or not isinstance(bundle, Mapping) or bundle.get("needs"):
        return None
    commit = _said(fact, "commit")
    if (known := _packs.remembered(file.hash, commit)) is not None:
        return known
    data = context.objects.read(context.tenant, file.hash)
    try:
        return _packs.open(file.hash, data, commit, tree=_said(bundle, "base"))
    except Exception as problem:  # whatever is wrong with a pack that somebody sent, the rest of the page is right
        log.info("the code of commit %s cannot be read: %s", commit[:12], problem)
        return None


def _said(fact: Mapping[str, Any], name: str) -> str:
    value = fact.get(name)
    return value if isinstance(value, str) else ""
