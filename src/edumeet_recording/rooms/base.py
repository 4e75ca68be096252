"""How we speak to a room server, whichever way it can be reached."""

from typing import Protocol

from edumeet_recording.domain.errors import OrchestratorError
from edumeet_recording.wire.room_link import Configured, ConfigureForwarding, RequestKeyFrameOf, StopForwarding


class RoomServerUnreachable(OrchestratorError):
    """The room server did not answer; it may later."""

    code = "room_server_unreachable"


class RoomServerRefused(OrchestratorError):
    """The room server answered that it will not, `code` is its own word for why."""

    code = "room_server_refused"


class RoomServer(Protocol):
    """The room server contract; both calls raise `RoomServerUnreachable` or `RoomServerRefused`."""

    async def configure(self, request: ConfigureForwarding) -> Configured:
        """Have a peer's RTP sent to a node; the streams as they will really be sent."""
        ...

    async def tell(self, request: StopForwarding | RequestKeyFrameOf) -> None:
        """Have forwarding stopped, or a key frame asked for."""
        ...
