import base64
import time

import pytest
from tests.integration.sim.recorder import Recorder, configure
from tests.waiting import eventually

from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.media.rtcp import (
    FullIntraRequest,
    Nack,
    PictureLoss,
    SenderReport,
    SourceDescription,
    build_rtcp,
    parse_rtcp,
)
from edumeet_recording.media.rtp import parse_rtp
from edumeet_recording.media.srtp import SrtpReceiver, SrtpSender
from edumeet_recording.sim.forwarding import Delivery
from edumeet_recording.sim.network import Conditions
from edumeet_recording.sim.publisher import PeerMedia
from edumeet_recording.sim.rooms import Rooms
from edumeet_recording.wire.node_link import SrtpKey
from edumeet_recording.wire.room_link import (
    Configured,
    ConfigureForwarding,
    Done,
    RequestKeyFrameOf,
    RequestRefused,
    SentStream,
    StopForwarding,
)

BOTH = (Codec.OPUS, Codec.VP8)
RARE_KEY_FRAMES = PeerMedia(key_frame_interval_s=60)


def _both_to(recorder: Recorder, **fields: object) -> ConfigureForwarding:
    return configure(*((codec, recorder.port, recorder.port) for codec in BOTH), **fields)


def _configured(rooms: Rooms, request: ConfigureForwarding) -> tuple[SentStream, ...]:
    answer = rooms.handle(request)
    assert isinstance(answer, Configured)
    return answer.rtp_streams


def _vp8_key_frames(recorder: Recorder, stream: SentStream) -> int:
    """RFC 7741 §4.2, §4.3: a one-byte descriptor with S set, then P clear in the first byte of the frame."""
    return sum(
        bool(packet.payload[0] & 0x10) and not packet.payload[_descriptor(packet.payload)] & 1
        for packet in recorder.packets(stream.ssrc)
    )


def _descriptor(payload: memoryview) -> int:
    if not payload[0] & 0x80:
        return 1
    extended = payload[1]
    picture_id = (2 if payload[2] & 0x80 else 1) if extended & 0x80 else 0
    return 2 + picture_id + bool(extended & 0x40) + bool(extended & 0x30)


