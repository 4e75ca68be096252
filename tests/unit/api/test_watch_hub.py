"""Who is sent what, and in which order; a slow watcher only hurts itself."""

from datetime import UTC, datetime

import pytest

from edumeet_recording.api import watch_hub
from edumeet_recording.api.watch_hub import Follower, Mailbox, NodesFollower, RecordingsFollower, changed_nodes
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.store.event_feed import FedEvent
from edumeet_recording.wire.events import NodesFilter, RecordingsFilter
from edumeet_recording.wire.views import FFmpegNodeView, JobEvent, Node, RoomServerView

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
    node = RoomServerView(
        id="server-1",
        url="http://server-1",
        region="north",
        is_healthy=True,
        is_linked=False,
        capacity=1,
        rooms=0,
        peers=0,
        specs={},
        registered_at=AT,
    )
    assert NodesFollower(Mailbox(), wanted=NodesFilter.model_validate(wanted)).wants(node) is fits


def node(**changes: object) -> dict[tuple[str, str], Node]:
    view = FFmpegNodeView(
        id="node-1",
        url="http://node-1",
        region="north",
        is_healthy=True,
        is_linked=True,
        is_draining=False,
        accepts_captures=True,
        capacity_mcpu=1600,
        load_mcpu=0,
        captures=0,
        processing_slots=1,
        specs={},
        load={"cpuPercent": 1.0},
        registered_at=AT,
    )
    return {("ffmpeg-node", "node-1"): view.model_copy(update=changes)}


@pytest.mark.parametrize(
    ("change", "told", "told_with_loads"),
    [
        ({}, False, False),
        ({"last_heartbeat": AT}, False, False),
        ({"load": {"cpuPercent": 2.0}}, False, True),
        ({"captures": 1}, True, True),
    ],
)
def test_what_a_node_measures_is_told_now_and_then(
    change: dict[str, object], told: bool, told_with_loads: bool
) -> None:
    assert bool(changed_nodes(node(), node(**change), loads=False)) is told
    assert bool(changed_nodes(node(), node(**change), loads=True)) is told_with_loads


def test_nodes_that_come_and_go_are_told() -> None:
    assert (
        changed_nodes({}, node(), loads=False) == changed_nodes(node(), {}, loads=False) == [("ffmpeg-node", "node-1")]
    )
