"""Janus with two rooms, Chromium publishing to both, and our service beside them: one of each for a module's tests."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio
from tests.leftovers import children
from tests.system.conftest import Service
from tests.system.sfu.janus import Janus, janus
from tests.system.sfu.publisher import Publisher, chromium
from tests.system.sfu.room_server import JanusRoomServer, serving

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.wire.http import RegisterRoomServer

ROOMS = {"room-vp8": Codec.VP8, "room-h264": Codec.H264}
PEER = "alice"
ROOM_SERVERS = {"janus": False, "janus-srtp": True}
"""By id, whether it encrypts: both stand before the same Janus."""


@dataclass(frozen=True, slots=True)
class Conference:
    """A peer publishes in each room, named as the room in the publisher."""

    janus: Janus
    publisher: Publisher


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def conference(service: Service, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Conference]:
    """Everything is there and media flows to Janus; both room servers are registered."""
    before = children()
    async with AsyncExitStack() as stack:
        sfu = await stack.enter_async_context(janus(tmp_path_factory.mktemp("janus"), ROOMS))
        publisher = await stack.enter_async_context(chromium())
        for server_id, srtp in ROOM_SERVERS.items():
            url = await stack.enter_async_context(serving(JanusRoomServer(sfu, srtp=srtp)))
            await service.client.register_room_server(
                RegisterRoomServer(server_id=server_id, url=url, region="default", capacity=10)
            )
        for room in ROOMS:
            answer = await sfu.publish(room, PEER, await publisher.offer(room))
            await publisher.connect(room, answer)
        yield Conference(sfu, publisher)
    assert children() <= before