async def test_a_camera_that_is_switched_on_later_is_sent_once_it_is_asked_for_again(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", PeerMedia())
    changed: list[tuple[str, str]] = []
    rooms.on_change = lambda room_id, peer_id: changed.append((room_id, peer_id))
    rooms.produce("room", "peer", Kind.VIDEO, on=False)
    with Recorder() as recorder:
        request = _both_to(recorder)
        (audio,) = _configured(rooms, request)
        rooms.produce("room", "peer", Kind.VIDEO, on=True)
        same, video = _configured(rooms, request)
        assert same == audio
        await eventually(lambda: len(recorder.packets(video.ssrc)) > 10)

        rooms.produce("room", "peer", Kind.VIDEO, on=False)
        assert _configured(rooms, request) == (audio,)
        rooms.produce("room", "peer", Kind.VIDEO, on=True)
        _, another = _configured(rooms, request)
        assert another.ssrc != video.ssrc
        await eventually(lambda: len(recorder.packets(another.ssrc)) > 10)
    assert changed == [("room", "peer")] * 4


async def test_both_streams_of_a_port_come_from_one_address_gapless_and_extended(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", PeerMedia())
    with Recorder() as recorder:
        audio, video = _configured(rooms, _both_to(recorder))
        await eventually(lambda: len(recorder.packets(video.ssrc)) > 10 and len(recorder.packets(audio.ssrc)) > 20)

        assert (audio.payload_type, video.payload_type) == (100, 101)
        assert (audio.source_ip, audio.source_port) == (video.source_ip, video.source_port)
        assert {packet.payload_type for packet in recorder.packets(video.ssrc)} == {101}
        for stream in (audio, video):
            sequences = [packet.sequence for packet in recorder.packets(stream.ssrc)]
            assert sequences == [(sequences[0] + step) & 0xFFFF for step in range(len(sequences))]
        assert all(datagram[0] & 0x10 and datagram[12:14] == b"\xbe\xde" for datagram in recorder.rtp)


async def test_video_begins_with_a_key_frame_that_was_asked_for(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", RARE_KEY_FRAMES)
    with Recorder() as first, Recorder() as second:
        (stream,) = _configured(rooms, configure((Codec.VP8, first.port, first.port)))
        await eventually(lambda: len(first.rtp) > 5)
        (late,) = _configured(rooms, configure((Codec.VP8, second.port, second.port)))
        await eventually(lambda: len(second.rtp) > 5)

        assert late.ssrc != stream.ssrc
        assert second.packets(late.ssrc)[0].payload[0] & 0x10
        assert _vp8_key_frames(second, late) == 1
        assert _vp8_key_frames(first, stream) == 2


async def test_reports_tell_one_clock_of_both_streams(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", PeerMedia())
    with Recorder() as recorder:
        audio, video = _configured(rooms, _both_to(recorder))
        expected = {audio.ssrc, video.ssrc}

        def reported() -> dict[int, SenderReport]:
            heard = [packet for datagram in recorder.rtcp for packet in parse_rtcp(datagram)]
            found = {packet.ssrc: packet for packet in heard if isinstance(packet, SenderReport)}
            named = {ssrc for packet in heard if isinstance(packet, SourceDescription) for ssrc, _name in packet.cnames}
            return found if set(found) == named == expected else {}

        reports = await eventually(reported)

        for stream in (audio, video):
            report, newest = reports[stream.ssrc], recorder.packets(stream.ssrc)[-1]
            behind_s = ((newest.timestamp - report.rtp_timestamp) & 0xFFFFFFFF) / stream.clock_rate
            assert behind_s < 5 or behind_s > 2**32 / stream.clock_rate - 0.2
            assert report.packets > 10


async def test_without_muxing_reports_come_from_another_port_to_another_port(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", PeerMedia())
    with Recorder() as media, Recorder() as control:
        (audio,) = _configured(rooms, configure((Codec.OPUS, media.port, control.port), rtcp_mux=False))
        await eventually(lambda: control.rtcp and media.rtp)

        assert not media.rtcp
        assert not control.rtp
        assert audio.source_port is not None


async def test_a_nack_is_answered_with_the_same_packets(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", PeerMedia())
    with Recorder() as recorder:
        audio, _video = _configured(rooms, _both_to(recorder))
        assert audio.source_port is not None
        await eventually(lambda: len(recorder.packets(audio.ssrc)) > 10)
        wanted = [datagram for datagram in recorder.rtp if parse_rtp(datagram).ssrc == audio.ssrc][2:5]
        never_sent = (parse_rtp(wanted[0]).sequence - 100) & 0xFFFF

        sequences = tuple(parse_rtp(datagram).sequence for datagram in wanted)
        recorder.send(build_rtcp(Nack(1, audio.ssrc, (never_sent, *sequences))), audio.source_port)

        await eventually(lambda: [recorder.rtp.count(datagram) for datagram in wanted] == [2, 2, 2])


@pytest.mark.parametrize("feedback", [PictureLoss, lambda ours, theirs: FullIntraRequest(ours, ((theirs, 1),))])
async def test_a_key_frame_comes_when_asked_for_from_the_target_only(rooms: Rooms, feedback: type[PictureLoss]) -> None:
    rooms.add_peer("room", "peer", RARE_KEY_FRAMES)
    with Recorder() as recorder, Recorder() as stranger:
        (video,) = _configured(rooms, configure((Codec.VP8, recorder.port, recorder.port)))
        assert video.source_port is not None
        await eventually(lambda: len(recorder.rtp) > 5)

        stranger.send(build_rtcp(feedback(1, video.ssrc)), video.source_port)
        recorder.send(build_rtcp(feedback(1, video.ssrc ^ 1)), video.source_port)
        recorder.send(b"\x81\xce\xff\xff garbage", video.source_port)
        before = len(recorder.rtp)
        await eventually(lambda: len(recorder.rtp) > before + 5)
        assert _vp8_key_frames(recorder, video) == 1

        recorder.send(build_rtcp(feedback(1, video.ssrc)), video.source_port)
        await eventually(lambda: _vp8_key_frames(recorder, video) == 2)

        rooms.handle(RequestKeyFrameOf(job_id="unknown"))


async def test_a_key_frame_comes_when_asked_for_by_the_contract(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", RARE_KEY_FRAMES)
    with Recorder() as recorder:
        request = configure((Codec.VP8, recorder.port, recorder.port))
        (video,) = _configured(rooms, request)
        await eventually(lambda: len(recorder.rtp) > 5)

        assert rooms.handle(RequestKeyFrameOf(job_id=request.job_id, request_id="7")) == Done(request_id="7")
        await eventually(lambda: _vp8_key_frames(recorder, video) == 2)


async def test_a_repeated_request_answers_the_same_and_a_higher_epoch_moves_before_it_breaks(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", PeerMedia())
    with Recorder() as old, Recorder() as new:
        request = _both_to(old, job_id="moved")
        first = _configured(rooms, request)
        assert _configured(rooms, request.model_copy(update={"request_id": "again"})) == first
        second = _configured(rooms, _both_to(new, job_id="moved", epoch=2))
        assert not {stream.ssrc for stream in first} & {stream.ssrc for stream in second}

        await eventually(lambda: new.rtp and old.rtp)
        so_far = len(old.rtp)
        await eventually(lambda: len(old.rtp) > so_far + 10)

        assert isinstance(rooms.handle(StopForwarding(job_id="moved", epoch=1)), Done)
        await eventually(lambda: len(new.rtp) > 50)
        stopped = len(old.rtp)
        so_far = len(new.rtp)
        await eventually(lambda: len(new.rtp) > so_far + 20)
        assert len(old.rtp) == stopped
        assert isinstance(rooms.handle(StopForwarding(job_id="moved", epoch=1)), Done)


async def test_muting_pauses_the_stream_and_resumes_with_a_key_frame(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", RARE_KEY_FRAMES)
    publisher = rooms.publisher("room", "peer")
    with Recorder() as recorder:
        audio, video = _configured(rooms, _both_to(recorder))
        await eventually(lambda: len(recorder.packets(video.ssrc)) > 5)
        publisher.send(video=False)
        heard = len(recorder.packets(audio.ssrc))
        await eventually(lambda: len(recorder.packets(audio.ssrc)) > heard + 40)
        paused = recorder.packets(video.ssrc)
        publisher.send()
        await eventually(lambda: len(recorder.packets(video.ssrc)) > len(paused) + 3)

        resumed = recorder.packets(video.ssrc)[len(paused)]
        assert resumed.sequence == (paused[-1].sequence + 1) & 0xFFFF
        assert ((resumed.timestamp - paused[-1].timestamp) & 0xFFFFFFFF) / 90000 > 0.5
        assert _vp8_key_frames(recorder, video) == 2


async def test_kinds_can_start_late_and_the_plan_tells_what_was_sent(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", PeerMedia(video_starts_s=1.0))
    with Recorder() as recorder:
        _audio, video = _configured(rooms, _both_to(recorder))
        publisher = rooms.publisher("room", "peer")
        await eventually(lambda: sum(event.kind is Kind.VIDEO for event in publisher.plan()) == 2)

        flashes = [event for event in publisher.plan() if event.kind is Kind.VIDEO]
        beeps = {event.second: event for event in publisher.plan() if event.kind is Kind.AUDIO}
        assert [event.second for event in flashes] == [1, 2]
        assert flashes[1].sent_at - flashes[0].sent_at == pytest.approx(1, abs=0.1)
        assert beeps[1].sent_at == pytest.approx(flashes[0].sent_at, abs=0.1)
        assert recorder.packets(video.ssrc)


async def test_a_machine_that_is_too_busy_to_send_in_time_shows(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", PeerMedia())
    with Recorder() as recorder:
        _configured(rooms, _both_to(recorder))
        (forwarding,) = rooms.forwardings("room", "peer")
        await eventually(lambda: len(recorder.rtp) > 20)
        time.sleep(0.5)  # noqa: ASYNC251 - so that nothing is sent
        await eventually(lambda: all(passage.late_s > 0.3 for passage in forwarding.passages.values()))


async def test_srtp_is_encrypted_with_a_key_of_the_room_servers_own(rooms: Rooms) -> None:
    theirs = SrtpKey(suite="AEAD_AES_128_GCM", key_base64=base64.b64encode(bytes(range(28))).decode())
    rooms.add_peer("room", "peer", RARE_KEY_FRAMES)
    with Recorder() as recorder:
        (video,) = _configured(rooms, configure((Codec.VP8, recorder.port, recorder.port), srtp=theirs))
        assert video.srtp is not None
        assert video.source_port is not None
        assert video.srtp.key_base64 != theirs.key_base64
        receiver = SrtpReceiver(video.srtp.suite, video.srtp.key_base64)
        await eventually(lambda: len(recorder.rtp) > 5)
        recorder.rtp = [receiver.unprotect_rtp(datagram) for datagram in recorder.rtp]
        assert _vp8_key_frames(recorder, video) == 1

        before = len(recorder.rtp)
        sender = SrtpSender(theirs.suite, theirs.key_base64)
        recorder.send(sender.protect_rtcp(build_rtcp(PictureLoss(1, video.ssrc))), video.source_port)

        def asked_again() -> bool:
            fresh = [receiver.unprotect_rtp(datagram) for datagram in recorder.rtp[before:]]
            recorder.rtp[before:] = []
            return any(_is_key(datagram) for datagram in fresh)

        await eventually(asked_again)


def _is_key(datagram: bytes) -> bool:
    payload = parse_rtp(datagram).payload
    return bool(payload[0] & 0x10) and not payload[_descriptor(payload)] & 1


async def test_a_dead_port_does_not_stop_it(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", PeerMedia())
    with Recorder() as dead:
        port = dead.port
    with Recorder() as living:
        _configured(rooms, configure((Codec.OPUS, port, port)))
        (audio,) = _configured(rooms, configure((Codec.OPUS, living.port, living.port)))
        await eventually(lambda: len(living.packets(audio.ssrc)) > 20)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"room_id": "elsewhere"}, "no_such_room"),
        ({"peer_id": "nobody"}, "no_such_peer"),
        ({"srtp": SrtpKey(suite="AEAD_AES_256_GCM", key_base64="c2hvcnQ=")}, "bad_srtp_key"),
    ],
)
async def test_refusals_name_their_cause(rooms: Rooms, fields: dict[str, object], code: str) -> None:
    rooms.add_peer("room", "peer", PeerMedia(video=None))

    answer = rooms.handle(configure((Codec.OPUS, 9, 9), **fields))

    assert isinstance(answer, RequestRefused)
    assert answer.code == code


async def test_what_the_peer_does_not_publish_is_left_out_or_refused(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", PeerMedia(video=None))

    (audio,) = _configured(rooms, configure((Codec.VP8, 9, 9), (Codec.OPUS, 9, 9)))
    refused = rooms.handle(configure((Codec.VP8, 9, 9)))

    assert (audio.index, audio.kind) == (1, Kind.AUDIO)
    assert isinstance(refused, RequestRefused)
    assert refused.code == "no_such_stream"


async def test_peers_come_and_go(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", PeerMedia(video=None))
    rooms.add_peer("room", "other", PeerMedia(audio=None))
    assert rooms.size == (1, 2)
    with pytest.raises(ValueError, match="already"):
        rooms.add_peer("room", "peer", PeerMedia())

    await rooms.remove_peer("room", "peer")
    await rooms.remove_peer("room", "other")

    assert rooms.size == (0, 0)
    with pytest.raises(KeyError):
        await rooms.remove_peer("room", "peer")


async def test_a_bad_network_loses_and_a_nack_brings_back() -> None:
    rooms = Rooms("127.0.0.1")
    rooms.add_peer("room", "peer", PeerMedia(video=None), Delivery(Conditions(loss=0.2, delay_s=0.05)))
    with Recorder() as recorder:
        (audio,) = _configured(rooms, configure((Codec.OPUS, recorder.port, recorder.port), job_id="lossy"))
        port = audio.source_port or 0
        await eventually(lambda: len(recorder.rtp) > 60)
        first = recorder.packets(audio.ssrc)[0].sequence
        came = {(packet.sequence - first) & 0xFFFF for packet in recorder.packets(audio.ssrc)}
        span = max(came) + 1
        lost = set(range(span)) - came
        assert 0.05 * span < len(lost) < 0.45 * span

        def all_came() -> bool:
            missing = lost - {(packet.sequence - first) & 0xFFFF for packet in recorder.packets(audio.ssrc)}
            if missing:
                wanted = tuple((number + first) & 0xFFFF for number in sorted(missing))
                recorder.send(build_rtcp(Nack(1, audio.ssrc, wanted)), port)
            return not missing

        await eventually(all_came)
    await rooms.close()


async def test_of_what_was_lost_at_the_ends_nobody_is_told(rooms: Rooms) -> None:
    rooms.add_peer("room", "peer", PeerMedia(video=None), Delivery(Conditions(loss=0.4), answers_nack=False))
    with Recorder() as recorder:
        (audio,) = _configured(rooms, configure((Codec.OPUS, recorder.port, recorder.port), job_id="lossy"))
        (forwarding,) = rooms.forwardings("room", "peer")
        await eventually(lambda: len(recorder.rtp) > 60)

        def is_told() -> bool:
            """In a moment when nothing is under way."""
            passage = forwarding.passages[Kind.AUDIO]
            packets = recorder.packets(audio.ssrc)
            span = ((packets[-1].sequence - packets[0].sequence) & 0xFFFF) + 1
            return passage.missing == span - len(packets) > 0 and passage.untold == passage.sent - span

        await eventually(is_told)
