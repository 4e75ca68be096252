"""The simulated room server as a whole: rooms, the HTTP contract, and the connection to an orchestrator."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Self

from edumeet_recording import web
from edumeet_recording.domain.codecs import Codec, Kind, kind_of
from edumeet_recording.sim.forwarding import Delivery
from edumeet_recording.sim.publisher import PeerMedia, SentEvent
from edumeet_recording.sim.room_http import room_app
from edumeet_recording.sim.room_link import Registration, RoomLink
from edumeet_recording.sim.rooms import Rooms


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """One room server. `host`, `port`: where it serves HTTP (0: any port); `media_ip`: where RTP is sent from.

    `orchestrator_url` empty: it registers nowhere. `use_link`: it opens a link, and need not be reachable.
    """

    server_id: str = "room-server-1"
    host: str = "127.0.0.1"
    port: int = 0
    media_ip: str = "127.0.0.1"
    orchestrator_url: str = ""
    registration_secret: str = ""
    region: str = "default"
    capacity: int = 100
    use_link: bool = False
    room_id: str = "room-1"
    peers: Mapping[str, PeerMedia] = field(default_factory=lambda: MappingProxyType({"peer-1": PeerMedia()}))


class SimulatedRoomServer:
    """An async context manager: inside it the room server is there, after it nothing is left. Raises `OSError` at entry
    where its port is taken."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.url = ""
        self._options = options
        self.rooms = Rooms(options.media_ip)
        self._stop = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._link: RoomLink | None = None
        self._link_task: asyncio.Task[None] | None = None
        self._http_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        options = self._options
        listening = socket.create_server((options.host, options.port))
        self.url = f"http://{options.host}:{listening.getsockname()[1]}"
        await self._tasks.__aenter__()
        started = asyncio.Event()
        self._http_task = self._tasks.create_task(web.serve(room_app(self.rooms), listening, self._stop, started.set))
        await started.wait()
        for peer_id, media in options.peers.items():
            self.add_peer(options.room_id, peer_id, media)
        if options.orchestrator_url:
            registration = Registration(
                orchestrator_url=options.orchestrator_url,
                server_id=options.server_id,
                url=self.url,
                region=options.region,
                capacity=options.capacity,
                secret=options.registration_secret,
                use_link=options.use_link,
            )
            self._link = RoomLink(registration, self.rooms)
            self.rooms.on_change = self._link.changed
            self._link_task = self._tasks.create_task(self._link.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()
        await self._tasks.__aexit__(kind, error, trace)

    async def registered(self) -> None:
        """Returns once the orchestrator has accepted us. Raises `RuntimeError` where there is none."""
        if self._link is None:
            raise RuntimeError("this room server registers nowhere")
        await self._link.registered.wait()

    @property
    def is_registered(self) -> bool:
        """Whether the orchestrator has accepted us."""
        return self._link is not None and self._link.registered.is_set()

    def add_peer(self, room_id: str, peer_id: str, media: PeerMedia, delivery: Delivery | None = None) -> None:
        """A peer joins and publishes. Raises `ValueError` where it is there already."""
        self.rooms.add_peer(room_id, peer_id, media, delivery)

    async def remove_peer(self, room_id: str, peer_id: str) -> None:
        """A peer leaves. Raises `KeyError` where it is not there, as the next two do."""
        await self.rooms.remove_peer(room_id, peer_id)

    def send(self, room_id: str, peer_id: str, *, audio: bool = True, video: bool = True) -> None:
        """Mutes or unmutes a peer."""
        self.rooms.publisher(room_id, peer_id).send(audio=audio, video=video)

    def produce(self, room_id: str, peer_id: str, kind: Kind, *, on: bool) -> None:
        """Switches a peer's camera or microphone on or off: its producer is closed, another one opened."""
        self.rooms.produce(room_id, peer_id, kind, on=on)

    def plan(self, room_id: str, peer_id: str) -> tuple[SentEvent, ...]:
        """Every beep and flash of a peer that was sent so far."""
        return self.rooms.publisher(room_id, peer_id).plan()

    async def kill(self) -> None:
        """Everything ends at once as in a crash: no media, no BYE, no goodbye on the link, nobody at the port."""
        if self._link is not None:
            self._link.abort()
        await self._end()

    async def _end(self) -> None:
        self._stop.set()
        if self._link_task is not None:
            self._link_task.cancel()
        await self.rooms.close()
        if self._http_task is not None:
            await self._http_task


def parse_peer(text: str, index: int) -> tuple[str, PeerMedia]:
    """A peer as the command line names it, `alice=opus+vp8` or `bob=opus`. Raises `ValueError`."""
    peer_id, _, names = text.partition("=")
    codecs = {kind_of(codec): codec for codec in map(Codec, filter(None, names.split("+")))}
    if not peer_id or not codecs:
        raise ValueError(f"{text!r} is not like alice=opus+vp8")
    return peer_id, PeerMedia(audio=codecs.get(Kind.AUDIO), video=codecs.get(Kind.VIDEO), index=index)
