"""The interpreter of a run with the packages that it was recorded with: one that is here, or an environment built by uv."""

import contextlib
import hashlib
import importlib
import json
import os
import platform
import re
import selectors
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from larder.agent.cache import Cache, Cancelled, Entry, Interrupted, never
from larder.agent.executors import Order
from larder.agent.executors.process import ProcessExecutor
from larder.capture import packages as recording
from larder.capture.git import without_credentials_anywhere

LIMIT = 20_000_000_000
"""Bytes of built environments that are kept."""

TIMEOUT = 1800.0
"""Seconds after which uv is given up."""

INHERIT = "inherit"
RECORDED = "recorded"

LIBRARIES = ("blake3", "click", "msgspec", "psutil", "urllib3")
"""What the client stands on; an environment whose packages lack one of them has the agent's."""

Say = Callable[[str], None]

_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")
_BUILT_BY_CONDA = ("/croot/", "/feedstock_root/", "/conda-bld/")
_ASK = "import json,sys; print(json.dumps([sys.version.split()[0], sys.path, sys.prefix]))"
_COMPILE = """
import compileall, os, pathlib, sys
os.nice(19)
for path in pathlib.Path(sys.argv[1]).rglob("*.py"):
    if os.getppid() != int(sys.argv[2]):
        break
    compileall.compile_file(path, quiet=2)
"""
_INTERPRETERS = ".interpreters"
_RESOLVED = ".resolved"
_TOLD = 800


class Unbuildable(Exception):
    """There is no environment for the run on this machine; the text says why and what to do."""


def installer() -> str:
    """The path of uv: that of the package beside us, else the one on PATH; empty when there is none."""
    if util.find_spec("uv") is not None:
        with contextlib.suppress(ImportError, AttributeError, FileNotFoundError):
            return str(importlib.import_module("uv").find_uv_bin())
    return shutil.which("uv") or ""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How environments are built here.

    `variables` is the environment of uv: its own variables (UV_DEFAULT_INDEX, UV_INDEX, UV_FIND_LINKS, UV_NO_INDEX,
    UV_OFFLINE, UV_CACHE_DIR, …) say where packages come from. `pythons` are the interpreters that may be built upon;
    when empty, the agent's own and those that uv finds or, where it may, fetches.
    """

    uv: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    pythons: Sequence[str] = ()

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """From the environment of the agent; LARDER_PYTHONS holds paths of interpreters, separated as in PATH."""
        kept = {
            name: value
            for name, value in environment.items()
            if not name.startswith(("LARDER_", "PYTHON")) and name not in ("VIRTUAL_ENV", "CONDA_PREFIX")
        }
        pythons = [path for path in environment.get("LARDER_PYTHONS", "").split(os.pathsep) if path]
        return cls(uv=installer(), variables=kept, pythons=pythons)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a run asks for.

    `wish` is empty, `recorded`, `inherit`, or the path of an interpreter. `interpreter` and `python` (its version) are
    the recorded ones, `packages` name → version as recorded. `requirements` come on top. `lock` was resolved before for
    these `requirements`. `root` is the folder that the recorded code lay in.
    """

    wish: str = ""
    interpreter: str = ""
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    requirements: Sequence[str] = ()
    lock: str = ""
    root: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Python:
    """An interpreter that is ready. `folder`: of the built environment; `local`: folders of packages in the run's own
    code, below its root; `fact`: what to record of it.
    """

    executable: str
    prefix: str
    fact: Mapping[str, Any]
    folder: Path | None = None
    local: Sequence[Path] = ()
    entry: Entry | None = None

    def close(self) -> None:
        """It is no longer in use."""
        if self.entry is not None:
            self.entry.close()


@dataclass(frozen=True)
class _Interpreter:
    executable: str
    version: str
    prefix: str
    packages: Mapping[str, str]


@dataclass(frozen=True)
class _Plan:
    """What shall be installed: lines of a lock, the interpreter below it, and what had to change for it."""

    lock: str
    base: _Interpreter
    changed: Mapping[str, str] = field(default_factory=dict)


