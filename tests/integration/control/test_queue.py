"""The queue: turns, quotas and what a refusal says."""

import pytest
from tests.integration.control.conftest import SETTINGS, Service

from edumeet_recording.control.dispatch import dispatch_tick
from edumeet_recording.domain.errors import NoCapacity, QuotaExceeded
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.domain.queueing import LONGEST_RETRY_S, UNKNOWN_RETRY_S, Quota
from edumeet_recording.domain.tenant import Tenant
from edumeet_recording.store import views
from edumeet_recording.wire.views import Recording

ROOM_FOR_ONE = 0.01 * 1.25
"""Cores of a node that can take one audio and one video stream."""


async def view(service: Service, job_id: str) -> Recording:
    async with service.pool.acquire() as conn:
        found = await views.recording(conn, job_id, None)
    assert found is not None
    return found


async def test_a_place_in_the_queue_is_told(service: Service) -> None:
    await service.room_server()
    job_ids = [await service.start(peer_id=name) for name in "ab"]
    queues = [(await view(service, job_id)).queue for job_id in job_ids]
    assert [queue and (queue.position, queue.estimated_wait_s) for queue in queues] == [(1, None), (2, None)]


async def test_a_tenant_with_less_of_the_fleet_is_placed_first(service: Service) -> None:
    await service.room_server()
    await service.node("node-1", cores=ROOM_FOR_ONE)
    await service.start(peer_id="a", tenant_id="many")
    waits = await service.start(peer_id="b", tenant_id="many")
    later = await service.start(peer_id="c", tenant_id="few")
    assert (await view(service, later)).queue is not None
    await service.node("node-2", cores=ROOM_FOR_ONE)
    await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    assert (await service.job(later)).status is JobStatus.INITIALIZING
    queue = (await view(service, waits)).queue
    assert queue is not None
    assert queue.position == 1


async def test_a_full_queue_says_when_to_ask_again(service: Service) -> None:
    await service.room_server()
    for name in "ab":
        await service.start(peer_id=name)
    with pytest.raises(NoCapacity) as refused:
        await service.start(peer_id="c")
    assert refused.value.retry_after_s == UNKNOWN_RETRY_S
    await service.node("node-1", cores=ROOM_FOR_ONE)
    await dispatch_tick(service.commands.db, SETTINGS, service.fleet)
    await service.commands.set_draining("node-1", True)
    await service.captures.node_lost("node-1", "dead")
    with pytest.raises(NoCapacity) as refused:
        await service.start(peer_id="c")
    assert refused.value.retry_after_s == LONGEST_RETRY_S, "one capture has ended in ten minutes"


async def test_a_tenant_has_as_many_recordings_as_it_may(service: Service) -> None:
    await service.room_server()
    await service.node()
    await service.commands.put_tenant(Tenant("uni", None, Quota(max_active=1), 1))
    job_id = await service.start(peer_id="a", tenant_id="uni")
    with pytest.raises(QuotaExceeded, match="may have 1"):
        await service.start(peer_id="b", tenant_id="uni")
    await service.start(peer_id="c", tenant_id="other")
    await service.commands.cancel(job_id, None)
    await service.start(peer_id="b", tenant_id="uni")


async def test_a_tenant_may_have_none_wait(service: Service) -> None:
    await service.room_server()
    await service.commands.put_tenant(Tenant("uni", None, Quota(max_queued=0), 1))
    with pytest.raises(QuotaExceeded, match="may have 0 recordings wait"):
        await service.start(peer_id="a", tenant_id="uni")
    assert await service.pool.fetchval("SELECT count(*) FROM recording_jobs") == 0


async def test_a_decision_is_told_with_the_recording_and_its_event(service: Service) -> None:
    await service.room_server()
    await service.node("node-1")
    await service.node("node-2", cores=2)
    await service.node("node-3")
    await service.commands.set_draining("node-3", True)
    job_id = await service.start()
    decision = (await view(service, job_id)).placement
    assert decision is not None
    assert (decision.node_id, decision.strategy, decision.considered) == ("node-1", "least-loaded", 3)
    assert decision.why == "100% free, region eu"
    assert [each.node_id for each in decision.alternatives] == ["node-2"]
    assert decision.refused == {"draining": 1}
    told = await service.pool.fetchval("SELECT data FROM job_events WHERE job_id = $1 AND seq = 2", job_id)
    assert told["placement"] == decision.model_dump(by_alias=True, mode="json")
