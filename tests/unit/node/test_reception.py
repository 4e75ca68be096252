import socket
import struct

import pytest

from edumeet_recording.media.rtcp import PictureLoss, ReceiverReport, SenderReport, build_rtcp
from edumeet_recording.media.rtp import build_rtp
from edumeet_recording.media.tape import ChunkHeader, Record, encode_header, read_records
from edumeet_recording.node.datagrams import NAME_BYTES, PAYLOAD_BYTES, parse_source
from edumeet_recording.node.feedback import REPORT_INTERVAL_NS, Feedback
from edumeet_recording.node.key_frames import FIRST_ASK_NS
from edumeet_recording.node.reception import HOLD_DATAGRAMS, HOLD_NS, RELATCH_NS, Reception
from edumeet_recording.node.worker_link import StreamSpec

S = 1_000_000_000
AUDIO = StreamSpec(0, "audio", "opus", 100, 48000, ssrc=10)
VIDEO = StreamSpec(1, "video", "vp8", 101, 90000, ssrc=11)
HEADER = encode_header(ChunkHeader("j", "c", 1, 0, "t"))
KEY, DELTA = b"\x10\x00", b"\x10\x01"


def address(ip: str = "10.0.0.1", port: int = 5000) -> bytes:
    return (struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(ip)).ljust(NAME_BYTES, b"\0")


def rtp(ssrc: int = 10, payload_type: int = 100, sequence: int = 1, timestamp: int = 0, payload: bytes = b"x") -> bytes:
    return build_rtp(
        payload_type=payload_type,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=payload,
        extension={1: b"0"},
    )


def take(
    reception: Reception, *datagrams: bytes, at_ns: int = S, source: bytes | None = None, port: int = 0
) -> list[Record]:
    reception.take([(at_ns, source or address(), memoryview(data)) for data in datagrams], port)
    return taped(reception)


def taped(reception: Reception) -> list[Record]:
    count = reception.count
    records = list(read_records(HEADER + reception.take_records()))
    assert len(records) == count
    return records


def reception(*streams: StreamSpec, confirmed: bool = True) -> Reception:
    return Reception("c", streams, confirmed=confirmed)


def foreign(of: Reception) -> dict[str, int]:
    return of.numbers(S).foreign


def test_feedback_goes_where_the_rtcp_port_is_sent_to_from() -> None:
    both = reception(AUDIO, VIDEO, confirmed=False)
    latch = address(port=6001)
    both.hear_rtcp_port(latch, 1)
    take(both, rtp())
    take(both, rtp(11, 101), port=1)
    both.confirm()
    audio, video = both.tracks
    assert both.rtcp_source(video) == latch, "heard before anything was known of the stream"
    assert both.rtcp_source(audio) == b"", "another pair of ports"
    both.hear_rtcp_port(address("10.0.0.9"), 1)
    assert both.rtcp_source(video) == latch, "a stranger changes nothing"


def test_feedback_does_not_go_to_a_stranger_who_was_there_first() -> None:
    one = reception(VIDEO)
    one.hear_rtcp_port(address("10.0.0.9"), 0)
    take(one, rtp(11, 101))
    assert one.rtcp_source(one.tracks[0]) == b""


def test_packets_are_taped_as_they_came_with_their_stream_and_time() -> None:
    both = reception(AUDIO, VIDEO)
    records = take(both, rtp(), rtp(11, 101), at_ns=7)
    assert [(r.arrival_ns, r.stream, r.kind, bytes(r.payload)) for r in records] == [
        (7, 0, 0, rtp()),
        (7, 1, 0, rtp(11, 101)),
    ]
    assert foreign(both) == {}


def test_streams_are_told_apart_by_ssrc_on_one_port() -> None:
    assert [r.stream for r in take(reception(AUDIO, VIDEO), rtp(11, 101), rtp(10, 100), port=0)] == [1, 0]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "garbage"),
        (b"\x80" * 11, "garbage"),
        (b"\x00" * 40, "garbage"),
        (rtp(payload=bytes(PAYLOAD_BYTES - 20)), "garbage"),
        (rtp(ssrc=99), "ssrc"),
        (rtp(payload_type=99), "payload_type"),
        (build_rtcp(ReceiverReport(99)) + bytes(8), "ssrc"),
        (build_rtcp(SenderReport(10, 0, 0, 0, 0))[:-1], "garbage"),
    ],
)
def test_what_is_foreign_is_counted_by_cause_and_not_taped(data: bytes, cause: str) -> None:
    one = reception(AUDIO)
    take(one, rtp())
    assert take(one, data) == []
    assert foreign(one) == {cause: 1}


