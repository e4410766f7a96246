"""What importing costs: nothing for `import larder`, no third-party module for a run that is recorded."""

import subprocess
import sys

import pytest

import larder

THIRD = ("msgspec", "urllib3", "blake3", "psutil", "click", "numpy", "pandas", "typing_extensions")


def loaded(code: str, **env: str) -> set[str]:
    show = "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code + show], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_larder_loads_nothing_else() -> None:
    assert loaded("import larder") - loaded("") <= {"larder", "importlib", "warnings", "_warnings"}


def test_a_recorded_run_loads_no_third_party_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARDER_MODE", "offline")
    code = "import larder; run = larder.init(); run.log({'a': 1.0}); run.finish()"
    assert not loaded(code) & set(THIRD)


def test_init_and_log_load_no_third_party_module_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARDER_MODE", "offline")
    assert not loaded("import larder; run = larder.init(); run.log({'a': 1.0})") & set(THIRD)


def test_the_public_names_are_these() -> None:
    assert (
        dir(larder)
        == ["RecordedRun", "Run", "__version__", "compare", "current", "data", "init", "run", "runs", "submit"]
        == sorted(larder.__all__)
    )
    with pytest.raises(AttributeError, match="finish"):
        larder.finish  # type: ignore[attr-defined]
