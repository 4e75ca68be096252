"""What release 0.1.0 really said, recorded from its processes, is still understood, and said so that it understands us.

A message of our own processes that is read and written again still has all that was in it: an old process on the
other side finds what it looks for. What people send only has to be taken.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from edumeet_recording.media.rtp import parse_rtp
from edumeet_recording.media.tape import RecordKind, decode_header, read_records
from edumeet_recording.node.journal import Journal
from edumeet_recording.wire import events, http, views, webhooks
from edumeet_recording.wire.node_link import (
    NODE_MESSAGE,
    ORCHESTRATOR_MESSAGE,
    CaptureDrained,
    ChunkStored,
    HeartbeatAnswer,
    HeartbeatPost,
)
from edumeet_recording.wire.room_link import ROOM_MESSAGE, ROOM_REQUEST

RELEASED = Path(__file__).parents[2] / "data" / "wire-0.1.0"


def recorded(name: str) -> Any:
    return json.loads((RELEASED / name).read_text())


NODE = recorded("node_link.json")
ROOM = recorded("room_link.json")
HTTP = recorded("http.json")
WATCH = recorded("watch.json")

MESSAGES: list[tuple[TypeAdapter[Any], dict[str, Any]]] = [
    *((NODE_MESSAGE, message) for message in NODE["up"]),
    *((ORCHESTRATOR_MESSAGE, message) for message in NODE["down"]),
    (TypeAdapter(HeartbeatPost), NODE["post"]["request"]),
    (TypeAdapter(HeartbeatAnswer), NODE["post"]["answer"]),
    *((ROOM_REQUEST, message) for message in ROOM["requests"]),
    *((ROOM_MESSAGE, message) for message in (*ROOM["answers"], *ROOM["heartbeat"])),
    *((TypeAdapter(events.WatchMessage), message) for message in WATCH["down"]),
]

ANSWERS: dict[str, type[views.View]] = {
    "POST /api/webhooks": webhooks.CreatedWebhook,
    "GET /api/webhooks": webhooks.WebhookList,
    "POST /api/recordings/start": views.Recording,
    "GET /api/recordings": views.RecordingPage,
    "GET /api/recordings/{jobId}": views.Recording,
    "POST /api/recordings/{jobId}/stop": views.Recording,
    "GET /api/recordings/{jobId}/events": views.JobEventPage,
    "GET /api/nodes": views.NodeList,
    "GET /api/metrics": views.Metrics,
    "GET /api/metrics/history": views.MetricsHistory,
    "GET /health": views.Liveness,
    "GET /health/ready": views.Readiness,
}


def endpoint(exchange: dict[str, Any]) -> str:
    path = exchange["path"].partition("?")[0].split("/")
    return f"{exchange['method']} {'/'.join('{jobId}' if len(part) == 32 else part for part in path)}"


def missing(old: Any, new: Any, at: str = "") -> list[str]:
    """Where `new` lacks or differs from what is in `old`; what it has beside that does no harm."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [gap for key, value in old.items() for gap in missing(value, new.get(key), f"{at}.{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [gap for i, pair in enumerate(zip(old, new, strict=True)) for gap in missing(*pair, f"{at}[{i}]")]
    return [] if old == new else [f"{at}: {old!r} has become {new!r}"]


@pytest.mark.parametrize(
    ("adapter", "message"), MESSAGES, ids=[str(message.get("type", "post")) for _, message in MESSAGES]
)
def test_a_message_is_read_and_nothing_of_it_lost(adapter: TypeAdapter[Any], message: dict[str, Any]) -> None:
    read = adapter.validate_python(message)
    assert missing(message, json.loads(adapter.dump_json(read, by_alias=True))) == []


@pytest.mark.parametrize("exchange", [each for each in HTTP if endpoint(each) in ANSWERS], ids=endpoint)
def test_an_answer_has_all_that_it_had(exchange: dict[str, Any]) -> None:
    answer = exchange["answer"]
    kind = views.Problem if exchange["status"] >= 400 else ANSWERS[endpoint(exchange)]
    read = kind.model_validate_json(json.dumps(answer))
    assert missing(answer, json.loads(read.model_dump_json(by_alias=True))) == []


def test_bodies_are_taken() -> None:
    for exchange in HTTP:
        if endpoint(exchange) == "POST /api/recordings/start" and exchange["status"] < 400:
            http.StartRecording.model_validate_json(json.dumps(exchange["body"]))
    http.RegisterFFmpegNode.model_validate_json(json.dumps(NODE["register"]))
    for body in ROOM["register"]:
        http.RegisterRoomServer.model_validate_json(json.dumps(body))


@pytest.mark.parametrize("message", WATCH["up"], ids=lambda message: message["type"])
def test_a_watcher_is_understood(message: dict[str, Any]) -> None:
    events.WATCHER_MESSAGE.validate_json(json.dumps(message))


def test_webhooks_are_signed_alike() -> None:
    told = recorded("webhooks.json")
    assert told["deliveries"]
    for delivery in told["deliveries"]:
        headers, body = delivery["headers"], delivery["body"]
        signed = webhooks.signature(
            told["secret"], headers["webhook-id"], int(headers["webhook-timestamp"]), body.encode()
        )
        assert signed == headers["webhook-signature"]
        read = webhooks.WebhookMessage.model_validate_json(body)
        assert missing(json.loads(body), json.loads(read.model_dump_json(by_alias=True))) == []


def test_a_journal_left_by_the_old_node_is_sent_by_the_new(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes((RELEASED / "journal.jsonl").read_bytes())
    before, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    journal = Journal(path, first_seq=1)
    assert [entry.seq for entry in journal.pending] == [line["seq"] for line in lines]
    assert [type(entry.body) for entry in journal.pending] == [ChunkStored, CaptureDrained]
    assert all(entry.seq > before["before"] for entry in journal.pending)


def test_a_chunk_left_by_the_old_node_is_read_by_the_new() -> None:
    data = (RELEASED / "chunk.tape").read_bytes()
    header, _ = decode_header(data)
    assert (header.epoch, header.seq) == (1, 2)
    assert header.tape_prefix == f"tapes/{header.job_id}/{header.capture_id}"
    records = list(read_records(data))
    assert len(records) == 5
    assert {parse_rtp(each.payload).payload_type for each in records if each.kind == RecordKind.RTP} <= {100, 101}
