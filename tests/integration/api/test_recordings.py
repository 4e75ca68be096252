"""A recording's life as a caller sees it."""

import asyncio
import base64
import hashlib
import json
from typing import Any

import httpx2
import pytest
from tests.integration.api.conftest import Orchestrator
from tests.unit.api import seed
from tests.unit.api.fakes import bearer
from tests.waiting import eventually

from edumeet_recording.control.heartbeats import store_beats
from edumeet_recording.control.processing import assign_tick
from edumeet_recording.control.streams import stats_row
from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.wire.node_link import CaptureReport, FinalizeDone, NodeLoad, StreamStats

START = "/api/recordings/start"
VIDEO_FILE = bytes(range(256)) * 40


async def start(
    client: httpx2.AsyncClient, *, tenant: str | None = None, key: str | None = None, **changes: Any
) -> httpx2.Response:
    body = json.loads(seed.START) | changes
    headers = bearer(tenant=tenant) | ({"Idempotency-Key": key} if key else {})
    return await client.post(START, json=body, headers=headers)


POSTER = b"\xff\xd8 a picture"
REPORT = {
    "parts": [],
    "assets": [
        {"name": "poster.jpg", "kind": "poster", "bytes": len(POSTER), "sha256": hashlib.sha256(POSTER).hexdigest()},
        {"name": "thumbnail-001.jpg", "kind": "thumbnail", "bytes": 1, "sha256": "00"},
    ],
}


async def finish(orchestrator: Orchestrator, job_id: str, data: bytes = VIDEO_FILE) -> None:
    """Bring a started recording to its end, with `data` as its file."""
    service = orchestrator.service
    capture_id = await service.receive()
    await service.ship(capture_id)
    await service.commands.stop(job_id, None)
    await service.drain(capture_id)
    await assign_tick(service.commands.db, service.commands.settings)
    job = await service.job(job_id)
    key = f"recordings/{job_id}/1/file.mp4"
    await orchestrator.storage.put_bytes(key, data)
    await orchestrator.storage.put_bytes(f"recordings/{job_id}/1/poster.jpg", POSTER)
    await orchestrator.storage.put_bytes(f"recordings/{job_id}/1/secret.txt", b"not listed")
    done = FinalizeDone(
        job_id=job_id,
        attempt=job.processing_attempt,
        file_key=key,
        report_key=f"recordings/{job_id}/1/report.json",
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        duration_s=12.5,
        started_at=1.0,
        ended_at=13.5,
        streams=(),
        warnings=("loss",),
        report=REPORT,
    )
    await service.journal("node-1", done)
    assert (await service.job(job_id)).status == "completed"


async def test_a_recording_from_start_to_file(client: httpx2.AsyncClient, orchestrator: Orchestrator) -> None:
    service = orchestrator.service
    await service.room_server()
    await service.node()
    answer = await start(client)
    assert answer.status_code == 201
    started = answer.json()
    job_id = started["jobId"]
    assert answer.headers["location"] == f"/api/recordings/{job_id}"
    assert (started["status"], started["nodeId"], started["epoch"]) == ("initializing", "node-1", 1)
    assert started["options"] == {
        "quality": "medium",
        "format": "mp4",
        "includeAudio": True,
        "includeVideo": True,
        "maxDuration": None,
        "copy": "prefer",
        "thumbnails": True,
        "customFFmpegArgs": [],
        "redundancy": 1,
    }
    assert [stream["codecName"] for stream in started["streams"]] == ["opus", "h264"]
    assert started["rtpForwarding"] is None

    capture_id = await service.receive()
    report = CaptureReport(
        capture_id=capture_id,
        epoch=1,
        state=CaptureState.RECEIVING,
        streams=(StreamStats(index=1, packets=7, lost=1, last_packet_at=2.0),),
        foreign={"ssrc": 4},
    )
    await store_beats(service.commands.db, {"node-1": NodeLoad()}, [stats_row("node-1", report)])
    running = (await client.get(f"/api/recordings/{job_id}", headers=bearer())).json()
    assert running["status"] == "recording"
    assert running["streams"][0]["stats"] is None
    assert running["streams"][1]["stats"]["packets"] == 7
    assert running["foreignPackets"] == {"ssrc": 4}
    assert running["rtpForwarding"]["ip"] == "127.0.0.1"
    video = {"index": 1, "kind": "video", "port": 40002, "rtcpPort": 40003, "srtp": None}
    assert running["rtpForwarding"]["ports"][1] == video
    early = await client.get(f"/api/recordings/{job_id}/download", headers=bearer())
    assert (early.status_code, early.json()["code"]) == (409, "not_finished")
    assert (await client.get(f"/api/recordings/{job_id}/report", headers=bearer())).status_code == 404

    stopped = [await client.post(f"/api/recordings/{job_id}/stop", headers=bearer()) for _ in range(2)]
    assert [answer.status_code for answer in stopped] == [200, 200]
    assert stopped[0].json()["status"] == stopped[1].json()["status"] == "stopping"
    assert (await client.delete(f"/api/recordings/{job_id}", headers=bearer())).status_code == 409


