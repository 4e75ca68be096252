"""Who is sent what, and in which order; a slow watcher only hurts itself."""

import asyncio
from datetime import UTC, datetime

import pytest
from tests.unit.api.fakes import ROOM

from edumeet_recording.api import watch_hub
from edumeet_recording.api.watch_hub import Follower, Mailbox, NodesFollower, RecordingsFollower
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.store.event_feed import FedEvent
from edumeet_recording.wire.events import NodesFilter, RecordingsFilter
from edumeet_recording.wire.views import JobEvent

AT = datetime(2027, 1, 1, tzinfo=UTC)


def event(
    event_id: int, status: JobStatus = JobStatus.RECORDING, *, job: str = "job-1", tenant: str | None = None
) -> FedEvent:
    return FedEvent(
        event=JobEvent(id=event_id, job_id=job, seq=1, at=AT, type="changed", status=status, data={}),
        tenant_id=tenant,
        room_server_id="server-1",
        room_id="room-1",
        peer_id="peer-1",
        region="north",
    )


def follower(wanted: RecordingsFilter | None = None, *, tenant: str | None = None) -> RecordingsFollower:
    return RecordingsFollower(Mailbox(), tenant=tenant, wanted=wanted or RecordingsFilter(), floor=10)


async def messages(mailbox: Mailbox, count: int) -> list[str]:
    return [await mailbox.get() for _ in range(count)]


def test_only_what_is_after_the_snapshot_is_wanted() -> None:
    assert [follower().wants(event(number)) for number in (9, 10, 11)] == [False, False, True]


@pytest.mark.parametrize(
    ("tenant", "seen"), [(None, [True, True, True]), ("a", [False, True, False]), ("b", [False, False, True])]
)
def test_a_tenant_sees_its_own_only(tenant: str | None, seen: list[bool]) -> None:
    events = [event(11), event(12, tenant="a"), event(13, tenant="b")]
    assert [follower(tenant=tenant).wants(each) for each in events] == seen


@pytest.mark.parametrize("name", ["job_id", "room_server_id", "room_id", "peer_id", "region"])
def test_every_filter_confines(name: str) -> None:
    fed = event(11)
    value = fed.event.job_id if name == "job_id" else getattr(fed, name)
    assert follower(RecordingsFilter.model_validate({name: value})).wants(fed)
    assert not follower(RecordingsFilter.model_validate({name: "other"})).wants(fed)


def test_the_way_out_of_a_wanted_status_is_reported_once() -> None:
    watching = follower(RecordingsFilter(status=(JobStatus.RECORDING,)))
    statuses = [JobStatus.PENDING, JobStatus.RECORDING, JobStatus.STOPPING, JobStatus.PROCESSING]
    seen = [watching.wants(event(11 + number, status)) for number, status in enumerate(statuses)]
    assert seen == [False, True, True, False]
    watching.fitting.add("job-2")
    assert watching.wants(event(20, JobStatus.FAILED, job="job-2"))


async def test_deltas_wait_for_the_snapshot() -> None:
    mailbox = Mailbox()
    each = Follower(mailbox)
    each.deliver("delta 1")
    each.deliver("delta 2")
    each.open(["snapshot"])
    each.deliver("delta 3")
    assert await messages(mailbox, 4) == ["snapshot", "delta 1", "delta 2", "delta 3"]


@pytest.mark.parametrize("opened", [True, False])
def test_a_full_mailbox_drops_its_watcher(opened: bool) -> None:
    each = Follower(Mailbox())
    if opened:
        each.open([])
    for _ in range(watch_hub.MAILBOX_MESSAGES):
        each.deliver("delta")
    assert not each.mailbox.overflowed.is_set()
    each.deliver("one too many")
    assert each.mailbox.overflowed.is_set()


async def test_what_may_go_at_once_overtakes_nothing() -> None:
    """Written directly only while the one who sends waits for more, and everything before is out."""
    written: list[str] = []
    ready = True

    def write(text: str) -> bool:
        if ready:
            written.append(text)
        return ready

    mailbox = Mailbox(write)
    mailbox.put("1")
    assert (await mailbox.get(), written) == ("1", [])
    mailbox.put("2, while 1 is being sent")
    assert (await mailbox.get(), written) == ("2, while 1 is being sent", [])
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(mailbox.get())
        await asyncio.sleep(0)
        mailbox.put("3")
        assert written == ["3"]
        ready = False
        mailbox.put("4, to a slow one")
        ready = True
        mailbox.put("5")
    assert (waiting.result(), await mailbox.get(), written) == ("4, to a slow one", "5", ["3"])


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({}, True),
        ({"kind": "room-server"}, True),
        ({"kind": "ffmpeg-node"}, False),
        ({"region": "north"}, True),
        ({"region": "x"}, False),
    ],
)
def test_nodes_are_filtered_by_kind_and_region(wanted: dict[str, str], fits: bool) -> None:
    assert NodesFollower(Mailbox(), wanted=NodesFilter.model_validate(wanted)).wants(ROOM) is fits
