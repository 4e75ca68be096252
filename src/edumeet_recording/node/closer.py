"""The thread of a capture process that waits for the disk, so that its loop does not: it closes chunks, in order."""

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Thread

from edumeet_recording.node.spool import ChunkFile
from edumeet_recording.node.worker_link import ChunkClosed, Drained, Unwritable


class Closer:
    """Begins with `start`; what came of it is fetched from the loop's thread by `said`."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[ChunkFile | Drained | None] = SimpleQueue()
        self._said: SimpleQueue[ChunkClosed | Drained | Unwritable] = SimpleQueue()
        self._thread = Thread(target=self._close_all, name="closer")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, item: ChunkFile | Drained) -> None:
        """Close a chunk; `Drained` comes back as it is, after what was put before it."""
        self._waiting.put(item)

    def said(self) -> Iterator[ChunkClosed | Drained | Unwritable]:
        """What there is to tell by now."""
        while not self._said.empty():
            yield self._said.get()

    def finish(self) -> None:
        """Wait until everything is closed."""
        self._waiting.put(None)
        self._thread.join()

    def _close_all(self) -> None:
        while (item := self._waiting.get()) is not None:
            if isinstance(item, Drained):
                self._said.put(item)
                continue
            try:
                item.sync()
            except OSError as error:
                self._said.put(Unwritable(error.strerror or str(error)))
            self._said.put(item.close())