async def test_a_finished_recording_is_fetched_whole_and_in_parts(
    client: httpx2.AsyncClient, orchestrator: Orchestrator
) -> None:
    await orchestrator.service.room_server()
    await orchestrator.service.node()
    job_id = (await start(client)).json()["jobId"]
    await finish(orchestrator, job_id)
    url = f"/api/recordings/{job_id}/download"
    view = (await client.get(f"/api/recordings/{job_id}", headers=bearer())).json()
    digest = hashlib.sha256(VIDEO_FILE).hexdigest()
    assert view["file"] == {
        "bytes": len(VIDEO_FILE),
        "sha256": digest,
        "container": "mp4",
        "format": "mp4",
        "url": url,
        "reportUrl": f"/api/recordings/{job_id}/report",
        "posterUrl": f"/api/recordings/{job_id}/assets/poster.jpg",
        "waveformUrl": None,
        "version": 1,
        "parts": [],
    }
    assert (view["status"], view["durationS"], view["warnings"]) == ("completed", 12.5, ["loss"])
    assert (await client.get(f"/api/recordings/{job_id}/report", headers=bearer())).json() == REPORT

    whole = await client.get(url, headers=bearer())
    assert (whole.status_code, whole.content) == (200, VIDEO_FILE)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["content-disposition"].startswith('attachment; filename="room-123-peer-456-')
    assert whole.headers["etag"] == f'"{digest}"'
    part = await client.get(url, headers=bearer() | {"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, VIDEO_FILE[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(VIDEO_FILE)}"
    beyond = await client.get(url, headers=bearer() | {"Range": f"bytes={len(VIDEO_FILE)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(VIDEO_FILE)}")
    changed = await client.get(url, headers=bearer() | {"Range": "bytes=0-0", "If-Range": '"other"'})
    assert (changed.status_code, len(changed.content)) == (200, len(VIDEO_FILE))
    head = await client.head(url, headers=bearer())
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(VIDEO_FILE)), b"")

    await orchestrator.storage.delete_prefix("recordings")
    gone = await client.get(url, headers=bearer())
    assert (gone.status_code, gone.json()["code"]) == (404, "file_missing")
    assert (await client.delete(f"/api/recordings/{job_id}", headers=bearer())).status_code == 204
    for path in ("", "/events", "/report", "/download"):
        assert (await client.get(f"/api/recordings/{job_id}{path}", headers=bearer())).status_code == 404


async def test_another_store_hands_out_a_signed_url(
    client: httpx2.AsyncClient, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def signed_url(_self: object, key: str, expires_s: float) -> str:
        return f"https://bucket.example/{key}?expires={expires_s:.0f}"

    await orchestrator.service.room_server()
    await orchestrator.service.node()
    job_id = (await start(client)).json()["jobId"]
    await finish(orchestrator, job_id)
    monkeypatch.setattr(type(orchestrator.storage), "signed_url", signed_url)
    answer = await client.get(f"/api/recordings/{job_id}/download", headers=bearer())
    assert answer.status_code == 302
    assert answer.headers["location"] == f"https://bucket.example/recordings/{job_id}/1/file.mp4?expires=900"


async def test_the_same_key_is_the_same_recording(client: httpx2.AsyncClient, orchestrator: Orchestrator) -> None:
    await orchestrator.service.room_server()
    first = await start(client, key="once")
    again = await start(client, key="once")
    other = await start(client, key="once", priority=5)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json()["jobId"] == again.json()["jobId"]
    assert other.json()["code"] == "idempotency_key_reused"
    parallel = await start(client)
    assert (parallel.status_code, parallel.json()["code"]) == (409, "already_recording")
    assert (await start(client, allowParallel=True)).status_code == 201


async def test_who_waits_knows_its_place_and_a_full_queue_refuses(
    client: httpx2.AsyncClient, orchestrator: Orchestrator
) -> None:
    await orchestrator.service.room_server()
    first = (await start(client, peerId="a")).json()
    assert (first["status"], first["reason"], first["queue"]["position"]) == ("pending", "no_capacity", 1)
    assert first["queue"]["deadline"] is not None
    second = (await start(client, peerId="b", priority=9)).json()
    assert second["queue"]["position"] == 1
    again = (await client.get(f"/api/recordings/{first['jobId']}", headers=bearer())).json()
    assert again["queue"]["position"] == 2
    full = await start(client, peerId="c")
    assert (full.status_code, full.json()["code"]) == (503, "no_capacity")
    assert int(full.headers["retry-after"]) > 0
    assert len((await client.get("/api/recordings", headers=bearer())).json()["items"]) == 2


async def test_an_unknown_room_server_is_named(client: httpx2.AsyncClient) -> None:
    answer = await start(client)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "roomServerId"


async def test_a_client_that_forwards_itself_is_told_the_target(
    client: httpx2.AsyncClient, orchestrator: Orchestrator
) -> None:
    service = orchestrator.service
    await service.room_server()
    await service.node()

    async def node_prepares() -> None:
        async def is_told() -> bool:
            return bool((await service.desired()).captures)

        await eventually(is_told)
        await service.prepare()

    async with asyncio.TaskGroup() as group:
        group.create_task(node_prepares())
        answer = await start(client, forwarding="client")
    assert answer.status_code == 201
    target = answer.json()["rtpForwarding"]
    assert (target["ip"], target["epoch"]) == ("127.0.0.1", 1)
    assert [port["port"] for port in target["ports"]] == [40000, 40002]


async def test_a_target_that_does_not_come_is_not_waited_for_for_ever(
    client: httpx2.AsyncClient, orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edumeet_recording.api.recordings.TARGET_TIMEOUT_S", 0.05)
    await orchestrator.service.room_server()
    answer = await start(client, forwarding="client")
    assert (answer.status_code, answer.json()["rtpForwarding"]) == (201, None)


async def test_recordings_that_are_asked_for_at_once_go_to_those_who_may_see_them(
    client: httpx2.AsyncClient, orchestrator: Orchestrator
) -> None:
    await orchestrator.service.room_server()
    job_id = (await start(client, tenant="a")).json()["jobId"]

    async def get(asked: str, tenant: str | None) -> tuple[int, str | None]:
        answer = await client.get(f"/api/recordings/{asked}", headers=bearer(tenant=tenant))
        return answer.status_code, answer.json().get("jobId")

    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(get(job_id, tenant)) for tenant in ("a", "b", None, "a")]
        asking.append(tasks.create_task(get("nothing", None)))
    seen, unseen = (200, job_id), (404, None)
    assert [each.result() for each in asking] == [seen, unseen, seen, seen, unseen]


async def test_other_tenants_recordings_do_not_exist(client: httpx2.AsyncClient, orchestrator: Orchestrator) -> None:
    await orchestrator.service.room_server()
    job_id = (await start(client, tenant="a")).json()["jobId"]
    paths = [("GET", ""), ("GET", "/events"), ("GET", "/report"), ("GET", "/download"), ("POST", "/stop")]
    paths += [("POST", "/cancel"), ("DELETE", "")]
    for method, path in paths:
        answer = await client.request(method, f"/api/recordings/{job_id}{path}", headers=bearer(tenant="b"))
        assert answer.status_code == 404, (method, path)
    listed = {}
    for tenant in ("a", "b", None):
        page = await client.get("/api/recordings", headers=bearer(tenant=tenant))
        listed[tenant] = [each["jobId"] for each in page.json()["items"]]
    assert listed == {"a": [job_id], "b": [], None: [job_id]}


async def test_unknown_recordings_are_not_found(client: httpx2.AsyncClient) -> None:
    for method, path in (("GET", ""), ("POST", "/stop"), ("POST", "/cancel"), ("DELETE", ""), ("GET", "/events")):
        answer = await client.request(method, f"/api/recordings/nobody{path}", headers=bearer())
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_pages_hold_each_recording_once_newest_first(
    client: httpx2.AsyncClient, orchestrator: Orchestrator
) -> None:
    service = orchestrator.service
    await service.room_server()
    await service.node()
    started = [await service.start(peer_id=f"peer-{number}", room_id=f"room-{number % 2}") for number in range(7)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/recordings", params=params, headers=bearer())).json()
        seen += [each["jobId"] for each in page["items"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == list(reversed(started))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"a", "b", "c"}),
        ("roomId=room-1", {"a", "b"}),
        ("peerId=c", {"c"}),
        ("status=cancelled", {"b"}),
        ("status=cancelled&status=initializing", {"a", "b", "c"}),
        ("status=completed", set[str]()),
        ("region=eu", {"a", "b", "c"}),
        ("region=us", set[str]()),
        ("roomServerId=room-server-1", {"a", "b", "c"}),
        ("roomServerId=other", set[str]()),
        ("from=2020-01-01T00:00:00Z", {"a", "b", "c"}),
        ("to=2020-01-01T00:00:00%2B02:00", set[str]()),
    ],
)
async def test_filters_confine_the_list(
    client: httpx2.AsyncClient, orchestrator: Orchestrator, query: str, found: set[str]
) -> None:
    service = orchestrator.service
    await service.room_server()
    await service.node()
    ids = {
        peer: await service.start(peer_id=peer, room_id=room)
        for peer, room in (("a", "room-1"), ("b", "room-1"), ("c", "room-2"))
    }
    await service.commands.cancel(ids["b"], None)
    page = (await client.get(f"/api/recordings?{query}", headers=bearer())).json()
    assert {each["peerId"] for each in page["items"]} == found


async def test_events_are_numbered_and_paged(client: httpx2.AsyncClient, orchestrator: Orchestrator) -> None:
    await orchestrator.service.room_server()
    await orchestrator.service.node()
    job_id = (await start(client)).json()["jobId"]
    await finish(orchestrator, job_id)
    url = f"/api/recordings/{job_id}/events"
    everything = (await client.get(url, headers=bearer())).json()
    assert everything["nextAfter"] is None
    assert [each["seq"] for each in everything["items"]] == list(range(1, len(everything["items"]) + 1))
    assert everything["items"][-1]["status"] == "completed"
    first = (await client.get(url, params={"limit": 2}, headers=bearer())).json()
    rest = (await client.get(url, params={"after": first["nextAfter"]}, headers=bearer())).json()
    assert first["items"] + rest["items"] == everything["items"]


async def test_a_report_is_a_page_for_a_browser(client: httpx2.AsyncClient, orchestrator: Orchestrator) -> None:
    await orchestrator.service.room_server()
    await orchestrator.service.node()
    job_id = (await start(client, peerInfo={"peerId": "peer-456", "displayName": "<i>Ada"})).json()["jobId"]
    url = f"/api/recordings/{job_id}/report"
    browser = {**bearer(), "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    assert (await client.get(url, headers=browser)).status_code == 404
    await finish(orchestrator, job_id)

    page = await client.get(url, headers=browser)

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "&lt;i&gt;Ada in room-123" in page.text
    assert base64.b64encode(POSTER).decode() in page.text
    for accept in ("application/json", "*/*", "text/html, application/json"):
        assert (await client.get(url, headers={**bearer(), "Accept": accept})).json() == REPORT
    await orchestrator.storage.delete(f"recordings/{job_id}/1/poster.jpg")
    assert "<img" not in (await client.get(url, headers=browser)).text


async def test_what_lies_beside_the_file_is_had_by_the_names_of_the_report(
    client: httpx2.AsyncClient, orchestrator: Orchestrator
) -> None:
    await orchestrator.service.room_server()
    await orchestrator.service.node()
    job_id = (await start(client)).json()["jobId"]
    url = f"/api/recordings/{job_id}/assets"
    assert (await client.get(f"{url}/poster.jpg", headers=bearer())).status_code == 404
    await finish(orchestrator, job_id)

    poster = await client.get(f"{url}/poster.jpg", headers=bearer())
    assert (poster.status_code, poster.content) == (200, POSTER)
    assert poster.headers["content-type"] == "image/jpeg"
    assert poster.headers["content-disposition"] == 'inline; filename="poster.jpg"'
    part = await client.get(f"{url}/poster.jpg", headers={**bearer(), "Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, POSTER[2:5])

    for name in ("secret.txt", "file.mp4", "waveform.json", "thumbnail-001.jpg"):
        assert (await client.get(f"{url}/{name}", headers=bearer())).status_code == 404, name
    for name in ("..%2Fsecret.txt", "%2e%2e", ".hidden", "a%2Fb", "a b"):
        assert (await client.get(f"{url}/{name}", headers=bearer())).status_code in {404, 422}, name
    assert (await client.get(f"{url}/poster.jpg")).status_code == 401
    assert (await client.get(f"{url}/poster.jpg", headers=bearer(tenant="other"))).status_code == 404
