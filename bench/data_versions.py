"""Data versions: many small files, few large ones, a little that changed; beside the limits of the machine, and peers."""

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from bench.harness import Bench, Failed, Server
from bench.table import Beside, Row

COMMIT, LINKED, COPIED, FASTER = 2.0, 1.5, 1.5, 5.0
"""Bars of A: as multiples of reading and hashing once, of a hard-link copy, of a copy; how much faster than DVC."""

OF_LIMIT, MEMORY = 60.0, 300.0
"""Bars of B: per cent of the lower limit, megabytes."""

AGAIN, EXTRA = 0.15, 200.0
"""Bars of C: of the commit of A, kilobytes beyond the changed content."""

_PIECE = 1 << 22


def measure(bench: Bench) -> Iterator[Row]:
    """The rows of this subject."""
    files = 5_000 if bench.quick else 50_000
    with bench.larder() as server:
        many = _many(bench.new_folder("many") / "photos", files)
        yield from _small(bench, server, many, files)
        large = _large(bench.new_folder("large") / "films", (1 << 26) if bench.quick else (1 << 30))
        yield from _long(bench, server, large)


def _small(bench: Bench, server: Server, many: Path, files: int) -> Iterator[Row]:
    homes = [bench.new_folder("home") for _ in range(2)]
    read = min(_seconds(lambda: _read_and_hash(many)) for _ in range(2))
    first = _child(bench, server, homes[0], "commit", "photos", many)
    peer = _dvc(bench, many)
    size = sum(each.stat().st_size for each in many.rglob("*.jpg")) / 1e6
    yield Row(
        what="A: commit of small files, over reading and hashing them once", value=first["seconds"] / read, unit="×",
        bar=COMMIT, beside=[Beside(name="read and BLAKE3, once", value=read, unit="s"),
                            Beside(name="Larder", value=first["seconds"], unit="s"), *peer.committed],
        note=f"{files:,} files of 2-20 KB that do not get smaller, {size:.0f} MB, in the page cache; to a server on this"
        " machine that keeps them in a folder and checks each chunk, so both share the processor",
    )  # fmt: skip
    if peer.commit:
        yield _faster("A: commit, faster than DVC (`dvc add` and `dvc push`)", peer.commit, first["process"])
    fresh = _child(bench, server, homes[1], "get", "photos", bench.folder / "from-store")
    copied = _seconds(lambda: subprocess.run(["cp", "-r", many, bench.folder / "copied"], check=True))
    yield Row(
        what="A: get with an empty cache, over `cp -r`", value=fresh["seconds"] / copied, unit="×", bar=COPIED,
        beside=[Beside(name="cp -r", value=copied, unit="s"), Beside(name="Larder", value=fresh["seconds"], unit="s")],
        note="each chunk checked; each file gets a name in the cache and one in the tree",
    )  # fmt: skip
    again = _child(bench, server, homes[1], "get", "photos", bench.folder / "from-cache")
    linked = _seconds(
        lambda: subprocess.run(["cp", "-rl", bench.folder / "copied", bench.folder / "linked"], check=True)
    )
    yield Row(
        what="A: get from the cache, over a hard-link copy", value=again["seconds"] / linked, unit="×", bar=LINKED,
        beside=[Beside(name="cp -rl", value=linked, unit="s"), Beside(name="Larder", value=again["seconds"], unit="s"),
                *peer.checked_out],
    )  # fmt: skip
    if peer.checkout:
        yield _faster("A: get from the cache, faster than `dvc checkout`", peer.checkout, again["process"])
    changed = _change(many, files)
    time.sleep(2.5)  # what was modified within two seconds is not trusted by the next scan
    second = _child(bench, server, homes[0], "commit", "photos", many)
    yield Row(
        what="C: commit of 1 % changed, 1 % added, 0.5 % removed, over that of A",
        value=second["seconds"] / first["seconds"], unit="×", bar=AGAIN,
        beside=[Beside(name="Larder", value=second["seconds"], unit="s")],
        note="signatures of the folder are known from the commit of A",
    )  # fmt: skip
    yield Row(
        what="C: sent beyond the changed content", value=(second["sent"] - changed) / 1e3, unit="kB", bar=EXTRA,
        note=f"changed content {changed / 1e6:.1f} MB",
    )  # fmt: skip
    third = _child(bench, server, homes[1], "get", "photos", bench.folder / "newer")
    yield Row(
        what="C: received by a get beside the version before, beyond the changed content",
        value=(third["received"] - changed) / 1e3, unit="kB", bar=EXTRA,
        beside=[Beside(name="Larder", value=third["seconds"], unit="s")],
    )  # fmt: skip


def _long(bench: Bench, server: Server, large: Path) -> Iterator[Row]:
    size = sum(each.stat().st_size for each in large.iterdir()) / 1e6
    hashed = size / min(_seconds(lambda: _read_and_hash(large)) for _ in range(2))
    written = size / 4 / _seconds(lambda: _write(bench.folder / "written", int(size * 1e6 / 4)))
    found = _child(bench, server, bench.new_folder("home"), "commit", "films", large)
    rate, limit = size / found["seconds"], min(hashed, written)
    yield Row(
        what="B: commit of four large files, of the lower limit", value=100 * rate / limit, unit="%", bar=OF_LIMIT,
        better="high",
        beside=[Beside(name="Larder", value=rate, unit="MB/s"), Beside(name="BLAKE3 once", value=hashed, unit="MB/s"),
                Beside(name="the disk, written and flushed", value=written, unit="MB/s"), _lfs(bench)],
        note=f"{size:.0f} MB of random bytes; read, cut, hashed as a whole and in chunks here, and received, hashed,"
        " written, read back and hashed again by the server on the same processor",
    )  # fmt: skip
    yield Row(what="B: most memory of that commit", value=found["memory"], unit="MB", bar=MEMORY)


