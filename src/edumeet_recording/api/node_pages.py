"""All nodes, read and written a page at a time: to do so with ten thousand at once would keep all others waiting."""

from collections.abc import AsyncGenerator, Sequence

from pydantic import TypeAdapter

from edumeet_recording.api.deps import ApiDeps
from edumeet_recording.store import nodes, views
from edumeet_recording.wire.events import NodesSnapshot
from edumeet_recording.wire.views import Node, NodeList

PAGE = 200
_NODES = TypeAdapter(Sequence[Node])


async def pages_of_nodes(deps: ApiDeps) -> AsyncGenerator[Sequence[Node]]:
    """The registered room servers, then FFmpeg nodes. No connection is kept while a page is worked on."""
    async with deps.reading() as conn:
        room_servers, ids = await views.room_servers(conn), sorted(await nodes.registered(conn))
    yield room_servers
    for start in range(0, len(ids), PAGE):
        async with deps.reading() as conn:
            page = await views.ffmpeg_nodes(conn, ids[start : start + PAGE])
        yield page


async def written(empty: NodeList | NodesSnapshot, pages: AsyncGenerator[Sequence[Node]]) -> AsyncGenerator[str]:
    """The JSON of a message whose `items` is empty, with the nodes of all pages as its items, in pieces.

    The first page is there when this returns: raises `Unavailable` where the database is away.
    """
    return _pieces(empty.model_dump_json(by_alias=True), await anext(pages), pages)


async def _pieces(empty: str, first: Sequence[Node], others: AsyncGenerator[Sequence[Node]]) -> AsyncGenerator[str]:
    before, _, after = empty.rpartition("[]")
    items = _items(first)
    yield f"{before}[{items}"
    async for page in others:
        more = _items(page)
        yield f",{more}" if items and more else more
        items = items or more
    yield f"]{after}"


def _items(page: Sequence[Node]) -> str:
    return _NODES.dump_json(page, by_alias=True)[1:-1].decode()
