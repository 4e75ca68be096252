"""Debian's Janus: an SFU that nobody here wrote, with as much of its HTTP API as publishing and forwarding need.

Its WebRTC side never binds to loopback (Janus skips that interface), but to another address of this machine; the kernel
keeps what goes there and back on `lo`. Everything else is on 127.0.0.1.
"""

import asyncio
import shutil
import signal
import socket
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from tests.waiting import eventually

from edumeet_recording.domain.codecs import Codec
from edumeet_recording.lifeline import die_with_parent

JANUS = shutil.which("janus")
START_S, END_S, ANSWER_S = 10.0, 5.0, 10.0

_CORE = """
general: { session_timeout = 0 }
media: { rtp_port_range = "20000-29999" }
nat: { ice_lite = true }
plugins: { disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,\
libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,\
libjanus_videocall.so,libjanus_voicemail.so" }
transports: { disable = "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so,\
libjanus_websockets.so" }
"""
_HTTP = 'general: {{ http = true, ip = "127.0.0.1", port = {port}, json = "compact" }}\n'
_ROOM = '{name}: {{ audiocodec = "opus", videocodec = "{codec}", publishers = 4 }}\n'


class JanusRefused(Exception):
    """Janus says no."""


@dataclass(frozen=True, slots=True)
class Published:
    """A peer's stream as Janus has it; `mid` is the m-line's (RFC 8843 §15)."""

    mid: str
    kind: str
    codec: Codec


@dataclass(frozen=True, slots=True)
class Forwarder:
    """One stream on its way to a recorder."""

    stream_id: int
    ssrc: int
    payload_type: int


class Janus:
    """The API of a running Janus, in one session. Raises `JanusRefused`."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.published: dict[tuple[str, str], tuple[Published, ...]] = {}
        """By room and peer."""
        self._client = client
        self._session = ""
        self._handles: dict[tuple[str, str], str] = {}

    async def open(self) -> None:
        """Begin the session."""
        self._session = f"/janus/{(await self._post('/janus', janus='create'))['data']['id']}"

    async def publish(self, room: str, peer_id: str, offer: str) -> str:
        """A peer joins a room and publishes what its SDP offers; the SDP answer."""
        attached = await self._post(self._session, janus="attach", plugin="janus.plugin.videoroom")
        self._handles[room, peer_id] = f"{self._session}/{attached['data']['id']}"
        body = {"request": "joinandconfigure", "ptype": "publisher", "room": room, "id": peer_id}
        event = await self._ask_later(room, peer_id, body, jsep={"type": "offer", "sdp": offer})
        self.published[room, peer_id] = tuple(
            Published(stream["mid"], stream["type"], Codec(stream["codec"]))
            for stream in event["plugindata"]["data"]["streams"]
        )
        return event["jsep"]["sdp"]

    async def request_key_frame(self, room: str, peer_id: str) -> None:
        """Ask the publisher for a key frame."""
        await self._ask_later(room, peer_id, {"request": "configure", "keyframe": True})

    async def forward(
        self, room: str, peer_id: str, host: str, streams: Sequence[Mapping[str, object]], srtp: Mapping[str, object]
    ) -> list[Forwarder]:
        """Send a peer's streams to `host`: `rtp_forward` of the VideoRoom, whose words `streams` and `srtp` are in."""
        body = {"request": "rtp_forward", "room": room, "publisher_id": peer_id, "host": host}
        made = await self._ask(room, peer_id, {**body, **srtp, "streams": list(streams)})
        return [Forwarder(each["stream_id"], each["ssrc"], each["pt"]) for each in made["forwarders"]]

    async def stop_forward(self, room: str, peer_id: str, stream_id: int) -> None:
        """Send it no more."""
        body = {"request": "stop_rtp_forward", "room": room, "publisher_id": peer_id, "stream_id": stream_id}
        await self._ask(room, peer_id, body)

    async def forwarded(self, room: str, peer_id: str) -> list[int]:
        """SSRCs that are sent to recorders."""
        listed = await self._ask(room, peer_id, {"request": "listforwarders", "room": room})
        return [forwarder["ssrc"] for each in listed["publishers"] for forwarder in each["forwarders"]]

    async def _ask(self, room: str, peer_id: str, body: Mapping[str, object]) -> dict[str, Any]:
        answer = await self._post(self._handles[room, peer_id], janus="message", body=body)
        return _data(answer)

    async def _ask_later(self, room: str, peer_id: str, body: Mapping[str, object], **fields: object) -> dict[str, Any]:
        """The event that answers a request which Janus only acknowledges at first."""
        sent = await self._post(self._handles[room, peer_id], janus="message", body=body, **fields)
        while True:
            event = (await self._client.get(self._session)).raise_for_status().json()
            if event.get("transaction") == sent["transaction"]:
                _data(event)
                return event

    async def _post(self, path: str, **message: object) -> dict[str, Any]:
        response = await self._client.post(path, json={**message, "transaction": uuid.uuid4().hex})
        answer = response.raise_for_status().json()
        if answer["janus"] == "error":
            raise JanusRefused(answer["error"]["reason"])
        return answer


def _data(message: Mapping[str, Any]) -> dict[str, Any]:
    data = message["plugindata"]["data"]
    if "error" in data:
        raise JanusRefused(data["error"])
    return data


@asynccontextmanager
async def janus(folder: Path, rooms: Mapping[str, Codec]) -> AsyncGenerator[Janus]:
    """A Janus with these rooms, each of one video codec; it ends with the block."""
    port = _free_port()
    configurations = {
        "janus.jcfg": _CORE,
        "janus.transport.http.jcfg": _HTTP.format(port=port),
        "janus.plugin.videoroom.jcfg": "general: { string_ids = true }\n"
        + "".join(_ROOM.format(name=f"room-{room}", codec=codec) for room, codec in rooms.items()),
    }
    for name, text in configurations.items():
        (folder / name).write_text(text)
    async with _process(folder), httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=ANSWER_S) as client:

        async def answers() -> bool:
            with suppress(httpx2.TransportError):
                return (await client.get("/janus/info")).is_success
            return False

        await eventually(answers, START_S)
        api = Janus(client)
        await api.open()
        yield api


@asynccontextmanager
async def _process(folder: Path) -> AsyncGenerator[None]:
    with (folder / "janus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            JANUS or "janus",
            f"--configs-folder={folder}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGKILL),
        )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _free_port() -> int:
    """Janus cannot be told to take any."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
