"""The links of room servers: requests down, results and heartbeats up."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from edumeet_recording.control.link_transport import LinkClosed, LinkTransport
from edumeet_recording.control.node_links import GOING_AWAY, PROTOCOL_ERROR, REPLACED
from edumeet_recording.control.room_servers import room_server_back
from edumeet_recording.rooms.base import RoomServerUnreachable
from edumeet_recording.rooms.link import LinkedRoomServer
from edumeet_recording.store import forwardings, nodes
from edumeet_recording.store.transaction import Channel, Transactor, Tx
from edumeet_recording.wire.room_link import ROOM_MESSAGE, PeerChanged, RoomHeartbeat, RoomHello

log = structlog.get_logger()

SETTLE_S = 2.0
"""Before a link is let go its room server has this long to answer what it was asked; the rest is asked again."""


@dataclass(slots=True, eq=False)
class _Session:
    """One room server's link; one that is let go is asked nothing more."""

    server: LinkedRoomServer
    transport: LinkTransport
    let_go: bool = False


class RoomLinks:
    """The room servers that are linked with this replica."""

    def __init__(self, db: Transactor, replica: str, request_timeout_s: float) -> None:
        self._db = db
        self._replica = replica
        self._timeout_s = request_timeout_s
        self._sessions: dict[str, _Session] = {}

    @property
    def linked(self) -> list[str]:
        """Ids of the room servers whose link is here, to stay."""
        return [server_id for server_id, session in self._sessions.items() if not session.let_go]

    @property
    def count(self) -> int:
        """Links that are here."""
        return len(self._sessions)

    def get(self, server_id: str) -> LinkedRoomServer | None:
        """The room server, where its link is here."""
        held = self._sessions.get(server_id)
        return held and held.server

    async def serve(self, server_id: str, transport: LinkTransport) -> None:
        """Serve a room server's link until it closes; a newer link of the same server replaces the older one."""

        async def send(text: str) -> None:
            try:
                await transport.send(text)
            except LinkClosed as error:
                raise RoomServerUnreachable(f"{server_id} closed its link") from error

        older = self._sessions.get(server_id)
        server = LinkedRoomServer(server_id, send, self._timeout_s)
        session = self._sessions[server_id] = _Session(server, transport)
        if older is not None:
            await older.transport.close(REPLACED, "replaced by a newer link")
        try:
            await self._db.run(lambda tx: nodes.link(tx.conn, "room-server", [server_id], self._replica))
            await self._beat(server_id, RoomHeartbeat(server_id=server_id))
            log.info("room_server_linked", server_id=server_id)
            await room_server_back(self._db, server_id)
            await self._read(server_id, server, transport)
        except LinkClosed:
            pass
        finally:
            server.close()
            if self._sessions.get(server_id) is session:
                del self._sessions[server_id]
                await self._db.run(self._unlink(server_id, session))
            log.info("room_server_link_closed", server_id=server_id)

    async def _read(self, server_id: str, server: LinkedRoomServer, transport: LinkTransport) -> None:
        while True:
            text = await transport.receive()
            try:
                message = ROOM_MESSAGE.validate_json(text)
            except ValidationError as error:
                log.warning("room_server_message_refused", server_id=server_id, error=str(error))
                await transport.close(PROTOCOL_ERROR, "not a message of this protocol")
                return
            match message:
                case RoomHello():
                    continue
                case RoomHeartbeat():
                    await self._beat(server_id, message)
                case PeerChanged():
                    await self._db.run(self._changed(server_id, message))
                case _:
                    server.deliver(message)

    async def _beat(self, server_id: str, beat: RoomHeartbeat) -> None:
        await self._db.run(lambda tx: nodes.store_room_heartbeat(tx.conn, server_id, beat.rooms, beat.peers, tx.now))

    def _changed(self, server_id: str, peer: PeerChanged) -> Callable[[Tx], Awaitable[None]]:
        async def work(tx: Tx) -> None:
            await forwardings.ask_again_for_peer(tx.conn, server_id, peer.room_id, peer.peer_id, tx.now)
            tx.hint(Channel.FORWARDING)

        return work

    def _unlink(self, server_id: str, session: _Session) -> Callable[[Tx], Awaitable[None]]:
        """A link that broke makes its room server suspect; one that we let go does not."""

        async def work(tx: Tx) -> None:
            broken_at = None if session.let_go else tx.now
            await nodes.unlink(tx.conn, "room-server", [server_id], self._replica, broken_at)
            if not session.let_go:
                tx.hint(Channel.HEALTH)

        return work

    async def goaway(self) -> None:
        """Have every room server open its link again, to any replica: this one goes down."""
        await self._let_go(list(self._sessions.values()), "the orchestrator is going down")

    async def release(self, count: int) -> None:
        """Have `count` room servers open their links again: other replicas have room for them."""
        sessions = list(self._sessions.values())
        await self._let_go(random.sample(sessions, min(count, len(sessions))), "another replica has joined")

    async def _let_go(self, sessions: list[_Session], reason: str) -> None:
        for session in sessions:
            session.let_go = True
        async with asyncio.TaskGroup() as tasks:
            for session in sessions:
                tasks.create_task(self._close(session, reason))

    async def _close(self, session: _Session, reason: str) -> None:
        await session.server.settled(SETTLE_S)
        await session.transport.close(GOING_AWAY, reason)
