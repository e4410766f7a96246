"""Write the golden OpenAPI document, and refuse to take anything away from those who call it."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from larder_server import app

GOLDEN = Path(__file__).resolve().parent.parent / "docs" / "reference" / "openapi.json"


def main() -> int:
    """Write the document; with `--breaking` also one that lacks something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--breaking", action="store_true", help="take something away; the changelog must say what")
    arguments = parser.parse_args()
    new = app.api_document()
    old = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    gone = list(removed(old, new))
    if gone and not arguments.breaking:
        print("make openapi: refused, callers may rely on what would go:", *gone, sep="\n  ", file=sys.stderr)
        print("If it must be: make openapi ARGS=--breaking, and a line in CHANGELOG.md", file=sys.stderr)
        return 1
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(text(new), encoding="utf-8")
    print(f"make openapi: {len(new['paths'])} paths in {GOLDEN.name}")
    return 0


def text(document: dict[str, Any]) -> str:
    """The document as it is kept: readable, and the same text for the same content."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def removed(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What a caller may rely on in `old` and does not find in `new`."""
    for path, operations in old.get("paths", {}).items():
        for method, operation in operations.items():
            here = f"{method.upper()} {path}"
            now = new.get("paths", {}).get(path, {}).get(method)
            if now is None:
                yield here
                continue
            before, after = _parameters(operation), _parameters(now)
            yield from (f"{here}: the parameter {name}" for name in before if name not in after)
            yield from (
                f"{here}: the parameter {name} became required"
                for name, parameter in after.items()
                if parameter.get("required") and not before.get(name, {}).get("required")
            )
            if "requestBody" in now and "requestBody" not in operation:
                yield f"{here}: a body became required"
    schemas = new.get("components", {}).get("schemas", {})
    for name, schema in old.get("components", {}).get("schemas", {}).items():
        if name not in schemas:
            yield f"the schema {name}"
            continue
        now = schemas[name]
        yield from (
            f"{name}.{field}" for field in schema.get("properties", {}) if field not in now.get("properties", {})
        )
        yield from (
            f"{name}: the value {value!r}" for value in schema.get("enum", []) if value not in now.get("enum", [])
        )
        yield from (
            f"{name}.{field} became required"
            for field in now.get("required", [])
            if field not in schema.get("required", [])
        )
        for field, shape in schema.get("properties", {}).items():
            after = now.get("properties", {}).get(field, shape)
            if "type" in shape and shape.get("type") != after.get("type"):
                yield f"{name}.{field}: the type {shape['type']}"


def _parameters(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {parameter["name"]: parameter for parameter in operation.get("parameters", [])}


if __name__ == "__main__":
    sys.exit(main())
