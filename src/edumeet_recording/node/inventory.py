"""The spool as the agent keeps it: which captures are begun, what lies there of them, and what may go."""

import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from edumeet_recording.media.tape import TapeError, decode_header, read_records
from edumeet_recording.node.events import LeftCapture
from edumeet_recording.node.spool import PART, WHOLE, capture_folder, chunk_path
from edumeet_recording.node.worker_link import ChunkClosed

_BEGUN = "capture.json"
"""Says to the node's next life what the folder is, also when every chunk is stored and gone."""
_STORED = "stored"
"""One byte a chunk that is stored and gone."""


class Inventory:
    """The folders under `spool`. All of it blocks on the disk for a moment."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        spool.mkdir(parents=True, exist_ok=True)

    def begin(self, capture_id: str, epoch: int, tape_prefix: str) -> None:
        """Make a capture's folder. Raises `OSError`, and `ValueError` where the id cannot name a folder."""
        folder = capture_folder(self.spool, capture_id)
        folder.mkdir(exist_ok=True)
        (folder / _BEGUN).write_text(json.dumps({"epoch": epoch, "tape_prefix": tape_prefix}))

    def recover(self, capture_id: str) -> tuple[ChunkClosed, ...]:
        """The chunks of a capture that nobody writes now, in order; what a kill cut off becomes a chunk as it is."""
        folder = capture_folder(self.spool, capture_id)
        for part in folder.glob(f"*{PART}"):
            part.rename(part.with_suffix(""))
        return tuple(chunk for path in sorted(folder.glob(f"*{WHOLE}")) if (chunk := _survey(path)) is not None)

    def held(self, capture_id: str, first_seq: int) -> tuple[int, tuple[ChunkClosed, ...]]:
        """Of a capture that goes on: how many chunks are stored, and those before `first_seq` that wait."""
        folder = capture_folder(self.spool, capture_id)
        waiting = [path for path in sorted(folder.glob(f"*{WHOLE}")) if int(path.stem) < first_seq]
        return self._stored(capture_id), tuple(chunk for path in waiting if (chunk := _survey(path)) is not None)

    def left(self, adopted: Collection[str]) -> Iterator[LeftCapture]:
        """What an earlier life of the node left and no worker holds; for its start only."""
        for begun in sorted(self.spool.glob(f"*/{_BEGUN}")):
            folder = begun.parent
            if folder.name in adopted:
                continue
            try:
                known = json.loads(begun.read_text())
                yield LeftCapture(
                    folder.name,
                    known["epoch"],
                    known["tape_prefix"],
                    self._stored(folder.name),
                    self.recover(folder.name),
                )
            except (ValueError, KeyError):
                # Killed before the note was whole: no worker had the capture yet.
                shutil.rmtree(folder, ignore_errors=True)

    def _stored(self, capture_id: str) -> int:
        stored = capture_folder(self.spool, capture_id) / _STORED
        return stored.stat().st_size if stored.exists() else 0

    def path(self, chunk: ChunkClosed) -> Path:
        """Where a closed chunk lies."""
        return chunk_path(self.spool, chunk.capture_id, chunk.seq)

    def delete_chunk(self, capture_id: str, seq: int) -> None:
        """Remove a chunk that is stored, and remember that it was."""
        folder = capture_folder(self.spool, capture_id)
        with suppress(FileNotFoundError):
            os.unlink(f"{folder}/{seq:06d}{WHOLE}")
        stored = os.open(f"{folder}/{_STORED}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            os.write(stored, b".")
        finally:
            os.close(stored)

    def forget(self, capture_id: str) -> None:
        """Remove the folder of a capture of which nothing is wanted any more."""
        shutil.rmtree(capture_folder(self.spool, capture_id), ignore_errors=True)

    def bytes(self) -> int:
        """What waits in the spool; folders and files may vanish meanwhile, for they are shipped."""
        total = 0
        for folder, _, names in os.walk(self.spool):
            for name in names:
                if WHOLE in name:
                    with suppress(FileNotFoundError):
                        total += os.stat(f"{folder}/{name}").st_size
        return total


def _survey(path: Path) -> ChunkClosed | None:
    """What a chunk's own header and records tell; one without records goes."""
    data = path.read_bytes()
    try:
        header, _ = decode_header(data)
        arrivals = [record.arrival_ns for record in read_records(data)]
    except TapeError:
        arrivals = []
    else:
        if arrivals:
            return ChunkClosed(header.capture_id, header.seq, len(data), len(arrivals), arrivals[0], arrivals[-1])
    path.unlink()
    return None
