"""The room server contract before Janus, as an integrator would write it: JSON in, `rtp_forward`, JSON out.

It knows the contract from docs/design.md alone and uses none of our message types, nor may it.
"""

import asyncio
import base64
import secrets
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.system.sfu.janus import Forwarder, Janus, JanusRefused

from edumeet_recording import web

Json = dict[str, Any]


class JanusRoomServer:
    """Answers for the rooms of one Janus. `srtp`: it encrypts what it forwards, with a key of its own."""

    def __init__(self, janus: Janus, *, srtp: bool) -> None:
        self._janus = janus
        self._srtp = srtp
        self._answers: dict[tuple[str, int], Json] = {}
        self._forwarders: dict[tuple[str, int], tuple[str, str, list[Forwarder]]] = {}

    def app(self) -> Starlette:
        """The contract over HTTP."""
        return Starlette(
            routes=[
                Route("/configure-rtp-forwarding", self._configure, methods=["POST"]),
                Route("/stop-rtp-forwarding", self._stop, methods=["POST"]),
                Route("/request-key-frame", self._request_key_frame, methods=["POST"]),
                Route("/health", self._health),
            ]
        )

    async def _health(self, _request: Request) -> JSONResponse:
        return JSONResponse({})

    async def _configure(self, request: Request) -> JSONResponse:
        asked = await request.json()
        key = asked["jobId"], asked["epoch"]
        if key not in self._answers:
            try:
                self._answers[key] = await self._forward(key, asked)
            except (JanusRefused, KeyError) as error:
                return JSONResponse({"code": "no_such_peer", "error": repr(error)}, 404)
        return JSONResponse(self._answers[key])

    async def _stop(self, request: Request) -> JSONResponse:
        asked = await request.json()
        key = asked["jobId"], asked["epoch"]
        room, peer_id, forwarders = self._forwarders.pop(key, ("", "", []))
        for each in forwarders:
            await self._janus.stop_forward(room, peer_id, each.stream_id)
        return JSONResponse({})

    async def _request_key_frame(self, request: Request) -> JSONResponse:
        asked = await request.json()
        for (job_id, _), (room, peer_id, _) in self._forwarders.items():
            if job_id == asked["jobId"]:
                await self._janus.request_key_frame(room, peer_id)
        return JSONResponse({})

    async def _forward(self, key: tuple[str, int], asked: Json) -> Json:
        room, peer_id, host = asked["roomId"], asked["peerId"], asked["targetNode"]["ip"]
        published = {each.kind: each for each in self._janus.published[room, peer_id]}
        wanted = [stream for stream in asked["rtpStreams"] if stream["kind"] in published]
        secret = base64.b64encode(secrets.token_bytes(30)).decode()
        forwarders = await self._janus.forward(
            room,
            peer_id,
            host,
            [
                {
                    "mid": published[stream["kind"]].mid,
                    "port": stream["port"],
                    "rtcp_port": stream["rtcpPort"],
                    "ssrc": secrets.randbelow(2**32 - 1) + 1,
                    "pt": stream["payloadType"],
                }
                for stream in wanted
            ],
            {"srtp_suite": 80, "srtp_crypto": secret} if self._srtp else {},
        )
        self._forwarders[key] = room, peer_id, forwarders
        srtp = {"srtp": {"suite": "AES_CM_128_HMAC_SHA1_80", "keyBase64": secret}} if self._srtp else {}
        streams = [
            {
                "index": stream["index"],
                "kind": stream["kind"],
                "codecName": published[stream["kind"]].codec,
                "payloadType": made.payload_type,
                "ssrc": made.ssrc,
                "clockRate": stream["clockRate"],
                "channels": stream.get("channels"),
                "sourceIp": host,  # Janus is on the node's machine
                **srtp,
            }
            for stream, made in zip(wanted, forwarders, strict=True)
        ]
        return {"rtcpMux": False, "rtpStreams": streams}


@asynccontextmanager
async def serving(server: JanusRoomServer) -> AsyncGenerator[str]:
    """The URL it is served at until the block is left."""
    listening = socket.create_server(("127.0.0.1", 0))
    stop, answers = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(web.serve(server.app(), listening, stop, answers.set))
        await answers.wait()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            stop.set()
