"""The rooms of a simulated room server: who publishes what, and whose media goes where; it answers the contract."""

from collections.abc import Callable
from dataclasses import dataclass

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.media.errors import MediaError
from edumeet_recording.sim.forwarding import Delivery, Forwarding
from edumeet_recording.sim.publisher import PeerMedia, Publisher
from edumeet_recording.wire.room_link import (
    Configured,
    ConfigureForwarding,
    Done,
    RequestKeyFrameOf,
    RequestRefused,
    RoomRequest,
    StopForwarding,
)


@dataclass(frozen=True, slots=True)
class _Peer:
    publisher: Publisher
    delivery: Delivery


class Rooms:
    """Peers and forwardings. Every forwarding lives until it is stopped: of a job, several epochs may live at once."""

    def __init__(self, listen_ip: str) -> None:
        self.on_change: Callable[[str, str], None] = lambda _room_id, _peer_id: None
        """Hears room and peer wherever what a peer publishes has changed."""
        self._listen_ip = listen_ip
        self._rooms: dict[str, dict[str, _Peer]] = {}
        self._forwardings: dict[tuple[str, int], Forwarding] = {}

    @property
    def size(self) -> tuple[int, int]:
        """Rooms and peers."""
        return len(self._rooms), sum(len(peers) for peers in self._rooms.values())

    def add_peer(self, room_id: str, peer_id: str, media: PeerMedia, delivery: Delivery | None = None) -> None:
        """A peer joins and publishes from now on. Raises `ValueError` where it is there already."""
        peers = self._rooms.setdefault(room_id, {})
        if peer_id in peers:
            raise ValueError(f"{peer_id} is in {room_id} already")
        peers[peer_id] = _Peer(Publisher(media), delivery or Delivery())

    def publisher(self, room_id: str, peer_id: str) -> Publisher:
        """A peer's publisher. Raises `KeyError` where there is none."""
        return self._rooms[room_id][peer_id].publisher

    def forwardings(self, room_id: str, peer_id: str) -> tuple[Forwarding, ...]:
        """Where a peer's media goes."""
        return tuple(each for each in self._forwardings.values() if each.peer == (room_id, peer_id))

    def produce(self, room_id: str, peer_id: str, kind: Kind, *, on: bool) -> None:
        """A peer switches its camera or microphone on or off. Raises `KeyError` where it is not there."""
        self.publisher(room_id, peer_id).produce(kind, on=on)
        if not on:
            for forwarding in self.forwardings(room_id, peer_id):
                forwarding.drop(kind)
        self.on_change(room_id, peer_id)

    async def remove_peer(self, room_id: str, peer_id: str) -> None:
        """A peer leaves; what forwards it falls silent. Raises `KeyError` where it is not there."""
        publisher = self._rooms[room_id].pop(peer_id).publisher
        if not self._rooms[room_id]:
            del self._rooms[room_id]
        await publisher.close()

    async def close(self) -> None:
        """Everything ends at once, without a word."""
        for forwarding in self._forwardings.values():
            forwarding.close()
        self._forwardings.clear()
        for peers in tuple(self._rooms.values()):
            for peer in peers.values():
                await peer.publisher.close()
        self._rooms.clear()

    def handle(self, request: RoomRequest) -> Configured | Done | RequestRefused:
        """The answer to one request."""
        match request:
            case ConfigureForwarding():
                return self._configure(request)
            case StopForwarding():
                forwarding = self._forwardings.pop((request.job_id, request.epoch), None)
                if forwarding is not None:
                    forwarding.close()
                return Done(request_id=request.request_id)
            case RequestKeyFrameOf():
                return self._key_frame(request)

    def _configure(self, request: ConfigureForwarding) -> Configured | RequestRefused:
        key = (request.job_id, request.epoch)
        if key not in self._forwardings:
            made = self._forward(request)
            if isinstance(made, RequestRefused):
                return made
            self._forwardings[key] = made
        forwarding = self._forwardings[key]
        try:
            forwarding.consume(request)
        except OSError as error:
            return RequestRefused(request_id=request.request_id, code="no_socket", error=str(error))
        return Configured(request_id=request.request_id, rtcp_mux=request.rtcp_mux, rtp_streams=forwarding.streams)

    def _forward(self, request: ConfigureForwarding) -> Forwarding | RequestRefused:
        def refusal(code: str, error: str) -> RequestRefused:
            return RequestRefused(request_id=request.request_id, code=code, error=error)

        peers = self._rooms.get(request.room_id)
        if peers is None:
            return refusal("no_such_room", f"there is no room {request.room_id}")
        peer = peers.get(request.peer_id)
        if peer is None:
            return refusal("no_such_peer", f"there is no peer {request.peer_id} in room {request.room_id}")
        if all(peer.publisher.codec(asked.kind) is None for asked in request.rtp_streams):
            return refusal("no_such_stream", f"peer {request.peer_id} publishes nothing of what is asked for")
        try:
            return Forwarding(request, peer.publisher, self._listen_ip, peer.delivery)
        except OSError as error:
            return refusal("no_socket", f"no socket to send from: {error}")
        except MediaError as error:
            return refusal("bad_srtp_key", str(error))

    def _key_frame(self, request: RequestKeyFrameOf) -> Done:
        for (job_id, _epoch), forwarding in self._forwardings.items():
            if job_id == request.job_id:
                forwarding.request_key_frame()
        return Done(request_id=request.request_id)