def _child(bench: Bench, server: Server, home: Path, verb: str, name: str, folder: Path) -> dict[str, Any]:
    began = time.perf_counter()
    found = bench.child("data_version", verb, name, folder, environment=server.environment(home), timeout=1800)
    return {**found, "process": time.perf_counter() - began}


def _faster(what: str, peer: float, ours: float) -> Row:
    return Row(what=what, value=peer / ours, unit="×", bar=FASTER, better="high", note="both as whole processes")


# -- what is committed ---------------------------------------------------------------------------------------------


def _many(folder: Path, files: int) -> Path:
    chance = random.Random(1)
    for number in range(files):
        place = folder / f"{number % 100:02d}" / f"{number}.jpg"
        if number < 100:
            place.parent.mkdir(parents=True)
        place.write_bytes(chance.randbytes(chance.randrange(2_000, 20_000)))
    os.sync()
    time.sleep(2.5)
    return folder


def _change(folder: Path, files: int) -> int:
    """Bytes of new content."""
    chance = random.Random(2)
    chosen = chance.sample(range(files), files // 100 + files // 200)
    total = 0
    for number in chosen[: files // 100]:
        content = chance.randbytes(10_000)
        (folder / f"{number % 100:02d}" / f"{number}.jpg").write_bytes(content)
        (folder / f"{number % 100:02d}" / f"new-{number}.jpg").write_bytes(content[::-1])
        total += 2 * len(content)
    for number in chosen[files // 100 :]:
        (folder / f"{number % 100:02d}" / f"{number}.jpg").unlink()
    return total


def _large(folder: Path, size: int) -> Path:
    chance = random.Random(3)
    folder.mkdir()
    for number in range(4):
        with (folder / f"{number}.bin").open("wb") as file:
            for _ in range(0, size, _PIECE):
                file.write(chance.randbytes(_PIECE))
    os.sync()
    return folder


# -- limits ----------------------------------------------------------------------------------------------------------


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _read_and_hash(folder: Path) -> None:
    for where, _, names in os.walk(folder):
        for name in names:
            hasher = blake3(max_threads=blake3.AUTO)
            with open(os.path.join(where, name), "rb", buffering=0) as file:
                while piece := file.read(_PIECE):
                    hasher.update(piece)
            hasher.digest()


def _write(place: Path, size: int) -> None:
    piece = random.Random(4).randbytes(_PIECE)
    with place.open("wb", buffering=0) as file:
        for _ in range(0, size, _PIECE):
            file.write(piece)
        os.fsync(file.fileno())
    place.unlink()


# -- peers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Dvc:
    """Seconds of DVC for the same, or why there are none."""

    commit: float = 0.0
    checkout: float = 0.0
    committed: tuple[Beside, ...] = ()
    checked_out: tuple[Beside, ...] = ()


def _dvc(bench: Bench, many: Path) -> Dvc:
    """DVC with hard links from its cache and a folder as remote."""
    found: list[float] = []

    def work() -> list[float]:
        folder = bench.new_folder("dvc")
        shutil.copytree(many, folder / "photos")
        call = [str(bench.peers.python), "-m", "dvc"]

        def dvc(*arguments: str) -> float:
            began = time.perf_counter()
            done = subprocess.run(
                [*call, *arguments],
                cwd=folder,
                env={**os.environ, "DVC_NO_ANALYTICS": "1"},
                capture_output=True,
                text=True,
                timeout=1800,
            )
            if done.returncode:
                raise Failed(f"dvc {arguments[0]}: {done.stderr.strip()[-300:]}")
            return time.perf_counter() - began

        dvc("init", "--no-scm", "--quiet")
        dvc("config", "core.analytics", "false")
        dvc("config", "cache.type", "hardlink")
        dvc("remote", "add", "--default", "store", str(bench.new_folder("remote")))
        commit = dvc("add", "--quiet", "photos") + dvc("push", "--quiet")
        shutil.rmtree(folder / "photos")
        found.extend([commit, dvc("checkout", "--quiet")])
        return found

    beside = bench.beside(["dvc add and push", "dvc checkout"], "s", work)
    if not found:
        return Dvc(committed=(beside[0],), checked_out=(beside[1],))
    return Dvc(commit=found[0], checkout=found[1], committed=(beside[0],), checked_out=(beside[1],))


def _lfs(bench: Bench) -> Beside:
    """git-lfs is a program, not a package: it is measured where the machine has it."""
    if not shutil.which("git-lfs"):
        return Beside(name="git-lfs", why="not on PATH")
    folder = bench.new_folder("lfs")
    data = random.Random(5).randbytes(1 << 28)
    (folder / "film.bin").write_bytes(data)
    me = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "--quiet"], ["lfs", "install", "--local"], ["lfs", "track", "*.bin"]):
        subprocess.run([*me, *command], cwd=folder, check=True, capture_output=True)
    began = time.perf_counter()
    for command in (["add", "."], ["commit", "--quiet", "-m", "film"]):
        subprocess.run([*me, *command], cwd=folder, check=True, capture_output=True)
    return Beside(
        name="git-lfs (add and commit, 0.27 GB)", value=len(data) / 1e6 / (time.perf_counter() - began), unit="MB/s"
    )
