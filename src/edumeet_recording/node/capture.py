"""The capture process: reads the sockets it is handed and writes tape; one epoll loop, woken at most 25 times a second.

It ends when its agent says so: SIGINT and SIGTERM are the agent's to obey. Where the agent dies it goes on alone, so
that the next agent finds every capture as it was, but not for ever.
The kernel notes when a datagram came, so waiting a little for more to come at once costs no accuracy.
"""

import gc
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

from edumeet_recording.domain.codecs import Kind
from edumeet_recording.media.tape import ChunkHeader
from edumeet_recording.node.agent_link import AgentLink
from edumeet_recording.node.closer import Closer, Taped
from edumeet_recording.node.datagrams import SLOTS, Datagrams, parse_source
from edumeet_recording.node.feedback import Feedback
from edumeet_recording.node.reception import Reception
from edumeet_recording.node.spool import capture_folder
from edumeet_recording.node.track import Track
from edumeet_recording.node.worker_link import (
    PROTOCOL,
    AskKeyFrame,
    Assign,
    ChunkClosed,
    Drain,
    Drained,
    End,
    FirstPacket,
    Greeting,
    Holding,
    Numbers,
    Order,
    Said,
    Unwritable,
    Update,
)
from edumeet_recording.node.writer import Tape, Turn, Writer

TICK_NS = 40_000_000
"""Time between two wake-ups: as long as a NACK may take, long enough for several datagrams a socket."""
READING_NS = 20_000_000
"""Share of a tick for reading: a flooded socket gets what the others leave of it."""
AUDIO_PAUSE_NS = 200_000_000
"""Between two readings of a socket for audio: its packets are few and small, and a late NACK spoils no picture."""
SERVICE_NS = 100_000_000
NUMBERS_NS = 2_000_000_000
UNWRITTEN_BYTES = 4_000_000
"""Tape a capture may keep in memory while the disk takes none; what comes after is dropped and counted."""
CAPTURES_A_MESSAGE = 16
LAST_BATCHES = 256
"""More than a receive buffer holds: draining ends, however fast somebody sends."""


@dataclass(slots=True)
class _Socket:
    """One socket of a capture. `port` is the number of its pair, `is_rtcp` true for the odd one."""

    udp: socket.socket
    fd: int
    capture: "_Capture"
    port: int
    is_rtcp: bool
    pause_ns: int
    """How long the kernel may keep what comes after a reading."""
    due_ns: int = 0


def _pause_ns(assign: Assign, port: int) -> int:
    """Sockets are for the stream of the same place; another may come there all the same."""
    is_audio = port < len(assign.streams) and assign.streams[port].kind == Kind.AUDIO
    return AUDIO_PAUSE_NS if is_audio else 0