class Environments:
    """Environments in `root`; safe between threads and between processes. `get` may be asked by many at once."""

    def __init__(self, root: Path, limit: int = LIMIT, settings: Settings | None = None) -> None:
        self.root = root
        self.settings = settings or Settings.load()
        self._cache = Cache(root, limit)
        self._known: dict[str, tuple[list[tuple[str, int]], _Interpreter]] = {}
        self._bases: dict[str, _Interpreter] = {}
        self._lock = threading.Lock()
        self._executor = ProcessExecutor()

    def get(self, spec: Spec, *, say: Say = lambda _: None, cancelled: Cancelled = never) -> Python:
        """An interpreter as `spec` asks; builds its environment when nobody has before, telling `say` what takes time.

        Raises Unbuildable with a sentence, and Interrupted soon after `cancelled` answers true.
        """
        if spec.wish in (INHERIT, sys.executable) or os.sep in spec.wish:
            return self._given(spec)
        if spec.wish not in ("", RECORDED):
            raise Unbuildable(
                f"its environment is {spec.wish!r}, which is none of `recorded`, `inherit` and the path of an interpreter"
            )
        if not spec.wish and not spec.requirements:
            present = self._present(spec)
            if present is not None:
                return self._as_is(present, spec)
        began = time.monotonic()
        self.root.mkdir(parents=True, exist_ok=True)
        plan = self._plan(spec, say, cancelled)
        key = _digest("environment 1", plan.lock, plan.base.version, plan.base.executable, sysconfig.get_platform())
        entry = self._cache.get(
            key,
            lambda folder: self._build(folder, plan, say, cancelled),
            cancelled=cancelled,
            waits=lambda: say("waits for another run, for which the same environment is being built"),
        )
        fact = {
            "from": spec.wish,
            "hash": key,
            "python": plan.base.version,
            "lock": plan.lock,
            "requirements": list(spec.requirements),
            "resolved": list(spec.requirements),
            "seconds": round(time.monotonic() - began, 3),
            "reused": entry.reused,
        }
        if plan.changed:
            fact["changed"] = dict(plan.changed)
        prefix = entry.folder / "venv"
        if not entry.reused:
            threading.Thread(target=self._compile, args=(entry,), name="compile", daemon=True).start()
        return Python(
            executable=str(prefix / "bin" / "python"),
            prefix=str(prefix),
            fact=fact,
            folder=entry.folder,
            local=_local(spec),
            entry=entry,
        )

    # -- interpreters that are here

    def _given(self, spec: Spec) -> Python:
        executable = sys.executable if spec.wish == INHERIT else spec.wish
        if spec.requirements:
            raise Unbuildable(
                f"requirements were added ({', '.join(spec.requirements)}), but its environment is {spec.wish}, to which "
                "nothing is added; take the environment `recorded`"
            )
        if not os.access(executable, os.X_OK) or os.path.isdir(executable):
            raise Unbuildable(f"its environment is the interpreter {executable}, which is not on this machine")
        return self._as_is(self._interpreter(executable), spec)

    def _present(self, spec: Spec) -> _Interpreter | None:
        """The recorded interpreter, if it is here and has what it had; without one, ours on the same condition."""
        if not spec.packages:
            candidate = spec.interpreter if _is_program(spec.interpreter) else sys.executable
            return self._interpreter(candidate)
        for candidate in dict.fromkeys(filter(None, (spec.interpreter, "" if spec.interpreter else sys.executable))):
            if not _is_program(candidate):
                continue
            with contextlib.suppress(Unbuildable):
                found = self._interpreter(candidate)
                if "larder" in spec.packages and "larder" not in found.packages:
                    # `larder run` recorded the packages of its own interpreter, and this is that of the command.
                    return found
                if all(found.packages.get(name) == version for name, version in _wanted(spec.packages)):
                    return found
        return None

    def _as_is(self, found: _Interpreter, spec: Spec) -> Python:
        fact = {
            "from": spec.wish,
            "hash": "",
            "python": found.version,
            "executable": found.executable,
            "requirements": [],
            "seconds": 0.0,
            "reused": True,
        }
        return Python(executable=found.executable, prefix=found.prefix, fact=fact, local=_local(spec))

    def _interpreter(self, executable: str) -> _Interpreter:
        """What an interpreter is and has; asked once, and again when something in its folders was changed."""
        with self._lock:
            known = self._known.get(executable)
        place = self.root / _INTERPRETERS / f"{_digest(executable)}.json"
        if known is None:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                told = json.loads(place.read_text(encoding="utf-8"))
                stamps = [(str(path), int(changed)) for path, changed in told["stamps"]]
                known = stamps, _Interpreter(executable, told["version"], told["prefix"], told["packages"])
        if known is not None and known[0] == _stamps(path for path, _ in known[0]):
            with self._lock:
                self._known[executable] = known
            return known[1]
        quiet = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LARDER_"))}
        command = [executable, "-P", "-c", _ASK]
        try:
            asked = subprocess.run(command, env=quiet, capture_output=True, text=True, timeout=60, check=True)
            version, path, prefix = json.loads(asked.stdout)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise Unbuildable(f"the interpreter {executable} does not work on this machine: {error}") from error
        stamps = _stamps([executable, str(Path(prefix) / "pyvenv.cfg"), *path])
        found = _Interpreter(executable, version, prefix, recording.installed(path))
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            document = {"stamps": stamps, "version": version, "prefix": prefix, "packages": dict(found.packages)}
            _write(place, json.dumps(document))
        with self._lock:
            self._known[executable] = (stamps, found)
        return found

    # -- what shall be installed

    def _plan(self, spec: Spec, say: Say, cancelled: Cancelled) -> _Plan:
        base = self._base(spec.python, cancelled)
        pins = _pins(spec)
        if not _same_series(base.version, platform.python_version()):
            # Our own libraries are of another Python: they come from the index, at the versions that we know to work.
            pins = {name: f"{name}=={metadata.version(name)}" for name in LIBRARIES} | pins
        if not spec.requirements:
            return _Plan(_text(pins.values()), base)
        if spec.lock:
            return _Plan(spec.lock, base)
        where = [f"{name}={value}" for name, value in sorted(self.settings.variables.items()) if name.startswith("UV_")]
        key = _digest("resolved 1", _text(pins.values()), *sorted(spec.requirements), "", base.version, *where)
        place = self.root / _RESOLVED / f"{key}.json"
        with contextlib.suppress(OSError, ValueError, KeyError):
            told = json.loads(place.read_text(encoding="utf-8"))
            return _Plan(told["lock"], base, told["changed"])
        plan = self._resolve(spec, pins, base, say, cancelled)
        place.parent.mkdir(parents=True, exist_ok=True)
        _write(place, json.dumps({"lock": plan.lock, "changed": dict(plan.changed)}))
        return plan

    def _resolve(
        self, spec: Spec, pins: Mapping[str, str], base: _Interpreter, say: Say, cancelled: Cancelled
    ) -> _Plan:
        """A lock with the added requirements: with all recorded versions as they are, or, where they do not go together,
        with as few of them changed as uv finds.
        """
        added = ", ".join(spec.requirements)
        say(f"resolving the packages with {added}")
        drop = {_normal(requirement) for requirement in spec.requirements}
        pins = {name: line for name, line in pins.items() if name not in drop}
        scratch = self.root / _RESOLVED / f"{os.getpid()}.{time.monotonic_ns()}"
        scratch.mkdir(parents=True)
        wanted, lock = scratch / "wanted.txt", scratch / "lock.txt"
        command = ["pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-strip-extras"]
        command += ["--python", base.executable, "--output-file", str(lock), str(wanted)]
        changed: dict[str, str] = {}
        try:
            try:
                wanted.write_text(_text([*pins.values(), *spec.requirements]), encoding="utf-8")
                self._uv(command, cancelled=cancelled)
            except Unbuildable as refusal:
                if not pins:
                    raise Unbuildable(f"{added} cannot be resolved: {refusal}") from refusal
                # What stands in the lock already is what uv prefers: only what must change does.
                lock.write_text(_text(pins.values()), encoding="utf-8")
                loose = [name if "==" in line else line for name, line in pins.items()]
                wanted.write_text(_text([*loose, *spec.requirements]), encoding="utf-8")
                try:
                    self._uv(command, cancelled=cancelled)
                except Unbuildable as second:
                    raise Unbuildable(f"{added} cannot be resolved, whatever the other versions: {second}") from second
                versions = _versions(lock.read_text(encoding="utf-8"))
                for name, line in pins.items():
                    old = line.partition("==")[2]
                    if old and versions.get(name) != old:
                        changed[name] = f"{old} → {versions.get(name) or 'none'}"
                told = ", ".join(f"{name} {change}" for name, change in changed.items())
                say(f"{added} does not go with the recorded versions; changed: {told}")
            return _Plan(_text(lock.read_text(encoding="utf-8").splitlines()), base, changed)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _base(self, version: str, cancelled: Cancelled) -> _Interpreter:
        """An interpreter of the series (3.11, …) that was recorded; of the very version if there is a choice."""
        wanted = version or platform.python_version()
        with self._lock:
            known = self._bases.get(wanted)
        if known is not None:
            return known
        ours = getattr(sys, "_base_executable", "") or sys.executable
        candidates = [self._interpreter(path) for path in self.settings.pythons or [ours]]
        fitting = [each for each in candidates if _same_series(each.version, wanted)]
        fitting.sort(key=lambda each: each.version != wanted)
        if not fitting and self.settings.pythons:
            raise Unbuildable(
                f"it was recorded with Python {wanted}; of this series the agent has none "
                f"(LARDER_PYTHONS: {', '.join(self.settings.pythons)})"
            )
        if not fitting:
            series = ".".join(wanted.split(".")[:2])
            find = ["python", "find", "--no-project", series]
            try:
                try:
                    path = self._uv(find, cancelled=cancelled)
                except Unbuildable:
                    self._uv(["python", "install", series], cancelled=cancelled)
                    path = self._uv(find, cancelled=cancelled)
            except Unbuildable as refusal:
                raise Unbuildable(
                    f"it was recorded with Python {wanted}, and this machine has none of this series: {refusal}"
                ) from refusal
            fitting = [self._interpreter(path.strip())]
        with self._lock:
            self._bases[wanted] = fitting[0]
        return fitting[0]

    # -- building

    def _build(self, folder: Path, plan: _Plan, say: Say, cancelled: Cancelled) -> dict[str, Any]:
        began = time.monotonic()
        lines = plan.lock.splitlines()
        say(f"building an environment: Python {plan.base.version}, {len(lines)} packages")
        venv, lock = folder / "venv", folder / "lock.txt"
        lock.write_text(plan.lock, encoding="utf-8")

        def uv(*arguments: str) -> None:
            self._uv(arguments, say=say, cancelled=cancelled)

        try:
            uv("venv", "--quiet", "--no-project", "--relocatable", "--python", plan.base.executable, str(venv))
            if lines:
                python = str(venv / "bin" / "python")
                uv("pip", "sync", "--link-mode", "hardlink", "--python", python, str(lock))
        except Unbuildable as refusal:
            raise Unbuildable(
                f"its recorded packages cannot be installed: {refusal}. Name the index or folder that has them in the "
                "agent's UV_INDEX or UV_FIND_LINKS, or give the run the environment `inherit` or an interpreter"
            ) from refusal
        if _same_series(plan.base.version, platform.python_version()):
            _lend_libraries(folder / "libraries")
            site = next((venv / "lib").glob("python*/site-packages"))
            # Last on the path, so that what was recorded comes before what we bring.
            (site / "larder-libraries.pth").write_text("../../../../libraries\n", encoding="utf-8")
        seconds = time.monotonic() - began
        say(f"the environment is ready after {seconds:.1f} s")
        return {"python": plan.base.version, "seconds": round(seconds, 3), "packages": len(lines)}

    def _compile(self, entry: Entry) -> None:
        """Compile all modules, beside the first run: it compiles what it imports itself, and shall not wait for the rest."""
        again = self._cache.find(entry.folder.name)  # a hold of our own: the run may end before we do
        if again is None:
            return
        try:
            python = str(entry.folder / "venv" / "bin" / "python")
            command = [python, "-I", "-c", _COMPILE, str(entry.folder), str(os.getpid())]
            with contextlib.suppress(OSError):  # a machine that is short of processes: each run compiles what it needs
                subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                self._cache.measure(again)
        finally:
            again.close()

    def _uv(
        self,
        arguments: Sequence[str],
        *,
        say: Say = lambda _: None,
        cancelled: Cancelled = never,
    ) -> str:
        """The output of uv; its own words, without credentials, go to `say` and into the refusal."""
        if not self.settings.uv:
            raise Unbuildable("uv is not installed here; `pip install 'larder[agent]'` brings it")
        # As a run is executed: all that uv starts is kept together, and ends with it and with this agent.
        execution = self._executor.start(
            Order(
                run="environment",
                command=[self.settings.uv, "--color", "never", "--no-progress", *arguments],
                folder=self.root,
                work=self.root,
                journals=self.root,
                env={**self.settings.variables, "UV_NO_PROGRESS": "1"},
            )
        )
        heard = {execution.stdout: b"", execution.stderr: b""}
        told = 0
        deadline = time.monotonic() + TIMEOUT
        try:
            with selectors.DefaultSelector() as selector:
                for stream in heard:
                    selector.register(stream, selectors.EVENT_READ)
                while selector.get_map():
                    if cancelled():
                        raise Interrupted
                    if time.monotonic() > deadline:
                        raise Unbuildable(f"uv took longer than {TIMEOUT:.0f} s")
                    for ready, _ in selector.select(0.05):
                        data = os.read(ready.fd, 65536)
                        heard[ready.fd] += data
                        if not data:
                            selector.unregister(ready.fd)
                    *lines, _ = heard[execution.stderr].decode(errors="replace").split("\n")
                    for line in lines[told:]:
                        if line.strip() and not line.startswith((" +", " -", " ~", "Using Python")):
                            say(self._redacted(line.strip()))
                    told = len(lines)
        except BaseException:
            execution.stop(force=True)
            raise
        finally:
            ended = execution.wait()
            os.close(execution.stdout)
            os.close(execution.stderr)
        code = ended.code if ended is not None else 1
        output, words = (text.decode(errors="replace") for text in heard.values())
        if code:
            raise Unbuildable(_sentence(self._redacted(words)) or f"uv ended with status {code}")
        return output

    def _redacted(self, text: str) -> str:
        for name, value in self.settings.variables.items():
            if value and name.startswith("UV_") and name.endswith(("_PASSWORD", "_TOKEN")):
                text = text.replace(value, "****")
        return without_credentials_anywhere(text)


