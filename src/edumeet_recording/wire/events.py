"""Messages of the watchers' WebSocket `/ws`: subscriptions up; a snapshot, then numbered deltas down.

A watcher sends `auth` first, unless its request had a token. `seq` of recordings is the id of the job event, that of
scaling alerts the id of the scaling event, equal on every replica: `since` resumes after it. Of the other topics it
counts within one replica. A delta carries the whole new state of what changed, so one that comes twice does no harm.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, TypeAdapter

from edumeet_recording.domain.job import JobStatus
from edumeet_recording.wire.base import Body, View
from edumeet_recording.wire.http import Identifier, Name, Region
from edumeet_recording.wire.views import JobEvent, Metrics, Node, Recording, ScalingEvent

Topic = Literal["recordings", "nodes", "metrics", "scaling_alerts"]
EventId = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class RecordingsFilter(Body):
    """Only recordings that fit all that is given; one that stops fitting `status` is reported once more."""

    status: Annotated[tuple[JobStatus, ...], BeforeValidator(_as_list), Field(max_length=len(JobStatus))] = ()
    job_id: Identifier | None = None
    room_server_id: Identifier | None = None
    room_id: Name | None = None
    peer_id: Name | None = None
    region: Region | None = None


class NodesFilter(Body):
    """Only nodes that fit all that is given."""

    kind: Literal["room-server", "ffmpeg-node"] | None = None
    region: Region | None = None


class Auth(Body):
    """The token of a watcher that cannot set headers."""

    type: Literal["auth"]
    token: Annotated[str, Field(strict=True, max_length=8192)]


class SubscribeRecordings(Body):
    """Follow recordings; with `since`, the deltas after that event in place of a snapshot, where they are still few."""

    type: Literal["subscribe_recordings"]
    filter: RecordingsFilter = RecordingsFilter()
    since: EventId | None = None


class SubscribeNodes(Body):
    """Follow room servers and FFmpeg nodes."""

    type: Literal["subscribe_nodes"]
    filter: NodesFilter = NodesFilter()


class SubscribeMetrics(Body):
    """Follow the fleet's numbers, once a second."""

    type: Literal["subscribe_metrics"]


class SubscribeScalingAlerts(Body):
    """Follow the autoscaler's decisions and alerts; with `since`, those after that id."""

    type: Literal["subscribe_scaling_alerts"]
    since: EventId | None = None


class Unsubscribe(Body):
    """Follow a topic no more."""

    type: Literal["unsubscribe"]
    topic: Topic


class Ping(Body):
    """Are you there?"""

    type: Literal["ping"]


Subscription = SubscribeRecordings | SubscribeNodes | SubscribeMetrics | SubscribeScalingAlerts
WatcherMessage = Annotated[Auth | Subscription | Unsubscribe | Ping, Field(discriminator="type")]
WATCHER_MESSAGE: TypeAdapter[WatcherMessage] = TypeAdapter(WatcherMessage)


class Authenticated(View):
    """The token holds; `scopes` say what may be followed."""

    type: Literal["authenticated"] = "authenticated"
    scopes: tuple[str, ...]


class RecordingsSnapshot(View):
    """The newest recordings that fit, newest first; `truncated` when there are more."""

    type: Literal["snapshot"] = "snapshot"
    topic: Literal["recordings"] = "recordings"
    seq: int
    items: tuple[Recording, ...]
    truncated: bool


class NodesSnapshot(View):
    """All nodes that fit."""

    type: Literal["snapshot"] = "snapshot"
    topic: Literal["nodes"] = "nodes"
    seq: int
    items: tuple[Node, ...]


class MetricsSnapshot(View):
    """The numbers now."""

    type: Literal["snapshot"] = "snapshot"
    topic: Literal["metrics"] = "metrics"
    seq: int
    metrics: Metrics


class ScalingAlertsSnapshot(View):
    """The newest decisions, or those after `since`, oldest first."""

    type: Literal["snapshot"] = "snapshot"
    topic: Literal["scaling_alerts"] = "scaling_alerts"
    seq: int
    items: tuple[ScalingEvent, ...]


class RecordingDelta(View):
    """An event, and the recording as it is now (not as it was then); null when it was deleted."""

    type: Literal["delta"] = "delta"
    topic: Literal["recordings"] = "recordings"
    seq: int
    event: JobEvent
    recording: Recording | None


class NodesDelta(View):
    """A node that is new or changed (`node`), or that is gone (`node` null)."""

    type: Literal["delta"] = "delta"
    topic: Literal["nodes"] = "nodes"
    seq: int
    id: str
    node: Node | None


class MetricsDelta(View):
    """The numbers now."""

    type: Literal["delta"] = "delta"
    topic: Literal["metrics"] = "metrics"
    seq: int
    metrics: Metrics


class ScalingAlertDelta(View):
    """A decision or alert."""

    type: Literal["delta"] = "delta"
    topic: Literal["scaling_alerts"] = "scaling_alerts"
    seq: int
    alert: ScalingEvent


class Unsubscribed(View):
    """Nothing more of `topic` comes."""

    type: Literal["unsubscribed"] = "unsubscribed"
    topic: Topic


class Pong(View):
    """Yes."""

    type: Literal["pong"] = "pong"


class WatchError(View):
    """The message was not carried out; the connection goes on unless the token is missing or bad."""

    type: Literal["error"] = "error"
    code: str
    message: str


Snapshot = Annotated[
    RecordingsSnapshot | NodesSnapshot | MetricsSnapshot | ScalingAlertsSnapshot, Field(discriminator="topic")
]
Delta = Annotated[RecordingDelta | NodesDelta | MetricsDelta | ScalingAlertDelta, Field(discriminator="topic")]
WatchMessage = Annotated[
    Snapshot | Delta | Authenticated | Unsubscribed | Pong | WatchError, Field(discriminator="type")
]
