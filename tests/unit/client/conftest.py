"""Client tests have no network: a function stands in for the service."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx2
import pytest
import stamina

from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.codecs import Container
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.wire.views import Options, Recording

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

Handler = Callable[[httpx2.Request], httpx2.Response]


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=4, cap=True):
        yield


@pytest.fixture
def client_of() -> Callable[[Handler], RecordingClient]:
    """A client whose requests go to a function."""
    return lambda handler: RecordingClient("http://service", "token", transport=httpx2.MockTransport(handler))


@pytest.fixture
def recording() -> Recording:
    """A recording that waits."""
    return Recording(
        job_id="job-1",
        status=JobStatus.PENDING,
        room_server_id="room-server-1",
        room_id="room-1",
        peer_id="alice",
        peer_info={},
        requester_info={},
        region="default",
        epoch=0,
        priority=0,
        options=Options(format=Container.MP4, include_audio=True, include_video=True),
        forwarding="client",
        streams=(),
        foreign_packets={},
        created_at=NOON,
    )
