from collections.abc import AsyncIterator

import httpx2
import pytest
from tests.integration.sim.orchestrator import SECRET, Orchestrator
from tests.integration.sim.recorder import Recorder, configure
from tests.waiting import eventually

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.rooms.base import RoomServerRefused
from edumeet_recording.rooms.http import HttpRoomServer
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions
from edumeet_recording.wire.room_link import (
    Configured,
    Done,
    RequestKeyFrameOf,
    RequestRefused,
    RoomHeartbeat,
    RoomHello,
    StopForwarding,
)

PEERS = {"peer": PeerMedia(video=None)}
OPTIONS = SimulatorOptions(room_id="room", peers=PEERS)


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=5) as opened:
        yield opened


@pytest.fixture
async def orchestrator() -> AsyncIterator[Orchestrator]:
    made = Orchestrator()
    async with made.serving():
        yield made


def _options(orchestrator: Orchestrator, *, use_link: bool) -> SimulatorOptions:
    return SimulatorOptions(
        server_id="room-server-7",
        region="eu",
        capacity=12,
        orchestrator_url=orchestrator.url,
        registration_secret=SECRET,
        use_link=use_link,
        room_id="room",
        peers=PEERS,
    )


async def test_the_contract_over_http(client: httpx2.AsyncClient) -> None:
    with Recorder() as recorder:
        async with SimulatedRoomServer(OPTIONS) as server:
            remote = HttpRoomServer(server.url, client)
            request = configure((Codec.OPUS, recorder.port, recorder.port))

            configured = await remote.configure(request)
            assert await remote.configure(request) == configured
            await eventually(lambda: len(recorder.packets(configured.rtp_streams[0].ssrc)) > 5)
            await remote.tell(RequestKeyFrameOf(job_id=request.job_id))
            await remote.tell(StopForwarding(job_id=request.job_id, epoch=request.epoch))
            await remote.tell(StopForwarding(job_id=request.job_id, epoch=request.epoch))

            health = await client.get(f"{server.url}/health")
            assert health.json() == {"status": "healthy", "rooms": 1, "peers": 1}


async def test_refusals_over_http(client: httpx2.AsyncClient) -> None:
    async with SimulatedRoomServer(OPTIONS) as server:
        with pytest.raises(RoomServerRefused, match=r"404.*no_such_peer"):
            await HttpRoomServer(server.url, client).configure(configure((Codec.OPUS, 9, 9), peer_id="nobody"))
        for body in (b"{", b"[]", b'{"epoch": 1}', b"\xff"):
            answer = await client.post(f"{server.url}/stop-rtp-forwarding", content=body)
            assert answer.status_code == 400
            assert answer.json()["code"] == "invalid_request"
            assert answer.json()["error"]


async def test_the_contract_over_the_link(orchestrator: Orchestrator) -> None:
    with Recorder() as recorder:
        async with SimulatedRoomServer(_options(orchestrator, use_link=True)) as server:
            await server.registered()
            await eventually(lambda: len(orchestrator.messages) >= 2)
            body, _headers = orchestrator.registrations[0]
            assert body == {
                "serverId": "room-server-7",
                "url": server.url,
                "region": "eu",
                "capacity": 12,
                "specs": {},
            }
            assert orchestrator.messages == [
                RoomHello(server_id="room-server-7"),
                RoomHeartbeat(server_id="room-server-7", rooms=1, peers=1),
            ]

            request = configure((Codec.OPUS, recorder.port, recorder.port), request_id="1")
            configured = await orchestrator.ask(request)
            assert isinstance(configured, Configured)
            assert configured.request_id == "1"
            await eventually(lambda: len(recorder.packets(configured.rtp_streams[0].ssrc)) > 5)
            refused = await orchestrator.ask(configure((Codec.OPUS, 9, 9), room_id="elsewhere", request_id="2"))
            assert isinstance(refused, RequestRefused)
            assert (refused.request_id, refused.code) == ("2", "no_such_room")
            stopped = await orchestrator.ask(StopForwarding(request_id="3", job_id=request.job_id, epoch=1))
            assert stopped == Done(request_id="3")
            unheard_of = await orchestrator.ask_raw('{"type": "dance", "requestId": "4"}')
            assert isinstance(unheard_of, RequestRefused)
            assert (unheard_of.request_id, unheard_of.code) == ("4", "invalid_request")

    await eventually(lambda: orchestrator.disconnects == [1001])


async def test_a_lost_link_is_opened_again_after_registering_with_the_token(orchestrator: Orchestrator) -> None:
    orchestrator.refusals = 1
    async with SimulatedRoomServer(_options(orchestrator, use_link=True)):
        first = await eventually(lambda: orchestrator.link)
        await first.close()

        await eventually(lambda: orchestrator.link not in {None, first})
        assert len(orchestrator.registrations) == 3
        assert orchestrator.registrations[2][1]["authorization"] == "Bearer token-1"


async def test_one_that_is_sent_away_opens_its_link_again_with_the_token(orchestrator: Orchestrator) -> None:
    async with SimulatedRoomServer(_options(orchestrator, use_link=True)):
        first = await eventually(lambda: orchestrator.link)
        await first.close(1001, "another replica has joined")
        await eventually(lambda: orchestrator.link not in {None, first})
        assert orchestrator.registrations[-1][1]["authorization"] == "Bearer token-1"


async def test_without_a_link_it_posts_heartbeats(orchestrator: Orchestrator) -> None:
    async with SimulatedRoomServer(_options(orchestrator, use_link=False)):
        await eventually(lambda: orchestrator.posted == [RoomHeartbeat(server_id="room-server-7", rooms=1, peers=1)])


async def test_a_killed_room_server_says_nothing_more(orchestrator: Orchestrator, client: httpx2.AsyncClient) -> None:
    with Recorder() as recorder:
        async with SimulatedRoomServer(_options(orchestrator, use_link=True)) as server:
            await eventually(lambda: orchestrator.link)
            await orchestrator.ask(configure((Codec.OPUS, recorder.port, recorder.port)))
            await eventually(lambda: recorder.rtp)

            await server.kill()

            # uvicorn's code for a connection that ends without a closing frame
            await eventually(lambda: orchestrator.disconnects == [1005])
            with pytest.raises(httpx2.ConnectError):
                await client.get(f"{server.url}/health")


async def test_peers_can_be_added_muted_and_removed_and_their_plan_read() -> None:
    async with SimulatedRoomServer(SimulatorOptions(peers={})) as server:
        server.add_peer("room", "peer", PeerMedia(video=None))
        assert server.plan("room", "peer") == ()
        server.send("room", "peer", audio=False)
        await server.remove_peer("room", "peer")
        with pytest.raises(KeyError):
            server.plan("room", "peer")
        with pytest.raises(RuntimeError):
            await server.registered()
