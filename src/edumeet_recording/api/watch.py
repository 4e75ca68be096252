"""The watchers' WebSocket: one session reads subscriptions and sends what the hub delivers; `wire/events.py`."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from edumeet_recording.api.auth import Principal, Scope
from edumeet_recording.api.deps import ApiDeps, deps_of
from edumeet_recording.api.errors import problem_of
from edumeet_recording.api.links import GOING_AWAY, bearer_of
from edumeet_recording.api.node_pages import pages_of_nodes, written
from edumeet_recording.api.watch_hub import (
    Follower,
    Mailbox,
    MetricsFollower,
    NodesFollower,
    RecordingsFollower,
    ScalingFollower,
    to_text,
)
from edumeet_recording.domain.errors import InvalidRequest, OrchestratorError, Unauthenticated
from edumeet_recording.store import views
from edumeet_recording.web import WRITING
from edumeet_recording.wire.events import (
    WATCHER_MESSAGE,
    Auth,
    Authenticated,
    MetricsSnapshot,
    NodesSnapshot,
    Ping,
    Pong,
    RecordingsFilter,
    RecordingsSnapshot,
    ScalingAlertsSnapshot,
    SubscribeMetrics,
    SubscribeNodes,
    SubscribeRecordings,
    SubscribeScalingAlerts,
    Topic,
    Unsubscribe,
    Unsubscribed,
    WatcherMessage,
    WatchError,
)
from edumeet_recording.wire.views import Node, Recording

AUTH_TIMEOUT_S = 10.0
LONGEST_SESSION_S = 86400.0
CLOSE_TIMEOUT_S = 1.0
MOST_CHARACTERS = 16384
SNAPSHOT_RECORDINGS = 200
SNAPSHOT_ALERTS = 100

UNSUPPORTED_DATA = 1003
POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013

router = APIRouter()

_SCOPES: dict[Topic, Scope] = {
    "recordings": Scope.RECORDINGS_READ,
    "nodes": Scope.NODES_READ,
    "metrics": Scope.METRICS_READ,
    "scaling_alerts": Scope.METRICS_READ,
}


@dataclass
class _Ended(Exception):
    """The session is over; a code where it is we who close."""

    code: int | None
    reason: str


@router.websocket("/ws")
async def watch(socket: WebSocket) -> None:
    """Follow recordings, nodes, metrics and scaling as they change."""
    deps = deps_of(socket)
    token = bearer_of(socket)
    caller: Principal | None = None
    if token is not None:
        try:
            caller = await deps.authenticator.verify(token)
        except OrchestratorError as error:
            await socket.send_denial_response(problem_of(socket.url.path, error))
            return
    await socket.accept()
    try:
        session = _Session(socket, deps, caller or await _first_message(socket, deps))
        await session.run()
    except* _Ended as ended:
        ending = next(_endings(ended))
        if ending.code is not None:
            await _close(socket, ending.code, ending.reason)


async def _first_message(socket: WebSocket, deps: ApiDeps) -> Principal:
    """The caller that the first message's token names."""
    try:
        async with asyncio.timeout(AUTH_TIMEOUT_S):
            message = _parsed(await _received(socket))
        if not isinstance(message, Auth):
            raise Unauthenticated('the first message must be {"type":"auth","token":"…"}')
        return await deps.authenticator.verify(message.token)
    except TimeoutError:
        raise _Ended(POLICY_VIOLATION, "no token came") from None
    except OrchestratorError as error:
        await socket.send_text(to_text(WatchError(code=error.code, message=error.message)))
        raise _Ended(POLICY_VIOLATION, error.code) from error


