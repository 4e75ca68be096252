"""The thread of a capture process that writes tape, so that its loop goes on receiving while a disk hangs; in order.

What the disk has not taken yet waits in memory; how much that may be is the loop's to decide.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from threading import Thread

from edumeet_recording.media.tape import ChunkHeader
from edumeet_recording.node.closer import Closer, Taped
from edumeet_recording.node.spool import ChunkFile
from edumeet_recording.node.worker_link import Drained, FirstPacket

CHUNK_BYTES = 8_000_000
HANGS_S = 3.0
"""A disk that takes so long for what came within a tick hangs, and other nodes should take over."""


class Tape:
    """The tape of one capture, chunk after chunk. `handed` is its loop's, the rest its writer's.

    `first`: the header of its first chunk. All captures' chunks end at the same moments, `chunk_ns` of the wall clock
    apart, for what is done with them costs less when done together.
    """

    __slots__ = (
        "_chunk",
        "_chunk_ns",
        "_due_ns",
        "_folder",
        "_next",
        "_taken",
        "begun",
        "capture_id",
        "handed",
        "last_word",
        "written",
    )

    def __init__(self, folder: str, first: ChunkHeader, chunk_ns: int) -> None:
        self.capture_id = first.capture_id
        self._folder = folder
        self._next = first
        self._chunk_ns = chunk_ns
        self._chunk: ChunkFile | None = None
        self._due_ns = self._taken = 0
        self.begun = False
        """True once somebody was told that something is on it."""
        self.handed = 0
        """Bytes of records that were given to the writer."""
        self.written = 0
        """Bytes of records that the system has taken."""
        self.last_word: Drained | None = None
        """Set once nothing more will come; said when all of it is in closed chunks."""

    def append(self, records: bytes, count: int, last_ns: int) -> None:
        """Take records, the last of which came at `last_ns`, to be written with the next `flush`."""
        if self._chunk is None:
            self._chunk = ChunkFile(self._folder, self._next)
            # not by its first record: sockets are read in turn, and what came before the last chunk ended may begin it
            self._due_ns = (last_ns // self._chunk_ns + 1) * self._chunk_ns
            self._next = replace(self._next, seq=self._next.seq + 1)
        self._chunk.append(records, count, last_ns)
        self._taken += len(records)

    def flush(self) -> bool:
        """Have the system take what waits; True where something did. Raises `OSError`: then it goes on waiting."""
        chunk = self._chunk
        if chunk is None or not chunk.pending:
            return False
        chunk.flush()
        self.written = self._taken
        return True

    @property
    def first_ns(self) -> int:
        """Arrival of the first packet of the chunk that is written now."""
        return self._chunk.first_ns if self._chunk else 0

    def full_chunk(self, now_ns: int) -> ChunkFile | None:
        """The chunk to close now, if any; the next record begins another."""
        chunk = self._chunk
        if chunk is None or chunk.pending:
            return None
        if self.last_word is None and now_ns < self._due_ns and chunk.bytes < CHUNK_BYTES:
            return None
        self._chunk = None
        return chunk

    @property
    def whole(self) -> bool:
        """True where nothing is left to write or close."""
        return self._chunk is None


@dataclass(slots=True)
class Turn:
    """What the loop hands over at the end of a tick, for waking the writer costs as much as a write."""

    records: list[tuple[Tape, bytes, int, int]] = field(default_factory=list[tuple[Tape, bytes, int, int]])
    """Records, how many there are, and when the last of them came (epoch nanoseconds)."""
    ended: list[tuple[Tape, Drained]] = field(default_factory=list[tuple[Tape, Drained]])
    look_at_ns: int = 0
    """The time, where chunks that are due are to be closed, and what the disk refused is to be tried again."""


class Writer:
    """Begins with `start`; what comes of it is put into `said`. Full chunks go to `closer`, which syncs them."""

    def __init__(self, closer: Closer, said: SimpleQueue[Taped]) -> None:
        self._closer = closer
        self._said = said
        self._turns: SimpleQueue[Turn | None] = SimpleQueue()
        self._tapes: dict[str, Tape] = {}
        self._busy_since: float | None = None
        self._error = ""
        self._thread = Thread(target=self._write_all, name="writer")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, turn: Turn) -> None:
        """Write this after all that was put before."""
        self._turns.put(turn)

    def finish(self) -> None:
        """Wait until all that the disk takes is written."""
        self._turns.put(None)
        self._thread.join()

    def trouble(self, now: float) -> str:
        """Why the spool cannot be written at `now` of the monotonic clock; empty where it can."""
        since = self._busy_since
        if since is not None and now - since > HANGS_S:
            return f"the disk has taken nothing for {HANGS_S:g} s"
        return self._error

    def _write_all(self) -> None:
        while (turn := self._turns.get()) is not None:
            self._busy_since = time.monotonic()
            self._take(turn)
            self._busy_since = None

    def _take(self, turn: Turn) -> None:
        for tape, records, count, last_ns in turn.records:
            self._tapes[tape.capture_id] = tape
            tape.append(records, count, last_ns)
            self._flush(tape)
        for tape, last_word in turn.ended:
            self._tapes[tape.capture_id] = tape
            tape.last_word = last_word
        if turn.look_at_ns:
            self._look(list(self._tapes.values()), turn.look_at_ns)

    def _look(self, tapes: Iterable[Tape], now_ns: int) -> None:
        for tape in tapes:
            self._flush(tape)
            chunk = tape.full_chunk(now_ns)
            if chunk is not None:
                self._closer.put(chunk)
            if tape.last_word is not None and tape.whole:
                self._closer.put(tape.last_word)
                del self._tapes[tape.capture_id]

    def _flush(self, tape: Tape) -> None:
        try:
            if not tape.flush():
                return
        except OSError as error:
            self._error = error.strerror or str(error)
            return
        self._error = ""
        if not tape.begun:
            tape.begun = True
            self._said.put(FirstPacket(tape.capture_id, tape.first_ns / 1e9))
