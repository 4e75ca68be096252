"""What is written, and in which order, while the disk takes it, refuses it, or hangs."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from edumeet_recording.media.tape import RECORD, ChunkHeader, read_records
from edumeet_recording.node.closer import Closer, Taped
from edumeet_recording.node.spool import ChunkFile, capture_folder, chunk_path
from edumeet_recording.node.worker_link import CaptureNumbers, ChunkClosed, Drained, FirstPacket
from edumeet_recording.node.writer import HANGS_S, Tape, Turn, Writer

CHUNK_NS = 100
LAST_WORD = Drained(CaptureNumbers("c1", (), {}))


class Disk:
    """Lets the writes of chunks through, refuses them, or keeps them waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refuses = False
        self.asked = threading.Event()
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._real = ChunkFile.flush
        monkeypatch.setattr(ChunkFile, "flush", lambda chunk: self._flush(chunk))

    def _flush(self, chunk: ChunkFile) -> None:
        self.asked.set()
        self._goes_on.wait(20)
        if self.refuses:
            raise OSError(28, "No space left on device")
        self._real(chunk)

    def hang(self) -> None:
        self._goes_on.clear()

    def go_on(self) -> None:
        self._goes_on.set()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


class Written:
    """A writer with one tape, and what it said."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.said: SimpleQueue[Taped] = SimpleQueue()
        self.closer = Closer(self.said)
        self.writer = Writer(self.closer, self.said)
        self.tape = Tape(str(capture_folder(spool, "c1")), ChunkHeader("j", "c1", 1, 0, "tapes/c1"), CHUNK_NS)

    def come(self, *arrivals: int, look_at_ns: int = 0, ends: bool = False) -> None:
        records = b"".join(RECORD.pack(arrival, 3, 0, 0) + b"abc" for arrival in arrivals)
        ended = [(self.tape, LAST_WORD)] if ends else []
        self.tape.handed += len(records)
        taken = [(self.tape, records, len(arrivals), arrivals[-1])] if arrivals else []
        self.writer.put(Turn(taken, ended, look_at_ns))

    def finish(self) -> list[Taped]:
        self.writer.finish()
        self.closer.finish()
        return [self.said.get() for _ in range(self.said.qsize())]

    def chunk(self, seq: int) -> list[int]:
        return [record.arrival_ns for record in read_records(chunk_path(self.spool, "c1", seq).read_bytes())]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    made = Written(tmp_path)
    made.closer.start()
    made.writer.start()
    yield made
    made.finish()


def test_chunks_end_at_their_time_and_the_last_word_comes_last(written: Written) -> None:
    written.come(10, 20)
    written.come(30, look_at_ns=99)
    written.come(look_at_ns=100)
    written.come(110, look_at_ns=120, ends=True)
    first, *closed, last = written.finish()
    assert first == FirstPacket("c1", 10 / 1e9)
    assert [(each.seq, each.records) for each in closed if isinstance(each, ChunkClosed)] == [(0, 3), (1, 1)]
    assert last is LAST_WORD
    assert (written.chunk(0), written.chunk(1)) == ([10, 20, 30], [110])


def test_what_came_before_a_chunk_ended_and_was_read_after_makes_no_chunk_of_its_own(written: Written) -> None:
    written.come(10, 90)
    written.come(look_at_ns=101)
    written.come(95, 115)
    written.come(150, look_at_ns=160)
    written.come(look_at_ns=200)
    closed = [each for each in written.finish() if isinstance(each, ChunkClosed)]
    assert [(each.seq, each.records) for each in closed] == [(0, 2), (1, 3)]


def test_what_comes_while_the_disk_hangs_waits_for_it(written: Written, disk: Disk) -> None:
    disk.hang()
    for arrival in range(1, 50):
        written.come(arrival)
    assert disk.asked.wait(20)
    assert written.tape.handed - written.tape.written == 49 * (RECORD.size + 3)
    assert written.writer.trouble(time.monotonic()) == ""
    assert "has taken nothing" in written.writer.trouble(time.monotonic() + HANGS_S + 1)
    disk.go_on()
    written.come(look_at_ns=100)
    written.finish()
    assert written.chunk(0) == list(range(1, 50))
    assert written.tape.written == written.tape.handed
    assert written.writer.trouble(time.monotonic() + HANGS_S + 1) == ""


def test_what_the_disk_refuses_is_tried_again_at_each_look(written: Written, disk: Disk) -> None:
    disk.refuses = True
    written.come(10)
    written.come(20, look_at_ns=150, ends=True)
    written.writer.finish()
    assert written.writer.trouble(time.monotonic()) == "No space left on device"
    assert written.said.empty()
    assert written.tape.written < written.tape.handed
    disk.refuses = False
    again = Writer(written.closer, written.said)
    again.start()
    again.put(Turn([], [(written.tape, LAST_WORD)], 160))
    again.finish()
    assert [type(said) for said in written.finish()] == [FirstPacket, ChunkClosed, Drained]
    assert written.chunk(0) == [10, 20]
    assert again.trouble(time.monotonic()) == ""


def test_a_capture_without_a_packet_is_over_at_once(written: Written) -> None:
    written.come(look_at_ns=1, ends=True)
    assert written.finish() == [LAST_WORD]
