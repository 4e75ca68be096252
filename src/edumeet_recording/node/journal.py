"""The journal: facts that must reach the database, on disk until they are acknowledged.

One JSON line an entry; the first line holds the number that came before them. A line a kill cut off was never sent.
How far they are acknowledged is in a file beside it, which may be lost: then some are told again.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from edumeet_recording.wire.node_link import JournalBody, JournalEntry

_COMPACT_LINES = 256
"""Acknowledged lines that may lie in the file before it is rewritten."""
_RESERVE_BYTES = 1024 * 1024


class Journal:
    """Appends block until the disk has them: call them from a thread.

    `first_seq` numbers a journal that is made anew: take one above all that an earlier one can have used (the time in
    milliseconds), for the orchestrator passes over numbers it has seen.
    """

    def __init__(self, path: Path, first_seq: int) -> None:
        self._path = path
        self._entries: list[JournalEntry] = []
        self._reserve = path.with_suffix(".reserve")
        self._acked = path.with_suffix(".acked")
        self._acked_lines = 0
        if path.exists():
            self._last_seq = self._load()
            with suppress(OSError):  # the disk is full: it is good as it is
                self._rewrite()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._last_seq = first_seq - 1
            self._rewrite()

    @property
    def pending(self) -> tuple[JournalEntry, ...]:
        """Entries that are not acknowledged, in order."""
        return tuple(self._entries)

    def append(self, bodies: list[JournalBody]) -> None:
        """Have the facts on disk. Raises `OSError`."""
        first = self._last_seq + 1
        entries = [JournalEntry(seq=first + i, body=body) for i, body in enumerate(bodies)]
        data = "".join(f"{entry.to_json()}\n" for entry in entries).encode()
        try:
            self._write(data)
        except OSError:
            # Full of tape, perhaps: no chunk may go before its entry is on disk, so make the room for that.
            self._reserve.unlink(missing_ok=True)
            self._acked_lines = _COMPACT_LINES
            self._write(data)
        self._last_seq += len(entries)
        self._entries += entries

    def ack(self, up_to: int) -> None:
        """Drop what the orchestrator has; the file is only rewritten now and then, for that waits for the disk."""
        before = len(self._entries)
        self._entries = [entry for entry in self._entries if entry.seq > up_to]
        self._acked_lines += before - len(self._entries)
        with suppress(OSError):
            self._acked.write_text(str(up_to))
        if self._acked_lines >= _COMPACT_LINES:
            with suppress(OSError):  # the disk is full: nothing that would free it may wait for this
                self._rewrite()

    def _write(self, data: bytes) -> None:
        """All of it, or nothing."""
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            before = os.fstat(fd).st_size
            try:
                while data:
                    data = data[os.write(fd, data) :]
                os.fsync(fd)
            except OSError:
                os.ftruncate(fd, before)
                raise
        finally:
            os.close(fd)

    def _keep_reserve(self) -> None:
        if self._reserve.exists():
            return
        with self._reserve.open("wb") as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)

    def _load(self) -> int:
        before, *lines = self._path.read_text().splitlines() or [""]
        for line in lines:
            try:
                self._entries.append(JournalEntry.model_validate_json(line))
            except ValidationError:
                break
        last = max([json.loads(before)["before"], *(entry.seq for entry in self._entries)])
        acked = self._acked.read_text() if self._acked.exists() else ""
        if acked.isdecimal():
            self._entries = [entry for entry in self._entries if entry.seq > int(acked)]
        return last

    def _rewrite(self) -> None:
        before = self._entries[0].seq - 1 if self._entries else self._last_seq
        lines = [json.dumps({"before": before}), *(entry.to_json() for entry in self._entries)]
        new = self._path.with_suffix(".new")
        with new.open("w") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        self._keep_reserve()
        self._acked_lines = 0
