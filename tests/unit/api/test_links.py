"""WebSockets are opened to those who may, and to nobody else."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from tests.unit.api.fakes import NODE_TOKEN, RecordingCommands, bearer, token

from edumeet_recording.api.deps import ApiDeps

LINKS = {
    "/api/nodes/ffmpeg-nodes/node-1/link": ("ffmpeg-node", "node-1"),
    "/api/nodes/room-servers/room-1/link": ("room-server", "room-1"),
}


@pytest.fixture
def caller(app: FastAPI, deps: ApiDeps) -> Iterator[TestClient]:
    app.state.deps = deps
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("path", LINKS)
@pytest.mark.parametrize("by_query", [True, False])
def test_a_node_is_served_by_its_token(
    caller: TestClient, commands: RecordingCommands, path: str, by_query: bool
) -> None:
    kind, node_id = LINKS[path]
    url = f"{path}?token={NODE_TOKEN}" if by_query else path
    headers = {} if by_query else {"Authorization": f"Bearer {NODE_TOKEN}"}
    with caller.websocket_connect(url, headers=headers) as link:
        link.send_text("hello")
        assert link.receive_text() == f"{node_id}: hello"
        link.send_text("quit")
        with pytest.raises(WebSocketDisconnect) as closed:
            link.receive_text()
    assert closed.value.code == 1001
    assert commands.calls == [("authenticate_node", kind, node_id)]


@pytest.mark.parametrize("path", LINKS)
def test_a_node_that_leaves_or_sends_bytes_ends_its_link(caller: TestClient, path: str) -> None:
    headers = {"Authorization": f"Bearer {NODE_TOKEN}"}
    with caller.websocket_connect(path, headers=headers):
        pass
    with caller.websocket_connect(path, headers=headers) as link:
        link.send_bytes(b"\x00")
        with pytest.raises(WebSocketDisconnect):
            link.receive_text()


def test_an_absent_database_ends_the_link_and_the_node_comes_again(caller: TestClient) -> None:
    headers = {"Authorization": f"Bearer {NODE_TOKEN}"}
    with caller.websocket_connect("/api/nodes/ffmpeg-nodes/node-1/link", headers=headers) as link:
        link.send_text("away")
        with pytest.raises(WebSocketDisconnect) as closed:
            link.receive_text()
    assert closed.value.code == 1001


def test_a_message_that_cannot_be_stored_ends_the_link(caller: TestClient) -> None:
    headers = {"Authorization": f"Bearer {NODE_TOKEN}"}
    with caller.websocket_connect("/api/nodes/ffmpeg-nodes/node-1/link", headers=headers) as link:
        link.send_text('{"refusal": "a\\u0000b"}')
        with pytest.raises(WebSocketDisconnect) as closed:
            link.receive_text()
    assert closed.value.code == 1001


@pytest.mark.parametrize("path", [*LINKS, "/api/nodes/ffmpeg-nodes/a%00b/link"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "Basic x"}, bearer()])
def test_a_stranger_gets_no_link(caller: TestClient, path: str, headers: dict[str, str]) -> None:
    with pytest.raises(WebSocketDenialResponse) as denied, caller.websocket_connect(path, headers=headers):
        pass
    assert denied.value.status_code == 401
    assert denied.value.json()["code"] == "unauthenticated"


def test_a_watcher_with_a_bad_token_is_not_let_in(caller: TestClient) -> None:
    with pytest.raises(WebSocketDenialResponse) as denied, caller.websocket_connect("/ws?token=bad"):
        pass
    assert denied.value.status_code == 401


@pytest.mark.parametrize("way", ["header", "query", "message"])
def test_a_watcher_shows_its_token_in_any_of_three_ways(caller: TestClient, way: str) -> None:
    url = f"/ws?token={token('nodes:read')}" if way == "query" else "/ws"
    with caller.websocket_connect(url, headers=bearer("nodes:read") if way == "header" else {}) as socket:
        if way == "message":
            socket.send_json({"type": "auth", "token": token("nodes:read")})
        assert socket.receive_json() == {"type": "authenticated", "scopes": ["nodes:read"]}
        socket.send_json({"type": "ping"})
        assert socket.receive_json() == {"type": "pong"}


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ({"type": "auth", "token": "bad"}, "unauthenticated"),
        ({"type": "auth", "token": token(ttl_s=0)}, "token_expired"),
        ({"type": "ping"}, "unauthenticated"),
        ({"type": "auth"}, "invalid_message"),
        ([], "invalid_message"),
    ],
)
def test_a_watcher_that_does_not_say_who_it_is_is_sent_away(caller: TestClient, first: Any, code: str) -> None:
    with caller.websocket_connect("/ws") as socket:
        socket.send_json(first)
        answer = socket.receive_json()
        assert (answer["type"], answer["code"]) == ("error", code)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert closed.value.code == 1008


def test_a_watcher_that_says_nothing_is_sent_away(caller: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edumeet_recording.api.watch.AUTH_TIMEOUT_S", 0.01)
    with caller.websocket_connect("/ws") as socket, pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_text()
    assert (closed.value.code, closed.value.reason) == (1008, "no token came")


def test_a_watcher_goes_when_its_token_expires(caller: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edumeet_recording.api.watch.LONGEST_SESSION_S", 0.01)
    with caller.websocket_connect("/ws", headers=bearer()) as socket:
        socket.receive_text()
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert (closed.value.code, closed.value.reason) == (1008, "the token has expired")


@pytest.mark.parametrize(
    ("message", "code", "names"),
    [
        ({"type": "subscribe_everything"}, "invalid_message", "subscribe_everything"),
        ({"type": "subscribe_recordings", "since": "5"}, "invalid_message", "since"),
        ({"type": "subscribe_recordings", "since": -1}, "invalid_message", "since"),
        ({"type": "subscribe_recordings", "filter": {"status": "asleep"}}, "invalid_message", "filter.status"),
        ({"type": "subscribe_recordings", "filter": {"colour": "red"}}, "invalid_message", "filter.colour"),
        ({"type": "subscribe_recordings", "filter": {"roomId": "a\x00"}}, "invalid_message", "filter.roomId"),
        ({"type": "subscribe_nodes", "filter": {"kind": "router"}}, "invalid_message", "filter.kind"),
        ({"type": "unsubscribe", "topic": "weather"}, "invalid_message", "topic"),
        ({"type": "auth", "token": "again"}, "invalid_request", "already"),
        ({"type": "subscribe_recordings"}, "missing_scope", "recordings:read"),
        ({"type": "subscribe_metrics"}, "missing_scope", "metrics:read"),
        ({"type": "subscribe_scaling_alerts"}, "missing_scope", "metrics:read"),
        ({"type": "subscribe_nodes"}, "unavailable", "database"),
        ({"type": "ping", "padding": "x" * 20000}, "message_too_large", "16384"),
    ],
)
def test_what_a_watcher_may_not_is_answered_and_the_session_goes_on(
    caller: TestClient, message: Any, code: str, names: str
) -> None:
    with caller.websocket_connect("/ws", headers=bearer("nodes:read")) as socket:
        socket.receive_json()
        socket.send_json(message)
        answer = socket.receive_json()
        assert (answer["type"], answer["code"]) == ("error", code)
        assert names in answer["message"]
        socket.send_json({"type": "unsubscribe", "topic": "nodes"})
        assert socket.receive_json() == {"type": "unsubscribed", "topic": "nodes"}


def test_a_watcher_that_sends_bytes_is_sent_away(caller: TestClient) -> None:
    with caller.websocket_connect("/ws", headers=bearer()) as socket:
        socket.receive_json()
        socket.send_bytes(b"\x00")
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
    assert closed.value.code == 1003
