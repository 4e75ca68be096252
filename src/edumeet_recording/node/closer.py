"""The thread of a capture process that waits until the disk has whole chunks, so that nobody else does; in order."""

from queue import SimpleQueue
from threading import Thread

from edumeet_recording.node.spool import ChunkFile
from edumeet_recording.node.worker_link import ChunkClosed, Drained, FirstPacket

Taped = FirstPacket | ChunkClosed | Drained
"""What there is to tell of captures' tape."""


class Closer:
    """Begins with `start`; what comes of it is put into `said`."""

    def __init__(self, said: SimpleQueue[Taped]) -> None:
        self._waiting: SimpleQueue[ChunkFile | Drained | None] = SimpleQueue()
        self._said = said
        self._thread = Thread(target=self._close_all, name="closer")
        self.error = ""
        """What the disk said of the last chunk, empty where it took it."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, item: ChunkFile | Drained) -> None:
        """Close a chunk; `Drained` comes back as it is, after what was put before it."""
        self._waiting.put(item)

    def finish(self) -> None:
        """Wait until everything is closed."""
        self._waiting.put(None)
        self._thread.join()

    def _close_all(self) -> None:
        while True:
            waiting = [self._waiting.get()]
            while not self._waiting.empty():
                waiting.append(self._waiting.get())
            # told together: each telling wakes the agent and its threads, which costs as much as a chunk
            for said in [self._close(item) for item in waiting if item is not None]:
                self._said.put(said)
            if waiting[-1] is None:
                return

    def _close(self, item: ChunkFile | Drained) -> ChunkClosed | Drained:
        if isinstance(item, Drained):
            return item
        try:
            item.sync()
        except OSError as error:
            self.error = error.strerror or str(error)
        else:
            self.error = ""
        return item.close()
