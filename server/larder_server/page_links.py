"""What a page of web/ needs first, named in the answer itself: the browser fetches it beside the first script.

Its code by the build's manifest; its data under the very address that the page will ask for (see `address` in
web/src/api/client.ts), or the browser would fetch it twice. tests/browser/test_page_links.py holds both together.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from larder.contract.ids import is_id

_FOLDERS = {"": "home", "projects": "runs"}
"""Folders of web/src/pages whose name is not the first word of the address."""
_TABS = {
    "overview": "Overview", "metrics": "Metrics", "params": "Params", "console": "Console", "samples": "Samples",
    "artifacts": "Artifacts", "code": "CodeTab", "environment": "Environment", "machine": "Machine",
    "lineage": "LineageTab", "events": "Events",
}  # fmt: skip
_TABLE_STATE = frozenset(
    ("where", "text", "sort", "cols", "pin", "w", "group", "baseline", "archived", "facets", "view", "project")
)
_MOST_COMPARED = 50


def links(path: str, query: Mapping[str, str], manifest: str) -> str:
    """The value of the header `Link` for a page's address; empty where nothing is known of it.

    `manifest` is what the build wrote of its files, as JSON.
    """
    parts: dict[str, dict[str, Any]] = json.loads(manifest)
    words = path.strip("/").split("/")
    on_run = words[0] == "runs" and len(words) > 1
    sources = [f"src/pages/{'run' if on_run else _FOLDERS.get(words[0], words[0])}/index.tsx"]
    if on_run:
        sources.append(f"src/pages/run/{_TABS.get(words[2] if len(words) > 2 else 'overview', 'Overview')}.tsx")
    found = [parts[source] for source in sources if source in parts]
    if not found:
        return ""
    code = [
        file
        for part in found
        for file in (
            part["file"],
            *(parts[other]["file"] for other in part.get("imports", ()) if other != "index.html"),
        )
    ]
    sheets = [file for part in found for file in part.get("css", ())]
    return ", ".join(
        [
            *(f"</{file}>; rel=modulepreload" for file in dict.fromkeys(code)),
            *(f"</{file}>; rel=preload; as=style; crossorigin" for file in dict.fromkeys(sheets)),
            *(f"<{address}>; rel=preload; as=fetch; crossorigin" for address in _data(words, query)),
        ]
    )


def _data(words: Sequence[str], query: Mapping[str, str]) -> list[str]:
    match words:
        case ["runs", id, *_] if is_id(id):
            return [f"/v1/runs/{id}"]
        case ["runs"] | ["projects", *_] if _TABLE_STATE.isdisjoint(query):
            project = "/".join(words[1:])
            asked = {
                "project": project, "archived": "false", "order_by": "created desc", "columns": "*", "limit": "100",
                "offset": "0",
            }  # fmt: skip
            # as browsers write a query
            text = urlencode({name: value for name, value in asked.items() if value}, safe="*").replace("~", "%7E")
            return [f"/v1/runs/table?{text}"]
        case ["compare"]:
            ids = list(dict.fromkeys(id for id in query.get("runs", "").split(",") if id))
            if 2 <= len(ids) <= _MOST_COMPARED and all(is_id(id) for id in ids):
                system = "true" if query.get("system") == "1" else "false"
                return [f"/v1/compare?{'&'.join(f'runs={id}' for id in ids)}&system={system}"]
    return []