@pytest.mark.parametrize("source", [address("10.0.0.2"), address(port=5001)])
def test_only_the_announced_source_is_let_in(source: bytes) -> None:
    one = reception(StreamSpec(0, "audio", "opus", 100, 48000, ssrc=10, source_ip="10.0.0.1", source_port=5000))
    assert take(one, rtp(), source=source) == []
    assert foreign(one) == {"source": 1}
    assert len(take(one, rtp())) == 1
    assert take(one, rtp(sequence=2), source=source) == [], "also after the right one was heard"


def test_any_port_of_the_announced_host_will_do_where_no_port_is_announced() -> None:
    one = reception(StreamSpec(0, "audio", "opus", 100, 48000, ssrc=10, source_ip="10.0.0.1"))
    assert len(take(one, rtp(), source=address(port=1))) == 1
    assert take(one, rtp(), source=address("10.0.0.9")) == []


def test_the_first_ssrc_with_the_right_payload_type_is_taken_and_then_no_other() -> None:
    one = reception(StreamSpec(0, "audio", "opus", 100, 48000, source_ip="10.0.0.1"))
    assert take(one, rtp(ssrc=5, payload_type=9)) == []
    assert take(one, rtp(ssrc=5), source=address("10.0.0.2")) == []
    assert len(take(one, rtp(ssrc=5))) == 1
    assert one.numbers(S).tracks[0].ssrc == 5
    assert take(one, rtp(ssrc=6)) == []
    assert foreign(one) == {"payload_type": 1, "source": 1, "ssrc": 1}


def test_a_sender_that_begins_anew_is_taken_once_the_first_is_silent() -> None:
    one = reception(StreamSpec(0, "audio", "opus", 100, 48000))
    take(one, rtp(ssrc=5), at_ns=S)
    assert len(take(one, rtp(ssrc=6), at_ns=2 * S + RELATCH_NS)) == 1
    assert take(one, rtp(ssrc=5), at_ns=2 * S + RELATCH_NS) == []


def test_two_unannounced_streams_of_one_payload_type_are_told_apart_by_port() -> None:
    both = reception(*(StreamSpec(i, "video", "vp8", 101, 90000) for i in range(2)))
    assert [r.stream for r in take(both, rtp(7, 101), port=1) + take(both, rtp(8, 101), port=0)] == [1, 0]


def test_a_worker_takes_the_ssrc_its_predecessor_took() -> None:
    one = reception(StreamSpec(0, "audio", "opus", 100, 48000, latched_ssrc=5))
    assert take(one, rtp(ssrc=6), at_ns=S) == []
    assert len(take(one, rtp(ssrc=5))) == 1


RTX = StreamSpec(1, "video", "vp8", 101, 90000, ssrc=11, rtx_payload_type=102, rtx_ssrc=12)


def test_retransmissions_are_taped_as_they_are_and_counted_as_recovered() -> None:
    one = reception(RTX)
    take(one, rtp(11, 101, 1, payload=DELTA), rtp(11, 101, 4, 9000, DELTA))
    (record,) = take(one, rtp(12, 102, 700, 3000, b"\0\2" + KEY))
    assert (record.stream, bytes(record.payload)) == (1, rtp(12, 102, 700, 3000, b"\0\2" + KEY))
    track = one.numbers(S).tracks[0]
    assert (track.packets, track.lost, track.recovered, track.key_frames) == (2, 1, 1, 1)
    take(one, rtp(12, 102, 701, 3000, b"\0\2" + KEY), rtp(12, 102, 702, payload=b"\0"))
    assert one.numbers(S).tracks[0].recovered == 1, "twice, and a probe"
    assert take(one, rtp(12, 101)) == []
    assert foreign(one) == {"payload_type": 1}


def test_a_stream_is_taken_from_any_port_and_answered_from_there() -> None:
    both = reception(AUDIO, VIDEO)
    take(both, rtp(11, 101), port=0)
    assert both.tracks[1].port == 0


def test_rtcp_of_a_known_stream_is_taped_from_any_port_of_its_host() -> None:
    one = reception(StreamSpec(0, "audio", "opus", 100, 48000, ssrc=10, source_ip="10.0.0.1", source_port=5000))
    take(one, rtp())
    report = build_rtcp(SenderReport(10, 0x0123456789ABCDEF, 0, 0, 0))
    (record,) = take(one, report, source=address(port=5001))
    assert (record.kind, record.stream) == (1, 0)
    assert one.tracks[0].last_sr == 0x456789AB
    assert parse_source(one.tracks[0].rtcp_source) == ("10.0.0.1", 5001)
    assert take(one, report, source=address("10.0.0.2")) == []
    (muxed,) = take(one, build_rtcp(PictureLoss(10, 1)))
    assert muxed.kind == 1


