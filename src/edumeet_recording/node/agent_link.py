"""A capture process's end of its conversation with the node's agent: one agent at a time, whoever connected last.

The process that is agent may die and another take its place: the one that connects is greeted with all there is to
know, so nothing is kept for it meanwhile.
"""

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from edumeet_recording.node.worker_link import MAX_FDS, MAX_MESSAGE_BYTES, Order, Said, decode, encode

GREETING_S = 2.0
"""Time an agent has to take the greeting; meanwhile the kernel keeps what comes for the tape."""

Greet = Callable[[], Iterable[tuple[Said, list[int]]]]
"""What a new agent is told, with the descriptors that go along."""


class AgentLink:
    """`listening` is a SOCK_SEQPACKET socket of this process; `ready` wakes the loop for it and for the agent."""

    def __init__(self, listening: socket.socket, ready: select.epoll, greet: Greet) -> None:
        listening.setblocking(False)
        listening.listen(1)  # again, so that who connects sees this process behind the socket (SO_PEERCRED, unix(7))
        ready.register(listening.fileno(), select.EPOLLIN)
        self._listening = listening
        self._ready = ready
        self._greet = greet
        self._agent: socket.socket | None = None
        self._outbox: deque[bytes] = deque()
        self._alone_since = time.monotonic()

    @property
    def alone_s(self) -> float:
        """How long there has been no agent."""
        return 0.0 if self._agent is not None else time.monotonic() - self._alone_since

    @property
    def behind(self) -> bool:
        """True while the agent has not taken what it was told before."""
        return bool(self._outbox)

    def orders(self) -> Iterator[tuple[Order | Said, list[int]]]:
        """What the agent wants, with the descriptors that came along."""
        self._meet()
        while self._agent is not None:
            try:
                packet, fds, _, _ = socket.recv_fds(self._agent, MAX_MESSAGE_BYTES, MAX_FDS)
            except BlockingIOError:
                return
            except ConnectionError:
                packet, fds = b"", []
            if not packet:
                self._lose()
                return
            try:
                yield decode(packet), fds
            except ValueError:  # an order of a later release, about something that this one does not know
                for fd in fds:
                    os.close(fd)

    def tell(self, message: Said) -> None:
        """Tell the agent, if there is one, with the next `flush`."""
        if self._agent is not None:
            self._outbox.append(encode(message))

    def flush(self) -> None:
        """Send what was told, as far as the agent takes it."""
        while self._outbox and self._agent is not None:
            try:
                self._agent.send(self._outbox[0])
            except BlockingIOError:
                return  # the agent is busy: next tick
            except ConnectionError:
                self._lose()
                return
            self._outbox.popleft()

    def _meet(self) -> None:
        with suppress(BlockingIOError):
            agent, _ = self._listening.accept()
            self._lose()
            agent.settimeout(GREETING_S)
            try:
                for message, fds in self._greet():
                    socket.send_fds(agent, [encode(message)], fds)
            except OSError:  # gone again, or it does not listen: it may come back
                agent.close()
                return
            agent.setblocking(False)
            self._agent = agent
            self._ready.register(agent.fileno(), select.EPOLLIN)

    def _lose(self) -> None:
        if self._agent is not None:
            self._agent.close()
            self._agent = None
            self._alone_since = time.monotonic()
        self._outbox.clear()