# -- helpers -------------------------------------------------------------------------------------------------------


def _is_program(path: str) -> bool:
    return bool(path) and os.access(path, os.X_OK) and not os.path.isdir(path)


def _same_series(one: str, other: str) -> bool:
    return one.split(".")[:2] == other.split(".")[:2]


def _is_ours(name: str) -> bool:
    return name == "larder" or name.startswith("larder-")


def _wanted(packages: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, str(version)) for name, version in packages.items() if name != "python" and not _is_ours(name)]


def _pins(spec: Spec) -> dict[str, str]:
    """A line of a lock for each recorded package. What lies in the run's own code has none: it is on the path."""
    pins: dict[str, str] = {}
    replaced = {_normal(requirement) for requirement in spec.requirements}
    for name, recorded in _wanted(spec.packages):
        version, _, url = recorded.partition(" @ ")
        if not url or any(part in url for part in _BUILT_BY_CONDA):
            pins[name] = f"{name}=={version}"
        elif not url.startswith("file:"):
            commit = re.search(r"@[0-9a-f]{40,64}$", url)
            pins[name] = f"{name} @ {'git+' if commit and not url.startswith('git+') else ''}{url}"
        elif _below(url, spec.root) is None and name not in replaced:
            raise Unbuildable(
                f"{name} {version} was installed from {_path(url)}, which is no part of the recorded code and in no index; "
                f"add the requirement {name}=={version} if an index has it, or give the run an interpreter that has it"
            )
    return pins


