"""Object bytes over HTTP."""

from collections.abc import AsyncIterator

from larder.contract import objects
from larder.contract.errors import Invalid
from larder_server.kernel.context import Context
from larder_server.kernel.objects import ObjectStore
from larder_server.kernel.routing import bind, bind_upload

MOST = 10_000


def _missing(context: Context, order: objects.Hashes) -> objects.Hashes:
    if len(order.hashes) > MOST:
        raise Invalid(f"at most {MOST} hashes at once, not {len(order.hashes)}", field="hashes")
    return objects.Hashes(hashes=[hash for hash in order.hashes if not context.objects.holds(context.tenant, hash)])


async def _receive(store: ObjectStore, tenant: str, stream: AsyncIterator[bytes], hash: str) -> None:
    await store.receive(tenant, stream, hash)


ROUTES = [bind(objects.MISSING, _missing), bind_upload(objects.PUT, _receive)]
