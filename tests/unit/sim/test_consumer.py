import secrets

import pytest

from edumeet_recording.domain.codecs import Codec, Kind
from edumeet_recording.media.rtcp import SenderReport, SourceDescription, parse_rtcp
from edumeet_recording.media.rtp import parse_rtp
from edumeet_recording.sim.consumer import Consumer
from edumeet_recording.sim.encode import Burst, Piece


def _burst(number: int, *, key: bool = False, count: int = 2) -> Burst:
    pieces = tuple(Piece(part == count - 1, number * 3600, bytes([number % 256, part])) for part in range(count))
    return Burst(Kind.VIDEO, key, pieces)


def test_nothing_before_a_key_frame_and_no_gaps_after_it() -> None:
    consumer = Consumer(Codec.VP8, "peer")

    assert consumer.forward(_burst(0), now=1.0) == []
    assert consumer.report(now=1.0) is None
    packets = [
        parse_rtp(datagram)
        for number in (1, 2, 9)
        for datagram in consumer.forward(_burst(number, key=number == 1), 2.0)
    ]

    first = packets[0].sequence
    assert [(packet.sequence - first) & 0xFFFF for packet in packets] == list(range(6))
    assert [packet.timestamp for packet in packets] == [3600, 3600, 7200, 7200, 32400, 32400]
    assert [packet.marker for packet in packets] == [False, True] * 3
    assert {(packet.ssrc, packet.payload_type) for packet in packets} == {(consumer.ssrc, 101)}
    assert bytes(packets[-1].payload) == b"\x09\x01"


def test_a_report_goes_on_from_the_last_packet() -> None:
    consumer = Consumer(Codec.VP8, "peer")
    consumer.forward(_burst(10, key=True), now=100.0)

    report = consumer.report(now=100.5)

    assert report is not None
    sender, description = parse_rtcp(report)
    assert isinstance(sender, SenderReport)
    assert sender.ntp_seconds == pytest.approx(100.5)
    assert sender.rtp_timestamp == 36000 + 45000
    assert (sender.packets, sender.octets) == (2, 4)
    assert description == SourceDescription(((consumer.ssrc, "peer"),))


def test_the_last_thousand_packets_can_be_had_again_also_over_a_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "randbits", lambda bits: 2**bits - 900)
    consumer = Consumer(Codec.VP8, "peer")
    sent = [consumer.forward(_burst(number, key=True, count=1), 0.0)[0] for number in range(1500)]
    newest = [parse_rtp(datagram).sequence for datagram in sent[-1000:]]

    assert consumer.retransmit(newest) == sent[-1000:]
    assert consumer.retransmit([parse_rtp(sent[-1001]).sequence]) == []


def test_two_consumers_share_nothing() -> None:
    first, second = Consumer(Codec.OPUS, "peer"), Consumer(Codec.OPUS, "peer")

    assert first.ssrc != second.ssrc


def test_rtx_has_numbers_of_its_own_and_names_the_lost_packet() -> None:
    consumer = Consumer(Codec.VP8, "peer", first_sequence=65_535, rtx=True)
    sent = [parse_rtp(datagram) for datagram in consumer.forward(_burst(3, key=True), 0.0)]

    again = [parse_rtp(datagram) for datagram in consumer.retransmit([65_535, 0])]

    assert [packet.sequence for packet in sent] == [65_535, 0]
    assert {(packet.ssrc, packet.payload_type) for packet in again} == {(consumer.rtx_ssrc, consumer.rtx_payload_type)}
    assert (again[1].sequence - again[0].sequence) & 0xFFFF == 1
    for lost, repair in zip(sent, again, strict=True):
        assert (repair.timestamp, repair.marker) == (lost.timestamp, lost.marker)
        assert bytes(repair.payload) == lost.sequence.to_bytes(2, "big") + bytes(lost.payload)


def test_after_a_restart_all_numbers_are_new_but_the_ssrc() -> None:
    consumer = Consumer(Codec.VP8, "peer", first_sequence=10)
    (before,) = consumer.forward(_burst(1, key=True, count=1), 0.0)

    consumer.restart()

    assert consumer.forward(_burst(2), 0.0) == []
    (after,) = consumer.forward(_burst(3, key=True, count=1), 0.0)
    first, second = parse_rtp(before), parse_rtp(after)
    assert first.ssrc == second.ssrc
    assert (second.sequence, second.timestamp) != (11, 3 * 3600)


def test_a_reports_clock_can_be_off() -> None:
    consumer = Consumer(Codec.VP8, "peer")
    consumer.forward(_burst(10, key=True), now=100.0)

    report = consumer.report(100.5, error_s=-0.02)

    assert report is not None
    sender, _description = parse_rtcp(report)
    assert isinstance(sender, SenderReport)
    assert sender.ntp_seconds == pytest.approx(100.48)
    assert sender.rtp_timestamp == 36000 + 45000
