"""The room server of a deployment: in this process, yet it can be killed and started again with the same peers."""

from edumeet_recording.sim.faults.diary import Diary
from edumeet_recording.sim.publisher import PeerMedia, SentEvent
from edumeet_recording.sim.room_server import SimulatedRoomServer, SimulatorOptions

_Peer = tuple[str, str]
"""Room and peer."""


class RoomPart:
    """`options` name the port that each of its lives has; what earlier ones sent is not forgotten."""

    def __init__(self, options: SimulatorOptions, diary: Diary) -> None:
        self._options = options
        self._diary = diary
        self._peers: dict[_Peer, PeerMedia] = {}
        self._sent: dict[_Peer, tuple[SentEvent, ...]] = {}
        self._server: SimulatedRoomServer | None = None
        self.deaths: list[float] = []
        """When it was killed, epoch seconds."""

    @property
    def is_registered(self) -> bool:
        """Whether it is there, and an orchestrator has accepted it."""
        return self._server is not None and self._server.is_registered

    async def start(self) -> None:
        """It is there, and its peers publish anew: by other SSRCs, from other ports."""
        self._server = await SimulatedRoomServer(self._options).__aenter__()
        for (room_id, peer_id), media in self._peers.items():
            self._server.add_peer(room_id, peer_id, media)
        self._diary.note("started", part=self._options.server_id)

    def add_peer(self, room_id: str, peer_id: str, media: PeerMedia) -> None:
        """A peer joins, and comes again after each restart."""
        self._peers[room_id, peer_id] = media
        if self._server is not None:
            self._server.add_peer(room_id, peer_id, media)

    def plan(self, room_id: str, peer_id: str) -> tuple[SentEvent, ...]:
        """Every beep and flash of a peer that was sent so far."""
        now = self._server.plan(room_id, peer_id) if self._server else ()
        return (*self._sent.get((room_id, peer_id), ()), *now)

    async def kill(self) -> float:
        """It is gone without a word; when that was."""
        at = self._diary.note("killed", part=self._options.server_id)
        self.deaths.append(at)
        self._sent = {peer: self.plan(*peer) for peer in self._peers}
        if self._server is not None:
            await self._server.kill()
        await self.end()
        return at

    async def end(self) -> None:
        """It is gone, where it is there."""
        server, self._server = self._server, None
        if server is not None:
            await server.__aexit__(None, None, None)
