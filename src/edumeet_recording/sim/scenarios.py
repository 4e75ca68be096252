"""What is recorded to show that a file is true whatever happens to the media: peers, and what they go through.

Plain data; `sim.trial` records it. Times are seconds after every recording runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from edumeet_recording.domain.codecs import Codec, Container
from edumeet_recording.sim.content import PEERS, Shape
from edumeet_recording.sim.forwarding import Delivery
from edumeet_recording.sim.network import Conditions
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.verdict import Bounds

NACK_RESTORES = 0.995
"""Share of a stream's packets that must be there in the end where the sender answers NACK; 0 asks for none."""

PSNR_DB = 25.0
"""A picture that is less like the one sent is visibly broken."""

HOSTILE = "../../evil$(id)`x`'\";<b>%00\\é"
"""Typed by somebody who means harm, and yet allowed: names are text."""

SMALL = Shape(160, 90, 15)


@dataclass(frozen=True, slots=True)
class Send:
    """Mutes and unmutes: what is published from now on."""

    audio: bool
    video: bool


@dataclass(frozen=True, slots=True)
class Resize:
    """The picture has another size from now on."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Restart:
    """The publisher's timestamps and sequence numbers begin anew; with `new_ssrc` it is another stream, 6 s later."""

    new_ssrc: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What happens `at_s` seconds after the recording began, between two beeps."""

    at_s: float
    act: Send | Resize | Restart


@dataclass(frozen=True, slots=True)
class Scenario:
    """One peer, one recording. `first`: what is published when it begins.

    `announced`: no room server confirms anything; the sender is told where to send, and known by its payload types.
    """

    name: str
    media: PeerMedia
    container: Container = Container.WEBM
    delivery: Delivery = field(default_factory=Delivery)
    first: Send = field(default_factory=lambda: Send(audio=True, video=True))
    steps: tuple[Step, ...] = ()
    bounds: Bounds = field(default_factory=lambda: Bounds(psnr_db=PSNR_DB))
    announced: bool = False
    seconds: float = 8.0
    """How long it is recorded."""
    room_id: str = "lecture"
    peer_id: str = ""
    display_name: str | None = None


_LOSS = Conditions(delay_s=0.02, loss=0.02)
_MUTED, _HEARD = Send(audio=False, video=False), Send(audio=True, video=True)
_LOSSY = Bounds(presence=0.97, psnr_db=PSNR_DB)
_WORSE = Bounds(presence=0.9, psnr_db=PSNR_DB)


def _peer(video: Codec | None = Codec.VP8, *, shape: Shape = SMALL, **fields: object) -> PeerMedia:
    return replace(PeerMedia(video=video, shape=shape, bit_rate=150_000), **fields)


def _codecs() -> Iterator[Scenario]:
    yield Scenario("vp8 in webm", _peer())
    yield Scenario("h264 in mp4", _peer(Codec.H264), Container.MP4)
    yield Scenario("vp9 in mp4", _peer(Codec.VP9), Container.MP4)
    yield Scenario("av1 in mkv", _peer(Codec.AV1, bit_rate=300_000), Container.MKV)
    yield Scenario("vp8 in mp4, transcoded", _peer(), Container.MP4, bounds=Bounds())
    yield Scenario("pcmu in mkv", _peer(Codec.H264, audio=Codec.PCMU), Container.MKV)


def _presences() -> Iterator[Scenario]:
    yield Scenario("audio only", _peer(None))
    yield Scenario("video only", _peer(audio=None))
    yield Scenario("video late", _peer(), first=Send(audio=True, video=False), steps=(Step(4, _HEARD),))
    yield Scenario("audio late", _peer(), first=Send(audio=False, video=True), steps=(Step(4, _HEARD),))
    yield Scenario("mute and unmute", _peer(), steps=(Step(3, _MUTED), Step(6, _HEARD)))
    yield Scenario("dtx", _peer(dtx=True))


def _changes() -> Iterator[Scenario]:
    sizes = (Shape(320, 180, 10), Shape(1280, 720, 10), Shape(360, 640, 10))
    yield Scenario(
        "640, 320, 1280, upright",
        _peer(shape=Shape(640, 360, 10), bit_rate=400_000),
        steps=tuple(Step(2.0 * (number + 1), Resize(shape)) for number, shape in enumerate(sizes)),
    )
    again = (Step(3, _MUTED), Step(5, Restart()), Step(5, _HEARD))
    yield Scenario("publisher comes back", _peer(), steps=again)
    yield Scenario(
        "publisher comes back, new ssrc",
        _peer(),
        steps=(Step(2, Restart(new_ssrc=True)),),
        announced=True,
        seconds=11.0,
    )
    yield Scenario("sequence numbers wrap", _peer(), delivery=Delivery(first_sequence=65_400))
    yield Scenario("timestamps wrap", _peer(timestamps_wrap_s=6.0))


def _networks() -> Iterator[Scenario]:
    unsteady = Conditions(delay_s=0.02, jitter_s=0.05, reorder=0.02, duplicate=0.01)
    deaf = Delivery(_LOSS, answers_nack=False)
    heavy = replace(_LOSS, loss=0.05)
    # Where nothing is sent again only a key frame mends the picture. With usual intervals what is missing would tell of
    # the sender's interval, not of the recorder: with one in 40 ms each loss costs 20 or 40 ms of picture, no more.
    often = _peer(shape=Shape(160, 90, 50), key_frame_interval_s=0.04)
    yield Scenario("jitter and reordering", _peer(), delivery=Delivery(unsteady))
    yield Scenario("2 % loss", _peer(), delivery=Delivery(_LOSS))
    yield Scenario("2 % loss, rtx", _peer(), delivery=Delivery(_LOSS, rtx=True))
    yield Scenario("2 % loss, nack ignored", often, delivery=deaf, bounds=_LOSSY)
    yield Scenario("5 % loss, nack ignored", often, delivery=replace(deaf, conditions=heavy), bounds=_WORSE)
    bursts = Delivery(replace(heavy, burst=4.0, jitter_s=0.05))
    yield Scenario("5 % loss in bursts", _peer(Codec.H264), Container.MP4, delivery=bursts, bounds=_LOSSY)


def _clocks() -> Iterator[Scenario]:
    yield Scenario("first sender report late", _peer(), delivery=Delivery(first_report_s=(5.0, 5.5)))
    yield Scenario("sender reports off by 20 ms", _peer(), delivery=Delivery(report_error_s=0.02))
    yield Scenario("hostile names", _peer(), room_id=HOSTILE, peer_id=HOSTILE, display_name=HOSTILE)


def _numbered() -> Iterator[tuple[str, Scenario]]:
    every = (*_codecs(), *_presences(), *_changes(), *_networks(), *_clocks())
    for number, scenario in enumerate(every):
        media = replace(scenario.media, index=number % PEERS)
        yield scenario.name, replace(scenario, media=media, peer_id=scenario.peer_id or f"peer-{number}")


SCENARIOS = MappingProxyType(dict(_numbered()))
"""All of them, by name."""