def test_numbers_count_loss_and_key_frames_once_a_frame() -> None:
    one = reception(VIDEO)
    packets = [(1, 0, KEY), (2, 0, b"\x00\x00"), (3, 3000, DELTA), (5, 6000, KEY), (6, 6000, KEY)]
    take(one, *(rtp(11, 101, sequence, timestamp, payload) for sequence, timestamp, payload in packets))
    track = one.numbers(S).tracks[0]
    assert (track.packets, track.lost, track.key_frames, track.last_packet_at) == (5, 1, 2, 1.0)


def test_until_confirmed_packets_are_held_and_then_sorted_with_their_own_times() -> None:
    waiting = reception(StreamSpec(0, "audio", "opus", 1, 48000, ssrc=1), confirmed=False)
    assert take(waiting, rtp(ssrc=10), rtp(ssrc=66), at_ns=5) == []
    waiting.update((AUDIO,), confirmed=False)
    assert taped(waiting) == []
    waiting.update((AUDIO,), confirmed=True)
    assert [(r.arrival_ns, bytes(r.payload)) for r in taped(waiting)] == [(5, rtp(ssrc=10))]
    assert foreign(waiting) == {"ssrc": 1}
    assert len(take(waiting, rtp(ssrc=10, sequence=2))) == 1


def test_holding_is_bounded_in_number_and_time() -> None:
    waiting = reception(AUDIO, confirmed=False)
    take(waiting, *(rtp(sequence=i) for i in range(HOLD_DATAGRAMS + 3)), at_ns=S)
    assert foreign(waiting) == {"unconfirmed": 3}
    take(waiting, rtp(), at_ns=S + HOLD_NS + 1)
    waiting.confirm()
    assert len(taped(waiting)) == 1


def test_an_update_keeps_what_was_counted_unless_the_stream_is_another() -> None:
    one = reception(AUDIO)
    take(one, rtp())
    one.update((StreamSpec(0, "audio", "opus", 100, 48000, ssrc=10, source_ip="10.0.0.1"),), confirmed=True)
    assert one.numbers(S).tracks[0].packets == 1
    one.update((StreamSpec(0, "audio", "opus", 100, 48000, ssrc=77),), confirmed=True)
    assert one.numbers(S).tracks[0].packets == 0
    assert take(one, rtp()) == []


def test_records_nobody_can_take_are_counted() -> None:
    one = reception(AUDIO)
    one.take([(S, address(), memoryview(rtp()))], 0)
    one.drop_records("unwritable")
    assert (one.count, foreign(one)) == (0, {"unwritable": 1})


def test_an_ipv6_source_is_read() -> None:
    raw = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", 9, 0) + socket.inet_pton(socket.AF_INET6, "fd00::1")
    assert parse_source(raw.ljust(NAME_BYTES, b"\0")) == ("fd00::1", 9)


def test_a_key_frame_is_asked_for_with_back_off_until_one_comes() -> None:
    one = reception(VIDEO)
    take(one, rtp(11, 101, payload=DELTA))
    feedback = Feedback(ssrc=1, cname="c@recorder")
    ask = [build_rtcp(PictureLoss(1, 11))]
    asked = [step / 20 for step in range(100) if feedback.due(step * S // 20, one.tracks[0]) == ask]
    assert asked == [0.3, 0.9, 2.1, 4.5]
    take(one, rtp(11, 101, 2, 3000, KEY))
    assert all(PictureLoss(1, 11).encode() not in feedback.due(step * S, one.tracks[0]) for step in range(5, 60))


def test_audio_is_never_asked_for_key_frames() -> None:
    one = reception(AUDIO)
    take(one, rtp())
    feedback = Feedback(ssrc=1, cname="c@recorder")
    assert [feedback.due(now, one.tracks[0]) for now in (0, FIRST_ASK_NS, 2 * FIRST_ASK_NS)] == [[], [], []]


def test_receiver_reports_tell_loss_and_when_the_last_sender_report_came() -> None:
    one = reception(AUDIO)
    take(one, rtp(sequence=1), rtp(sequence=3))
    one.tracks[0].stats.take_holes()
    take(one, build_rtcp(SenderReport(10, 0x0123456789ABCDEF, 0, 0, 0)), at_ns=S)
    feedback = Feedback(ssrc=1, cname="c@recorder")
    assert feedback.due(S, one.tracks[0]) == []
    (data,) = feedback.due(S + REPORT_INTERVAL_NS, one.tracks[0])
    fraction_and_lost, highest, _, last_sr, delay = struct.unpack_from("!IIIII", data, 12)
    assert (fraction_and_lost & 0xFFFFFF, highest & 0xFFFF, last_sr, delay) == (1, 3, 0x456789AB, 5 * 65536)
