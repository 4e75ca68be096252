"""What nodes learn of themselves reaches placement, within bounds; one that has too much gives some away."""

from tests.integration.control.conftest import SETTINGS, Service

from edumeet_recording.control.dispatch import drain_tick
from edumeet_recording.control.heartbeats import store_beats
from edumeet_recording.control.streams import stats_row
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.price import capacity_mcpu
from edumeet_recording.store.captures import store_stats
from edumeet_recording.wire.node_link import CaptureReport, NodeLoad, StreamStats


async def capacity(service: Service) -> tuple[int, int | None]:
    return tuple(await service.pool.fetchrow("SELECT capacity_mcpu, capacity_bytes_per_s FROM ffmpeg_nodes"))


async def beat(service: Service, load: NodeLoad) -> None:
    await store_beats(service.commands.db, {"node-1": load}, [])


async def test_a_node_is_believed_within_bounds(service: Service) -> None:
    await service.node(cores=4)
    specs = capacity_mcpu(4)
    assert await capacity(service) == (specs, None)
    await beat(service, NodeLoad(capacity_mcpu=specs // 2, capacity_bytes_per_s=1000))
    assert await capacity(service) == (specs // 2, 1000)
    await beat(service, NodeLoad(capacity_mcpu=2**31 - 1, capacity_bytes_per_s=2**62))
    assert await capacity(service) == (4 * specs, 2**62)
    await beat(service, NodeLoad(capacity_mcpu=0))
    assert await capacity(service) == (specs // 4, None)


async def test_no_promise_is_taken_back(service: Service) -> None:
    await service.room_server()
    await service.node(cores=0.1)
    for peer in "abcdefgh":
        await service.start(peer_id=peer)
    promised, network = await service.pool.fetchrow("SELECT load_mcpu, load_bytes_per_s FROM ffmpeg_nodes")
    await beat(service, NodeLoad(capacity_mcpu=0, capacity_bytes_per_s=0))
    assert await capacity(service) == (promised, network)


async def test_a_node_that_has_too_much_gives_the_emptiest_away_one_at_a_time(service: Service) -> None:
    await service.room_server()
    await service.node("node-1")
    for peer in "abc":
        await service.start(peer_id=peer, room_id=f"room-{peer}")
    rows = []
    for number, capture in enumerate((await service.desired("node-1")).captures):
        await service.receive("node-1", only=capture.capture_id)
        streams = (StreamStats(index=0, bitrate_bps=1000 * (3 - number)),)
        report = CaptureReport(capture_id=capture.capture_id, epoch=1, state=CaptureState.RECEIVING, streams=streams)
        rows.append(stats_row("node-1", report))
    await store_stats(service.pool, rows)
    await beat(service, NodeLoad(sheds=True, accepts_captures=False))
    await service.node("node-2")
    for _ in range(2):
        await drain_tick(service.commands.db, SETTINGS, service.fleet)
    (moved,) = (await service.desired("node-2")).captures
    emptiest = (await service.desired("node-1")).captures[-1]
    assert (moved.job_id, moved.epoch) == (emptiest.job_id, 2)
    assert len((await service.desired("node-1")).captures) == 3, "it goes on until the other receives"