class _Session:
    """One watcher that is known."""

    def __init__(self, socket: WebSocket, deps: ApiDeps, caller: Principal) -> None:
        self._socket = socket
        self._deps = deps
        self._caller = caller
        self._mailbox = Mailbox(socket.scope.get("extensions", {}).get(WRITING, {}).get("write"))
        self._followers: dict[Topic, Follower] = {}

    async def run(self) -> NoReturn:
        """Serve until the watcher leaves, is too slow, or its token expires; raises `_Ended`, in a group."""
        self._mailbox.put(to_text(Authenticated(scopes=tuple(sorted(self._caller.scopes)))))
        try:
            with self._deps.watch.session() as let_go:
                async with asyncio.TaskGroup() as group:
                    for part in (self._write(), self._drop_when_slow(), self._end_with_token(), _end_when(let_go)):
                        group.create_task(part)
                    await self._read()
        finally:
            for follower in self._followers.values():
                self._deps.watch.remove(follower)

    async def _read(self) -> NoReturn:
        while True:
            text = await _received(self._socket)
            try:
                await self._carry_out(_parsed(text))
            except OrchestratorError as error:
                self._mailbox.put(to_text(WatchError(code=error.code, message=error.message)))

    async def _write(self) -> NoReturn:
        while True:
            text = await self._mailbox.get()
            try:
                await self._socket.send_text(text)
            except (WebSocketDisconnect, RuntimeError, OSError) as error:
                raise _Ended(None, str(error)) from error

    async def _drop_when_slow(self) -> NoReturn:
        await self._mailbox.overflowed.wait()
        raise _Ended(TRY_AGAIN_LATER, "too slow: subscribe again with since")

    async def _end_with_token(self) -> NoReturn:
        await asyncio.sleep(min(self._deps.authenticator.remaining_s(self._caller), LONGEST_SESSION_S))
        raise _Ended(POLICY_VIOLATION, "the token has expired")

    async def _carry_out(self, message: WatcherMessage) -> None:
        match message:
            case Ping():
                self._mailbox.put(to_text(Pong()))
            case Auth():
                raise InvalidRequest("the token was taken already")
            case Unsubscribe(topic=topic):
                self._unfollow(topic)
                self._mailbox.put(to_text(Unsubscribed(topic=topic)))
            case SubscribeRecordings():
                await self._follow_recordings(message)
            case SubscribeNodes():
                await self._follow_nodes(message)
            case SubscribeMetrics():
                await self._follow_metrics()
            case SubscribeScalingAlerts():
                await self._follow_scaling(message)

    def _follow(self, topic: Topic, follower: Follower) -> None:
        """Have the hub deliver to `follower`, in place of an earlier subscription of the topic."""
        self._unfollow(topic)
        self._followers[topic] = follower
        self._deps.watch.add(follower)

    def _unfollow(self, topic: Topic) -> None:
        follower = self._followers.pop(topic, None)
        if follower is not None:
            self._deps.watch.remove(follower)

    def _permit(self, topic: Topic) -> None:
        self._caller.require(_SCOPES[topic])

    async def _follow_recordings(self, asked: SubscribeRecordings) -> None:
        self._permit("recordings")
        hub, tenant, wanted = self._deps.watch, self._caller.tenant, asked.filter
        position = await hub.position()
        follower = RecordingsFollower(self._mailbox, tenant=tenant, wanted=wanted, floor=position)
        self._follow("recordings", follower)
        items, truncated = await self._recordings(wanted)
        follower.fitting.update(each.job_id for each in items)
        missed = await hub.missed(follower, asked.since, position) if asked.since is not None else None
        if missed is None:
            snapshot = RecordingsSnapshot(seq=position, items=tuple(items), truncated=truncated)
            follower.open([to_text(snapshot)])
        else:
            follower.open(missed)

    async def _recordings(self, wanted: RecordingsFilter) -> tuple[list[Recording], bool]:
        async with self._deps.reading() as conn:
            if wanted.job_id is not None:
                found = await views.recordings(conn, [wanted.job_id], self._caller.tenant)
                return found, False
            named = views.RecordingFilter(
                statuses=wanted.status,
                room_server_id=wanted.room_server_id,
                room_id=wanted.room_id,
                peer_id=wanted.peer_id,
                region=wanted.region,
            )
            items, end = await views.page_of_recordings(
                conn, named, tenant=self._caller.tenant, after=None, most=SNAPSHOT_RECORDINGS
            )
        return items, end is not None

    async def _follow_nodes(self, asked: SubscribeNodes) -> None:
        self._permit("nodes")
        follower = NodesFollower(self._mailbox, wanted=asked.filter)
        self._follow("nodes", follower)
        snapshot, everything = NodesSnapshot(seq=self._deps.watch.counter, items=()), list[Node]()

        async def fitting() -> AsyncGenerator[Sequence[Node]]:
            async for page in pages_of_nodes(self._deps):
                everything.extend(page)
                yield [node for node in page if follower.wants(node)]

        text = "".join([piece async for piece in await written(snapshot, fitting())])
        self._deps.watch.prime_nodes(everything)
        follower.open([text])

    async def _follow_metrics(self) -> None:
        self._permit("metrics")
        follower = MetricsFollower(self._mailbox)
        self._follow("metrics", follower)
        counter = self._deps.watch.counter
        async with self._deps.reading() as conn:
            now = await views.metrics_now(conn)
        follower.open([to_text(MetricsSnapshot(seq=counter, metrics=now))])

    async def _follow_scaling(self, asked: SubscribeScalingAlerts) -> None:
        self._permit("scaling_alerts")
        async with self._deps.reading() as conn:
            last = await views.last_scaling_event_id(conn)
            after = max(0, last - SNAPSHOT_ALERTS) if asked.since is None else asked.since
            items = await views.scaling_events_after(conn, after, most=SNAPSHOT_ALERTS)
        position = items[-1].id if items else last
        follower = ScalingFollower(self._mailbox, floor=position)
        self._follow("scaling_alerts", follower)
        self._deps.watch.prime_scaling(position)
        follower.open([to_text(ScalingAlertsSnapshot(seq=position, items=tuple(items)))])


async def _end_when(let_go: asyncio.Event) -> NoReturn:
    await let_go.wait()
    raise _Ended(GOING_AWAY, "another replica has joined: subscribe again with since")


async def _received(socket: WebSocket) -> str:
    """The next text message; raises `_Ended` where the watcher has gone."""
    try:
        return await socket.receive_text()
    except (WebSocketDisconnect, RuntimeError) as error:
        raise _Ended(None, str(error)) from error
    except KeyError as error:
        raise _Ended(UNSUPPORTED_DATA, "only text messages are understood") from error


def _parsed(text: str) -> WatcherMessage:
    """The message; raises `InvalidRequest` that names the field."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidRequest(f"the message has more than {MOST_CHARACTERS} characters", code="message_too_large")
    try:
        return WATCHER_MESSAGE.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "message"
        raise InvalidRequest(f"{where}: {first['msg']}", code="invalid_message") from error


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    # a watcher that does not read may not let us say good-bye either
    with suppress(TimeoutError, WebSocketDisconnect, RuntimeError, OSError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await socket.close(code, reason)


def _endings(group: BaseExceptionGroup) -> Iterator[_Ended]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _endings(each)
        elif isinstance(each, _Ended):
            yield each
