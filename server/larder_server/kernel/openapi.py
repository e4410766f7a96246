"""The OpenAPI document, written from the routes; nobody edits it by hand."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from larder.contract.endpoint import Bytes, Feed, Nothing, Problem
from larder.contract.errors import BY_CODE
from larder_server.kernel.routing import Route

_REF = "#/components/schemas/{name}"
# 3.0.3 and not 3.1: the viewer that we ship offline reads up to 3.0
_VERSION = "3.0.3"


def document(routes: Sequence[Route], *, version: str) -> dict[str, Any]:
    """The document for these routes, in the same order at every call."""
    kinds = _kinds(routes)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in sorted(routes, key=lambda route: (route.endpoint.path, route.endpoint.method)):
        paths.setdefault(route.endpoint.path, {})[route.endpoint.method.lower()] = _operation(
            route, schema_of, components
        )
    return {
        "openapi": _VERSION,
        "info": {
            "title": "Larder",
            "version": version,
            "description": "Bodies and answers are JSON or `application/msgpack`; every refusal is a `Problem`.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {name: _plain(schema) for name, schema in sorted(components.items())},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _kinds(routes: Sequence[Route]) -> list[Any]:
    kinds: dict[Any, None] = {Problem: None}
    for route in routes:
        for kind in (route.endpoint.body, route.endpoint.result):
            if kind not in (Bytes, Feed):
                kinds[kind] = None
    return list(kinds)


def _operation(route: Route, schema_of: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    endpoint = route.endpoint
    tag = endpoint.path.split("/")[2]
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]
    operation: dict[str, Any] = {
        "tags": [tag],
        "operationId": re.sub(r"\W+", "_", f"{endpoint.method.lower()}{endpoint.path.removeprefix('/v1')}").strip("_"),
        "summary": endpoint.summary,
        "x-role": endpoint.role.value,
        "responses": {
            "200": {"description": "Done", "content": _answered(endpoint.result, schema_of)},
            **{
                str(kind.status): {
                    "description": (kind.__doc__ or "").strip().splitlines()[0],
                    "content": {"application/json": {"schema": {"$ref": _REF.format(name="Problem")}}},
                }
                for kind in sorted(BY_CODE.values(), key=lambda kind: kind.status)
                if kind.status != 500
            },
        },
    }
    if endpoint.method in ("GET", "DELETE"):
        parameters += _query(endpoint.body, components)
    elif endpoint.body is not Nothing:
        operation["requestBody"] = {"required": True, "content": _content(endpoint.body, schema_of)}
    if parameters:
        operation["parameters"] = parameters
    return operation


def _query(body: type[Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    if body is Nothing:
        return []
    schema = components[body.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _plain(inner)}
        for name, inner in schema["properties"].items()
    ]


def _answered(kind: Any, schema_of: dict[Any, Any]) -> dict[str, Any]:
    content = _content(kind, schema_of)
    if kind is Bytes:  # a file says itself what it is: text/csv, image/png …
        content["*/*"] = content["application/octet-stream"]
    return content


def _content(kind: Any, schema_of: dict[Any, Any]) -> dict[str, Any]:
    if kind is Bytes:
        return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    if kind is Feed:
        return {"text/event-stream": {"schema": {"type": "string"}}}
    return {"application/json": {"schema": _plain(schema_of[kind])}}


def _plain(schema: Any) -> Any:
    """JSON Schema 2020-12 said in the words of OpenAPI 3.0: null becomes `nullable`."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _plain(value) for key, value in schema.items()}
    if schema.pop("contentEncoding", None) == "base64":
        schema["format"] = "byte"
    choices = schema.get("anyOf")
    if choices and {"type": "null"} in choices:
        left = [choice for choice in choices if choice != {"type": "null"}]
        del schema["anyOf"]
        schema["nullable"] = True
        if len(left) == 1 and "$ref" not in left[0]:
            return {**left[0], **schema}
        schema["anyOf" if len(left) > 1 else "allOf"] = left
    return schema
