"""Tables for people: numbers as they read them, names as they were typed."""

from io import StringIO

import pytest
from rich.console import Console

from edumeet_recording.cli.recordings import target_of
from edumeet_recording.cli.tables import duration, recordings_table, size, tenants_table, told
from edumeet_recording.domain.codecs import Container
from edumeet_recording.domain.job import JobStatus
from edumeet_recording.wire.views import Options, Recording, TenantView


def recording(peer_id: str) -> Recording:
    return Recording.model_validate(
        {
            "jobId": "0123456789abcdef",
            "status": JobStatus.COMPLETED,
            "roomServerId": "room-server-1",
            "roomId": "room-1",
            "peerId": peer_id,
            "peerInfo": {},
            "requesterInfo": {},
            "region": "default",
            "epoch": 0,
            "priority": 0,
            "options": Options(format=Container.MKV, include_audio=True, include_video=True),
            "forwarding": "client",
            "streams": (),
            "foreignPackets": {},
            "createdAt": "2026-11-22T12:00:00Z",
        }
    )


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (40_800, "40.8 kB"), (560e6, "560 MB"), (2e12, "2 TB")],
)
def test_sizes(count: int | None, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, ""), (0.04, "0:00:00.0"), (59.96, "0:01:00.0"), (3661.5, "1:01:01.5")]
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_name_is_shown_as_it_was_typed_and_not_read_as_markup() -> None:
    console = Console(width=200, markup=False)
    with console.capture() as shown:
        console.print(recordings_table([recording("[red]alice[/red] :100:")]))
    assert "[red]alice[/red] :100:" in shown.get()


def test_an_event_tells_people_words_and_numbers_and_leaves_structure_to_programs() -> None:
    data = {
        "nodeId": "node-1",
        "lost": 0,
        "detail": "",
        "reason": None,
        "ports": [{"port": 40000}],
        "placement": {"why": "x"},
    }
    assert told(data) == "nodeId node-1, lost 0"


def test_a_downloaded_file_stays_in_its_folder() -> None:
    assert str(target_of(recording("../../etc/pass wd"), None)) == "_etc_pass_wd-0123456789ab.mkv"


def test_a_tenant_without_a_limit_may_have_any_number() -> None:
    tenants = [
        TenantView(id="free", share=1),
        TenantView(id="uni", allowed_regions=("eu-*", "us-1"), max_active_recordings=0, share=2),
    ]
    console = Console(width=100, record=True, file=StringIO())
    console.print(tenants_table(tenants))
    lines = [line.strip() for line in console.export_text().splitlines()]
    rows = [line.split("  ") for line in lines if line.startswith(("free", "uni"))]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        ["free", "any", "any number", "any number", "1"],
        ["uni", "eu-*, us-1", "0", "any number", "2"],
    ]
