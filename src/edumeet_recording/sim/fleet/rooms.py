"""The rooms of a region's room server, as the orchestrator sees them: what is asked for is forwarded, to nowhere."""

import random

from edumeet_recording.wire.room_link import Configured, ConfigureForwarding, Done, RoomRequest, SentStream

_SSRCS = 2**32


class FleetRooms:
    """Says yes to everything. `peers` is set by who lets people come and go; each is in a room of its own."""

    def __init__(self, seed: int) -> None:
        self.peers = 0
        self._chance = random.Random(seed)  # noqa: S311 -- SSRCs of a simulation

    @property
    def size(self) -> tuple[int, int]:
        """Rooms and peers."""
        return self.peers, self.peers

    def handle(self, request: RoomRequest) -> Configured | Done:
        """The answer to a request."""
        if not isinstance(request, ConfigureForwarding):
            return Done(request_id=request.request_id)
        streams = tuple(
            SentStream(
                index=stream.index,
                kind=stream.kind,
                codec_name=stream.codec_name,
                payload_type=stream.payload_type,
                ssrc=self._chance.randrange(1, _SSRCS),
                clock_rate=stream.clock_rate,
                channels=stream.channels,
                source_ip="127.0.0.1",
                source_port=10000,
            )
            for stream in request.rtp_streams
        )
        return Configured(request_id=request.request_id, rtp_streams=streams)
