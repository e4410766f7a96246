"""What one can do with datasets and their versions."""

from larder_server.datasets.service.collecting import collect, collect_daily
from larder_server.datasets.service.merging import merge
from larder_server.datasets.service.naming import (
    aliases,
    change,
    change_version,
    create,
    delete,
    drop_alias,
    every,
    get,
    resolve,
    set_alias,
    use,
    uses,
    version,
    versions,
)
from larder_server.datasets.service.reading import (
    diff,
    entries,
    folder,
    item,
    pack_bytes,
    places,
    read,
    verify,
)
from larder_server.datasets.service.writing import (
    close_pack,
    commit,
    delete_version,
    expire,
    lacking,
    open_,
    open_pack,
    write,
)

__all__ = [
    "aliases", "change", "change_version", "close_pack", "collect", "collect_daily", "commit", "create", "delete",
    "delete_version", "diff", "drop_alias", "entries", "every", "expire", "folder", "get", "item", "lacking", "merge",
    "open_", "open_pack", "pack_bytes", "places", "read", "resolve", "set_alias", "use", "uses", "verify", "version",
    "versions", "write",
]  # fmt: skip