class _Capture:
    """One capture in this process: its sockets, its filter, and what there is to know of its tape."""

    def __init__(self, assign: Assign, fds: list[int], spool: Path, chunk_ns: int) -> None:
        self.id = assign.capture_id
        self._assign = assign
        first = ChunkHeader(assign.job_id, self.id, assign.epoch, assign.first_seq, assign.tape_prefix)
        self._tape = Tape(str(capture_folder(spool, self.id)), first, chunk_ns)
        self.reception = Reception(self.id, assign.streams, confirmed=assign.confirmed)
        self.feedback = Feedback(int.from_bytes(os.urandom(4)), f"{self.id}@recorder")
        self.sockets = [
            _Socket(socket.socket(fileno=fd), fd, self, i // 2, is_rtcp=i % 2 == 1, pause_ns=_pause_ns(assign, i // 2))
            for i, fd in enumerate(fds)
        ]
        self.closed = assign.first_seq
        """The first chunk that the closer has not closed yet."""
        self.first_packet_at: float | None = None
        """Epoch seconds, once it is on the tape."""
        self.draining = False

    def hand_over(self, turn: Turn) -> None:
        """Give what was received to the writer, or drop it where too much waits for the disk already."""
        reception = self.reception
        if not reception.count:
            return
        tape = self._tape
        if tape.handed - tape.written > UNWRITTEN_BYTES:
            reception.drop_records("unwritable")
            return
        count = reception.count
        records = reception.take_records()
        tape.handed += len(records)
        turn.records.append((tape, records, count, reception.last_ns))

    def end(self, turn: Turn, now_ns: int) -> None:
        """Nothing more will come."""
        self.draining = True
        turn.ended.append((self._tape, Drained(self.reception.numbers(now_ns))))

    def holding(self, now_ns: int) -> Holding:
        """What another agent needs to go on with it."""
        reception = self.reception
        assign = replace(
            self._assign,
            first_seq=self.closed,
            confirmed=reception.confirmed,
            streams=tuple(replace(track.spec, latched_ssrc=track.ssrc) for track in reception.tracks),
        )
        return Holding(assign, reception.numbers(now_ns), self.first_packet_at, self.draining)

    def repair(self, now_ns: int) -> None:
        """Ask for what is missing, where it is time to."""
        for track in self.reception.tracks:
            if track.has_gaps and track.source:
                self._send(track, self.feedback.repair(now_ns, track))

    def feed_back(self, now_ns: int) -> None:
        """Send the RTCP that is due."""
        for track in self.reception.tracks:
            if track.source:
                self._send(track, self.feedback.due(now_ns, track))

    def ask_key_frames(self, now_ns: int) -> None:
        """Send a PLI for each video stream that has been heard."""
        for track in self.reception.tracks:
            if track.look is not None and track.source:
                self._send(track, self.feedback.ask_key_frame(now_ns, track))

    def _send(self, track: Track, datagrams: list[bytes]) -> None:
        """To where the stream's RTCP comes from, else to where its RTP does: the only address an SFU listens to."""
        if not datagrams:
            return
        rtcp_source = self.reception.rtcp_source(track)
        muxed = not rtcp_source
        udp = self.sockets[2 * track.port + (not muxed)].udp
        for datagram in datagrams:
            try:
                udp.sendto(datagram, parse_source(track.source if muxed else rtcp_source))
            except OSError:
                return  # feedback is advice: the next one may get through

    def close(self) -> None:
        """Let go of the sockets; the agent has its own copies."""
        for each in self.sockets:
            each.udp.close()


class Worker:
    """The loop. `door`: the listening socket of /health, kept so that the next agent answers at the same URL."""

    def __init__(
        self, listening: socket.socket, door: int, *, node_id: str, spool: Path, chunk_seconds: float, alone_s: float
    ) -> None:
        self._door = door
        self._node_id = node_id
        self._spool = spool
        self._chunk_ns = int(chunk_seconds * 1e9)
        self._chunks_end_ns = 0
        self._alone_s = alone_s
        self._epoll = select.epoll()
        self._agent = AgentLink(listening, self._epoll, self._greet)
        self._sockets: dict[int, _Socket] = {}
        self._captures: dict[str, _Capture] = {}
        self._datagrams = Datagrams()
        self._taped: SimpleQueue[Taped] = SimpleQueue()
        self._closer = Closer(self._taped)
        self._writer = Writer(self._closer, self._taped)
        self._turn = Turn()
        self._unwritable = ""
        self._ended = False

    def run(self) -> None:
        """Until the agent says so, or is gone for good, and everything is on disk."""
        self._closer.start()
        self._writer.start()
        self._obey()
        serviced = counted = time.monotonic_ns()
        while self._goes_on():
            began = time.monotonic_ns()
            ready = self._epoll.poll(SERVICE_NS / 1e9 if self._captures else NUMBERS_NS / 1e9)
            self._read(ready)
            now = time.monotonic_ns()
            wall_ns = time.time_ns()
            # at the first tick after the chunks' end, for what is not shipped is lost with the machine
            if now - serviced >= SERVICE_NS or self._turn.ended or wall_ns >= self._chunks_end_ns:
                serviced = now
                self._chunks_end_ns = (wall_ns // self._chunk_ns + 1) * self._chunk_ns
                self._service(wall_ns)
            if now - counted >= NUMBERS_NS:
                counted = now
                self._tell_numbers()
            self._tell_taped()
            self._agent.flush()
            self._hand_over()
            time.sleep(max(0, TICK_NS - (time.monotonic_ns() - began)) / 1e9)
        self._end()

    def _goes_on(self) -> bool:
        alone_s = self._agent.alone_s
        return not self._ended and (not alone_s or (bool(self._captures) and alone_s < self._alone_s))

    def _greet(self) -> Iterator[tuple[Said, list[int]]]:
        """All that an agent must know, as of now."""
        yield Greeting(PROTOCOL, self._node_id, str(self._spool), len(self._captures)), [self._door]
        for capture in self._captures.values():
            yield capture.holding(time.time_ns()), [each.fd for each in capture.sockets]
        if self._unwritable:
            yield Unwritable(self._unwritable), []

    def _read(self, ready: list[tuple[int, int]]) -> None:
        """Serve every ready socket once, then those that had more in turn, as long as the tick allows."""
        began = time.monotonic_ns()
        sockets = [self._sockets[fd] for fd, _ in ready if fd in self._sockets]
        if len(sockets) < len(ready):
            self._obey()
        waiting = deque([each for each in sockets if each.due_ns <= began])
        end = began + READING_NS
        first_round = len(waiting)
        touched: dict[str, _Capture] = {}
        while waiting and (first_round > 0 or time.monotonic_ns() < end):
            first_round -= 1
            each = waiting.popleft()
            if self._drain_batch(each) == SLOTS:
                waiting.append(each)
            else:
                each.due_ns = began + each.pause_ns
            if each.capture.reception.count:
                touched[each.capture.id] = each.capture
        now_ns = time.time_ns()
        for capture in touched.values():
            capture.hand_over(self._turn)
            capture.repair(now_ns)

    def _drain_batch(self, each: _Socket) -> int:
        datagrams = self._datagrams
        try:
            count = datagrams.receive(each.fd)
        except OSError:
            return 0  # an error some datagram of ours provoked, reported once; the socket goes on
        if count:
            if each.is_rtcp:
                each.capture.reception.hear_rtcp_port(datagrams.source(count - 1), each.port)
            each.capture.reception.take(datagrams.arrived(count), each.port)
        return count

    def _service(self, now_ns: int) -> None:
        self._turn.look_at_ns = now_ns
        for capture in self._captures.values():
            capture.hand_over(self._turn)
            if not capture.draining:
                capture.feed_back(now_ns)
        # where nobody records, nothing says when the disk is as it should be again
        now = time.monotonic()
        self._tell_unwritable((self._writer.trouble(now) or self._closer.error) if self._captures else "")

    def _hand_over(self) -> None:
        """Last thing in a tick: the writer works while this thread sleeps."""
        turn = self._turn
        if turn.records or turn.look_at_ns:
            self._turn = Turn()
            self._writer.put(turn)

    def _begin(self, assign: Assign, fds: list[int]) -> None:
        if assign.capture_id in self._captures:
            for fd in fds:
                os.close(fd)
            return
        capture = _Capture(assign, fds, self._spool, self._chunk_ns)
        self._captures[capture.id] = capture
        for each in capture.sockets:
            self._sockets[each.fd] = each
            self._epoll.register(each.fd, select.EPOLLIN)

    def _drain(self, capture: _Capture) -> None:
        """Read all that the kernel has, then no more; what is still held is taken by what is known of the streams."""
        for each in capture.sockets:
            for _ in range(LAST_BATCHES):
                if self._drain_batch(each) < SLOTS:
                    break
                capture.hand_over(self._turn)
            self._epoll.unregister(each.fd)
            del self._sockets[each.fd]
        capture.reception.confirm()
        capture.hand_over(self._turn)
        capture.end(self._turn, time.time_ns())

    def _obey(self) -> None:
        """Carry out what the agent asked for."""
        for order, fds in self._agent.orders():
            self._carry_out(order, fds)

    def _carry_out(self, order: Order | Said, fds: list[int]) -> None:
        match order:
            case Assign():
                self._begin(order, fds)
            case Update() if (capture := self._captures.get(order.capture_id)) is not None:
                capture.reception.update(order.streams, confirmed=order.confirmed)
            case Drain() if (capture := self._captures.get(order.capture_id)) is not None and not capture.draining:
                self._drain(capture)
            case AskKeyFrame() if (capture := self._captures.get(order.capture_id)) is not None:
                capture.ask_key_frames(time.time_ns())
            case End():
                self._ended = True
            case _:
                pass  # about a capture that is over here

    def _tell_taped(self) -> None:
        while not self._taped.empty():
            said = self._taped.get()
            match said:
                case FirstPacket(capture_id, at):
                    self._captures[capture_id].first_packet_at = at
                case ChunkClosed(capture_id, seq):
                    self._captures[capture_id].closed = seq + 1
                case Drained(numbers):
                    self._captures.pop(numbers.capture_id).close()
            self._agent.tell(said)

    def _tell_unwritable(self, error: str) -> None:
        if error != self._unwritable:
            self._unwritable = error
            self._agent.tell(Unwritable(error or None))

    def _tell_numbers(self) -> None:
        if self._agent.behind:
            return
        now_ns = time.time_ns()
        numbers = [capture.reception.numbers(now_ns) for capture in self._captures.values()]
        for start in range(0, max(len(numbers), 1), CAPTURES_A_MESSAGE):
            self._agent.tell(Numbers(tuple(numbers[start : start + CAPTURES_A_MESSAGE])))

    def _end(self) -> None:
        """Keep what the kernel has, and leave whole chunks for the node's next life."""
        for capture in self._captures.values():
            if not capture.draining:
                self._drain(capture)
        self._service(time.time_ns())
        self._hand_over()
        self._writer.finish()
        self._closer.finish()


def main() -> None:
    """Arguments: descriptors of our listening socket and of the node's, node id, spool, seconds a chunk and alone."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    # what is there stays, and packets leave no cycles behind: looking for them after every few hundred is for nothing
    gc.freeze()
    gc.set_threshold(100_000)
    listening, door, node_id, spool, chunk_seconds, alone_s = sys.argv[1:]
    own = socket.socket(fileno=int(listening))
    Worker(
        own,
        int(door),
        node_id=node_id,
        spool=Path(spool),
        chunk_seconds=float(chunk_seconds),
        alone_s=float(alone_s),
    ).run()


if __name__ == "__main__":
    main()
