"""The spool: one folder a capture, one file a chunk, `.tape.part` while it is written and `.tape` once it is whole."""

import os
import re
from pathlib import Path

from edumeet_recording.media.tape import RECORD, ChunkHeader, encode_header
from edumeet_recording.node.worker_link import ChunkClosed

PART = ".tape.part"
WHOLE = ".tape"
_CAPTURE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def chunk_path(spool: Path, capture_id: str, seq: int) -> Path:
    """Where a closed chunk lies."""
    return capture_folder(spool, capture_id) / f"{seq:06d}{WHOLE}"


def capture_folder(spool: Path, capture_id: str) -> Path:
    """The folder of a capture. Raises `ValueError` where the id cannot name one."""
    if not _CAPTURE_ID.fullmatch(capture_id):
        raise ValueError(f"{capture_id!r} cannot name a folder")
    return spool / capture_id


class ChunkFile:
    """A chunk that is being written. Not buffered: what `write` has taken survives the end of this process.

    `folder` is the capture's, as text: to join paths costs more than to write a chunk.
    """

    def __init__(self, folder: str, header: ChunkHeader) -> None:
        self._folder = folder
        self._part = f"{folder}/{header.seq:06d}{PART}"
        self._header = header
        self._fd = -1
        self.bytes = 0
        self.records = 0
        self.first_ns = 0
        self.last_ns = 0
        self.pending = encode_header(header)
        """What could not be written yet."""

    def append(self, records: bytes, count: int, last_ns: int) -> None:
        """Take records, the last of which came at `last_ns`; `flush` writes them."""
        if not self.records:
            self.first_ns = RECORD.unpack_from(records)[0]
        self.pending = self.pending + records if self.pending else records
        self.records += count
        self.last_ns = last_ns

    def flush(self) -> None:
        """Write what is pending. Raises `OSError` (disk full, broken); what was not written stays pending."""
        if self._fd < 0:
            self._fd = self._open()
        while self.pending:
            written = os.write(self._fd, self.pending)
            self.bytes += written
            self.pending = self.pending[written:]

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(self._part, flags, 0o640)
        except FileNotFoundError:  # somebody has cleaned up
            os.makedirs(self._folder, exist_ok=True)
            return os.open(self._part, flags, 0o640)

    def sync(self) -> None:
        """Wait until the disk has it. Raises `OSError`."""
        os.fsync(self._fd)

    def close(self) -> ChunkClosed:
        """Give it its final name."""
        os.close(self._fd)
        os.rename(self._part, self._part.removesuffix(PART) + WHOLE)
        header = self._header
        return ChunkClosed(header.capture_id, header.seq, self.bytes, self.records, self.first_ns, self.last_ns)
