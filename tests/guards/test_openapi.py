"""The kept OpenAPI document is what the server says, and changes to it only add."""

import copy
import json

import pytest

from larder_server import app
from tools import openapi

OLD = {
    "paths": {
        "/v1/runs": {
            "get": {"parameters": [{"name": "where", "in": "query", "required": False}]},
            "post": {"requestBody": {"required": True}},
        },
        "/v1/runs/{id}/stop": {"post": {}},
    },
    "components": {
        "schemas": {
            "Run": {"properties": {"id": {"type": "string"}, "name": {"type": "string"}}, "required": ["id"]},
            "Status": {"enum": ["queued", "running"]},
        }
    },
}
RUN = ("components", "schemas", "Run")


def changed(*path, to):
    new = copy.deepcopy(OLD)
    place = new
    for step in path[:-1]:
        place = place[step]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return new


def test_the_kept_document_is_what_the_server_says():
    kept = json.loads(openapi.GOLDEN.read_text(encoding="utf-8"))
    new = app.api_document()
    assert not list(openapi.removed(kept, new)), "this breaks callers"
    assert openapi.text(kept) == openapi.text(new), "run `make openapi` and look at what changed"


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        changed("paths", "/v1/queues", to={"get": {}}),
        changed(*RUN, "properties", "notes", to={"type": "string"}),
        changed("components", "schemas", "Status", "enum", to=["queued", "running", "lost"]),
        changed(
            "paths", "/v1/runs", "get", "parameters",
            to=[{"name": "where", "required": False}, {"name": "limit", "required": False}],
        ),
    ],
)  # fmt: skip
def test_what_is_added_breaks_nobody(new):
    assert list(openapi.removed(OLD, new)) == []


@pytest.mark.parametrize(
    "new",
    [
        changed("paths", "/v1/runs", to=None),
        changed("paths", "/v1/runs", "post", to=None),
        changed("paths", "/v1/runs", "get", "parameters", to=[]),
        changed("paths", "/v1/runs", "get", "parameters", to=[{"name": "where", "required": True}]),
        changed("paths", "/v1/runs/{id}/stop", "post", to={"requestBody": {"required": True}}),
        changed(*RUN, to=None),
        changed(*RUN, "properties", "name", to=None),
        changed(*RUN, "properties", "name", to={"type": "integer"}),
        changed(*RUN, "required", to=["id", "name"]),
        changed("components", "schemas", "Status", "enum", to=["queued"]),
    ],
)
def test_what_is_taken_away_is_found(new):
    assert list(openapi.removed(OLD, new))
