"""Every message of the watchers' WebSocket survives its own JSON."""

from datetime import UTC, datetime

import pytest
from pydantic import BaseModel, TypeAdapter

from edumeet_recording.domain.job import JobStatus
from edumeet_recording.wire.events import (
    WATCHER_MESSAGE,
    Authenticated,
    MetricsDelta,
    MetricsSnapshot,
    NodesDelta,
    NodesSnapshot,
    Pong,
    RecordingDelta,
    RecordingsSnapshot,
    ScalingAlertDelta,
    ScalingAlertsSnapshot,
    SubscribeRecordings,
    Unsubscribed,
    WatchError,
    WatchMessage,
)
from edumeet_recording.wire.views import JobEvent, Metrics, RoomServerView, ScalingEvent

AT = datetime(2027, 1, 1, tzinfo=UTC)
METRICS = Metrics(
    timestamp=AT,
    total_room_servers=1,
    healthy_room_servers=1,
    total_ffmpeg_nodes=2,
    healthy_ffmpeg_nodes=1,
    active_recordings=3,
    total_capacity=4,
    current_load=5,
    queue_length=6,
    regional_metrics={},
)
NODE = RoomServerView(
    id="server-1",
    url="http://server-1",
    region="north",
    is_healthy=True,
    is_linked=True,
    capacity=1,
    rooms=0,
    peers=0,
    specs={"hasGPU": False},
    registered_at=AT,
)
EVENT = JobEvent(id=9, job_id="job-1", seq=2, at=AT, type="placed", status=JobStatus.INITIALIZING, data={"a": None})
ALERT = ScalingEvent(id=4, at=AT, region="north", action="up", reason="load", data={})

MESSAGES: list[BaseModel] = [
    Authenticated(scopes=("nodes:read",)),
    RecordingsSnapshot(seq=1, items=(), truncated=False),
    NodesSnapshot(seq=1, items=(NODE,)),
    MetricsSnapshot(seq=1, metrics=METRICS),
    ScalingAlertsSnapshot(seq=1, items=(ALERT,)),
    RecordingDelta(seq=9, event=EVENT, recording=None),
    NodesDelta(seq=2, id="server-1", node=NODE),
    NodesDelta(seq=2, id="server-1", node=None),
    MetricsDelta(seq=2, metrics=METRICS),
    ScalingAlertDelta(seq=4, alert=ALERT),
    Unsubscribed(topic="nodes"),
    Pong(),
    WatchError(code="missing_scope", message="no"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_is_sent_is_what_is_read(message: BaseModel) -> None:
    text = message.model_dump_json(by_alias=True)
    assert TypeAdapter(WatchMessage).validate_json(text) == message


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"auth","token":"x"}',
        '{"type":"subscribe_metrics"}',
        '{"type":"subscribe_recordings"}',
        '{"type":"subscribe_recordings","filter":{"status":["recording","pending"],"roomId":"r"},"since":0}',
        '{"type":"subscribe_nodes","filter":{"kind":"ffmpeg-node","region":"eu-1"}}',
        '{"type":"subscribe_scaling_alerts","since":3}',
        '{"type":"unsubscribe","topic":"metrics"}',
        '{"type":"ping"}',
    ],
)
def test_what_a_watcher_may_send_is_understood(text: str) -> None:
    message = WATCHER_MESSAGE.validate_json(text)
    assert WATCHER_MESSAGE.validate_json(message.model_dump_json(by_alias=True)) == message


def test_one_status_may_stand_without_a_list() -> None:
    message = WATCHER_MESSAGE.validate_json('{"type":"subscribe_recordings","filter":{"status":"recording"}}')
    assert isinstance(message, SubscribeRecordings)
    assert message.filter.status == (JobStatus.RECORDING,)