def _local(spec: Spec) -> list[Path]:
    """The folders, relative to the root of the code, of packages that were installed from there."""
    found = []
    for name, recorded in spec.packages.items():
        url = str(recorded).partition(" @ ")[2]
        inside = _below(url, spec.root) if url.startswith("file:") and not _is_ours(name) else None
        if inside is not None:
            found += [inside / "src", inside]
    return found


def _path(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def _below(url: str, root: Path | None) -> Path | None:
    if root is None:
        return None
    try:
        return _path(url).relative_to(root)
    except ValueError:
        return None


def _normal(requirement: str) -> str:
    found = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else requirement


def _versions(lock: str) -> dict[str, str]:
    pairs = (line.partition("==") for line in lock.splitlines() if "==" in line)
    return {_normal(name): version.split(";")[0].strip() for name, _, version in pairs}


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in sorted(line.strip() for line in lines) if line)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:32]


def _stamps(paths: Iterable[str]) -> list[tuple[str, int]]:
    stamps = []
    for path in paths:
        try:
            stamps.append((path, os.stat(path).st_mtime_ns))
        except OSError:
            stamps.append((path, 0))
    return stamps


def _write(place: Path, text: str) -> None:
    draft = place.with_name(f"{place.name}.{os.getpid()}.{threading.get_ident()}")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, place)


def _sentence(words: str) -> str:
    text = " ".join(re.sub(r"^[\s×╰╭─▶│├·]+|^error: ", "", line) for line in words.splitlines())
    text = re.sub(
        r"^(error: )?(No solution found when resolving dependencies:?\s*)?(cause: )?", "", " ".join(text.split())
    )
    return (text if len(text) <= _TOLD else f"{text[:_TOLD]}…").rstrip(". ")


def _lend_libraries(folder: Path) -> None:
    """Our own libraries, as links to the files that we run from; without their metadata, since nobody installed them."""
    for name in LIBRARIES:
        for file in metadata.distribution(name).files or ():
            first = file.parts[0]
            if first in ("..", "__pycache__") or first.endswith((".dist-info", ".egg-info")) or file.suffix == ".pyc":
                continue
            source, target = str(file.locate()), folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)
