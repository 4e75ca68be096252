"""What the API says of the orchestrators themselves."""

from datetime import datetime

from edumeet_recording.wire.base import View


class ReplicaView(View):
    """An orchestrator that serves at `url`; `leads`: it runs the loops. Links are those that it holds."""

    id: str
    url: str
    started_at: datetime
    seen_at: datetime
    leads: bool
    ffmpeg_nodes: int
    room_servers: int


class ReplicaList(View):
    """The orchestrators that are there, the oldest first."""

    items: tuple[ReplicaView, ...]
