"""Datasets over HTTP."""

from larder.contract import datasets
from larder_server.datasets import service
from larder_server.kernel.routing import bind, bind_steps, bind_stream

ROUTES = [
    bind(datasets.CREATE, service.create),
    bind(datasets.LIST, service.every),
    bind(datasets.GET, service.get),
    bind(datasets.CHANGE, service.change),
    bind(datasets.DELETE, service.delete),
    bind(datasets.RESOLVE, service.resolve),
    bind(datasets.VERSIONS, service.versions),
    bind(datasets.OPEN, service.open_),
    bind(datasets.VERSION, service.version),
    bind_steps(datasets.WRITE, service.write),
    bind(datasets.LACKING, service.lacking),
    bind(datasets.OPEN_PACK, service.open_pack),
    bind_steps(datasets.CLOSE_PACK, service.close_pack),
    bind_steps(datasets.COMMIT, service.commit),
    bind(datasets.CHANGE_VERSION, service.change_version),
    bind(datasets.DELETE_VERSION, service.delete_version),
    bind_steps(datasets.ENTRIES, service.entries),
    bind_steps(datasets.FOLDER, service.folder),
    bind_steps(datasets.ITEM, service.item),
    bind_stream(datasets.READ, service.read),
    bind_steps(datasets.DIFF, service.diff),
    bind_steps(datasets.PLACES, service.places),
    bind_stream(datasets.PACK_BYTES, service.pack_bytes),
    bind_steps(datasets.VERIFY, service.verify),
    bind(datasets.ALIASES, service.aliases),
    bind(datasets.SET_ALIAS, service.set_alias),
    bind(datasets.DROP_ALIAS, service.drop_alias),
    bind_steps(datasets.MERGE, service.merge),
    bind(datasets.USE, service.use),
    bind(datasets.USES, service.uses),
    bind_steps(datasets.COLLECT, service.collect),
]
