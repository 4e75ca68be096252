from itertools import pairwise

from edumeet_recording.media.rtp import ReceptionStats
from edumeet_recording.node.repair import DEAF_HOLES, MOST_PACKETS, PROBE_HOLES, TRIES, Due, Repair

MS = 1_000_000
TICK_MS = 10


class Stream:
    """A stream with a hole here and there, and what its receiver asks for as time passes."""

    def __init__(self) -> None:
        self.stats = ReceptionStats(90000)
        self.repair = Repair()
        self.now_ns = 0
        self.key_frames = 1

    def came(self, *sequences: int) -> None:
        for sequence in sequences:
            self.stats.update(sequence & 0xFFFF, 0, self.now_ns, 100)

    def due(self) -> Due:
        return self.repair.due(self.now_ns, self.stats, self.key_frames)

    def wait(self, milliseconds: int) -> list[tuple[int, Due]]:
        """What was due meanwhile, with the time in milliseconds since this was called."""
        begin, said = self.now_ns, list[tuple[int, Due]]()
        while self.now_ns < begin + milliseconds * MS:
            if (due := self.due()) != Due():
                said.append(((self.now_ns - begin) // MS, due))
            self.now_ns += TICK_MS * MS
        return said


def test_a_gap_is_asked_for_at_once_and_no_more_once_it_is_filled() -> None:
    stream = Stream()
    stream.came(1, 2, 5)
    assert stream.due() == Due((3, 4))
    stream.came(3, 4)
    assert stream.wait(2000) == []
    assert (stream.stats.recovered, stream.stats.reordered, stream.stats.lost) == (2, 0, 0)


def test_what_was_only_out_of_order_is_not_asked_for() -> None:
    stream = Stream()
    stream.came(1, 3, 2)
    assert stream.wait(2000) == []
    assert (stream.stats.recovered, stream.stats.reordered) == (0, 1)


def test_it_is_asked_for_ten_times_at_growing_intervals_and_then_given_up() -> None:
    stream = Stream()
    stream.came(1, 4)
    *asks, (given_up_at, last) = stream.wait(5000)
    times = [at for at, _ in asks]
    assert len(times) == TRIES
    assert all(due == Due((2, 3)) for _, due in asks)
    intervals = [later - earlier for earlier, later in pairwise(times)]
    assert intervals == sorted(intervals)
    assert 50 <= intervals[0] < 100
    assert last == Due((), broken=True)
    assert 1000 < given_up_at < 1500


def test_a_key_frame_since_the_loss_has_mended_it() -> None:
    stream = Stream()
    stream.came(1, 3)
    stream.wait(500)
    stream.key_frames += 1
    assert not any(due.broken for _, due in stream.wait(5000))


def test_sequence_numbers_are_asked_for_over_their_wrap() -> None:
    stream = Stream()
    stream.came(65534, 65537)
    assert stream.due() == Due((65535, 0))


def test_an_outage_is_not_asked_for_but_needs_a_key_frame() -> None:
    stream = Stream()
    stream.came(1, 2 + MOST_PACKETS + 1)
    assert stream.wait(3000) == [(0, Due((), broken=True))]


def test_a_sender_that_never_answers_is_asked_for_every_tenth_hole_until_it_does() -> None:
    stream = Stream()
    sequence = 1
    stream.came(sequence)

    def hole() -> list[tuple[int, Due]]:
        nonlocal sequence
        sequence += 2
        stream.came(sequence)
        return [(at, due) for at, due in stream.wait(1500) if due.sequences]

    assert all(hole() for _ in range(DEAF_HOLES))
    asked = [bool(hole()) for _ in range(3 * PROBE_HOLES)]
    assert sum(asked) == 3
    sequence += 2
    stream.came(sequence)
    while not stream.due().sequences:
        sequence += 2
        stream.came(sequence)
    stream.came(sequence - 1)
    stream.wait(300)
    assert all(hole() for _ in range(3))


def test_a_restart_of_the_sender_is_no_hole() -> None:
    stream = Stream()
    stream.came(1, 3, 30000, 30001)
    assert stream.wait(2000) == []
