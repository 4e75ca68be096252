import socket

import pytest

from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.node.datagrams import PAYLOAD_BYTES, Datagrams, parse_source
from edumeet_recording.node.ports import PortPool


def pool(first: int = 48000, last: int = 48007, buffer_bytes: int = 65536) -> tuple[PortPool, list[tuple[int, int]]]:
    warned: list[tuple[int, int]] = []
    return PortPool(
        "127.0.0.1", first, last, buffer_bytes, lambda asked, granted: warned.append((asked, granted))
    ), warned


def test_pairs_are_even_and_odd_and_handed_out_in_turn() -> None:
    ports, warned = pool(first=48001)
    first = ports.open(2)
    assert [(pair.port, pair.rtcp_port) for pair in first] == [(48002, 48003), (48004, 48005)]
    for pair in first:
        pair.close()
    (third,) = ports.open(1)
    assert third.port == 48006
    third.close()
    assert warned == []


def test_a_taken_port_is_passed_over() -> None:
    ports, _ = pool()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 48001))
        (pair,) = ports.open(1)
        assert pair.port == 48002
        pair.close()


def test_all_or_nothing() -> None:
    ports, _ = pool()
    with pytest.raises(Unavailable, match="no free UDP port pair"):
        ports.open(5)
    for pair in ports.open(4):
        pair.close()


def test_a_buffer_that_the_kernel_does_not_grant_is_told_once() -> None:
    ports, warned = pool(buffer_bytes=2**30)
    for pair in ports.open(2):
        pair.close()
    ((asked, granted),) = warned
    assert asked == 2**30 > granted > 0


def test_a_batch_tells_source_time_and_payload_of_each_datagram() -> None:
    ports, _ = pool()
    (pair,) = ports.open(1)
    batch = Datagrams()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        assert batch.receive(pair.rtp.fileno()) == 0
        for round_number in range(2):
            for payload in (b"first", b"", b"x" * (PAYLOAD_BYTES + 1)):
                sender.sendto(payload, ("127.0.0.1", pair.port))
            assert batch.receive(pair.rtp.fileno()) == 3, round_number
            arrived = list(batch.arrived(3))
            assert [bytes(data) for _, _, data in arrived] == [b"first", b"", b"x" * PAYLOAD_BYTES]
            assert {parse_source(source) for _, source, _ in arrived} == {sender.getsockname()}
            assert sorted(at for at, _, _ in arrived) == [at for at, _, _ in arrived]
    fd = pair.rtp.fileno()
    pair.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        batch.receive(fd)
