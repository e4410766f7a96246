"""`larder doctor`: what is wrong with this machine's set-up, and the mend."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

import larder
from larder import config, supervise
from larder.cli import output
from larder.contract import tenants
from larder.contract.endpoint import Endpoint, Nothing, Role
from larder.contract.errors import Denied, LarderError, Unavailable
from larder.journal import reader, shipper
from larder.transport import Transport

LEAST_SPACE = 1_000_000_000
"""Bytes free below which a day of training may not find room for its journals."""

MOST_SKEW = 5.0
"""Seconds by which clocks may differ before curves of several machines stop lining up."""


@dataclass(frozen=True)
class Health:
    """What a server says of itself to anybody; its time in UTC microseconds."""

    version: str = ""
    time: int = 0


HEALTH = Endpoint("GET", "/healthz", Nothing, Health, "Whether the process lives")


@dataclass(frozen=True)
class Finding:
    """One check: fine or not, what was seen, and what to do."""

    check: str
    ok: bool
    seen: str
    mend: str = ""


@click.command("doctor")
@output.as_json
def doctor(as_json: bool) -> None:
    """Check this machine's set-up; each trouble comes with its mend. Exits with 1 when something is wrong."""
    findings = []
    for finding in examine():
        findings.append(finding)
        if as_json:
            continue
        mark = click.style("ok   ", fg="green") if finding.ok else click.style("WRONG", fg="red")
        click.echo(f"{mark}  {finding.check}: {finding.seen}")
        if finding.mend:
            click.echo(f"       → {finding.mend}")
    if as_json:
        output.document(findings)
    wrong = sum(not finding.ok for finding in findings)
    output.say(f"{wrong} of {len(findings)} checks found something wrong." if wrong else "All is well.")
    if wrong:
        raise click.exceptions.Exit(1)


def examine() -> Iterator[Finding]:
    """All checks, in the order in which they depend on one another."""
    yield Finding("larder", True, f"version {larder.__version__}, Python {sys.version.split()[0]} ({sys.executable})")
    try:
        settings = config.load()
    except LarderError as error:
        yield Finding("configuration", False, str(error), error.hint)
        settings = None
    if settings is not None:
        yield Finding("configuration", True, f"home {settings.home}, server {settings.url}")
        yield from _guarded("home folder", lambda: _home(settings))
        yield from _server(settings)
        yield from _guarded("journals", lambda: _journals(settings))
    yield _git()
    yield from _guarded("start hook", _hook)
    mode = os.environ.get("LARDER_MODE", "online")
    if mode != "online":
        known = mode in ("offline", "disabled")
        mend = "Unset LARDER_MODE to send runs as they go." if known else "Set it to online, offline or disabled."
        yield Finding("LARDER_MODE", known, mode, mend)


def _guarded(check: str, look: Callable[[], Finding]) -> Iterator[Finding]:
    try:
        yield look()
    except (LarderError, OSError) as error:
        yield Finding(check, False, str(error))


def _home(settings: config.Config) -> Finding:
    settings.home.mkdir(parents=True, exist_ok=True)
    probe = settings.home / f".doctor.{os.getpid()}"
    probe.write_bytes(b"")
    probe.unlink()
    free = shutil.disk_usage(settings.home).free
    return Finding(
        "disk",
        free >= LEAST_SPACE,
        f"{output.size(free)} free in {settings.home}",
        "" if free >= LEAST_SPACE else "Make room, or set LARDER_HOME to a folder on a larger disk.",
    )


def _server(settings: config.Config) -> Iterator[Finding]:
    transport = Transport(settings.url, settings.token, retries=0)
    try:
        before = time.time()
        answer = transport.call(HEALTH)
        after = time.time()
    except LarderError as error:
        mend = "Start one with `larder up`, or name another in LARDER_URL or with `larder login URL`."
        yield Finding("server", False, str(error), mend)
        return
    version = answer.version
    matches = version.split(".")[:2] == larder.__version__.split(".")[:2]
    yield Finding(
        "server",
        matches or not version,
        f"{settings.url} answers in {(after - before) * 1000:.0f} ms" + (f", version {version}" if version else ""),
        "" if matches or not version else f"This client is {larder.__version__}: install one version on both sides.",
    )
    try:
        who = transport.call(tenants.WHOAMI, Nothing())
    except Denied as error:
        yield Finding("token", False, str(error), "Ask an admin for a token, then `larder login URL`.")
    except Unavailable as error:
        yield Finding("token", False, str(error), error.hint)
    else:
        can_record = who.role.includes(Role.CONTRIBUTOR)
        yield Finding(
            "token",
            can_record,
            f"{who.user} of {who.tenant}, {who.role}",
            "" if can_record else "A viewer cannot record runs: ask an admin for a contributor's token.",
        )
    if answer.time:
        skew = answer.time / 1e6 - (before + after) / 2
        bound = MOST_SKEW + (after - before)
        yield Finding(
            "clock",
            abs(skew) <= bound,
            f"{abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} the server's",
            "" if abs(skew) <= bound else "Let a time service set this machine's clock.",
        )


def _journals(settings: config.Config) -> Finding:
    waiting = alive = size = 0
    for folder in settings.runs.glob("*"):
        if not folder.is_dir():
            continue
        if shipper.alive(folder):
            alive += 1
            continue
        waiting += 1
        for journal in reader.journals(folder):
            size += max(0, journal.size - journal.acknowledged)
            journal.close()
    seen = f"{waiting} runs wait to be sent ({output.size(size)}), {alive} are running"
    return Finding("journals", not waiting, seen, "`larder sync` sends them." if waiting else "")


def _git() -> Finding:
    git = shutil.which("git")
    if git is None:
        return Finding("git", False, "not found", "Install git: without it, code is recorded less exactly.")
    try:
        asked = subprocess.run([git, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("git", False, f"{git} does not work: {error}", "Install git anew.")
    return Finding("git", True, asked.stdout.strip())


def _hook() -> Finding:
    place = supervise.HOOK / "sitecustomize.py"
    if not place.is_file():
        return Finding("start hook", False, f"{place} is missing", "Install larder anew: `larder run` needs the file.")
    missing = [name for name in ("blake3", "msgspec", "psutil", "urllib3") if importlib.util.find_spec(name) is None]
    if missing:
        names = " ".join(missing)
        return Finding("start hook", False, f"{names} cannot be imported", f"pip install {names}")
    environment = {**os.environ, "PYTHONPATH": str(supervise.HOOK), "LARDER_HOOK": "1", "LARDER_MODE": "disabled"}
    command = [sys.executable, "-c", ""]
    probe = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment)
    if probe.returncode or probe.stderr.strip():
        said = probe.stderr.strip().splitlines()
        seen = said[-1] if said else f"exit status {probe.returncode}"
        return Finding("start hook", False, seen, "Report this line.")
    return Finding("start hook", True, "works with this Python")
