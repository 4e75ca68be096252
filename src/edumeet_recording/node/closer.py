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
        while True:
            waiting = [self._waiting.get()]
            while not self._waiting.empty():
                waiting.append(self._waiting.get())
            # told together: each telling wakes the agent and its threads, which costs as much as a chunk
            for said in [said for item in waiting if item is not None for said in _close(item)]:
                self._said.put(said)
            if waiting[-1] is None:
                return


def _close(item: ChunkFile | Drained) -> Iterator[ChunkClosed | Drained | Unwritable]:
    if isinstance(item, Drained):
        yield item
        return
    try:
        item.sync()
    except OSError as error:
        yield Unwritable(error.strerror or str(error))
    yield item.close()
