"""The tape: a chunk file holds every datagram of a capture as it came, each with its arrival time.

A chunk is `MAGIC`, the length of a JSON header (u32), the header, then records: arrival time (u64, epoch
nanoseconds), length of the payload (u16), stream index (u8), record kind (u8), payload; all little endian. Records
are only ever appended, so a chunk cut off by a kill is readable up to its last whole record.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

MAGIC = b"EDUTAPE1"
RECORD = struct.Struct("<QHBB")
_LENGTH = struct.Struct("<I")
_new = tuple.__new__
"""What a NamedTuple's constructor calls; without that, an hour of records is read in a third less time."""
MAX_HEADER_BYTES = 65536


class TapeError(ValueError):
    """The bytes are not a tape chunk."""


class RecordKind(IntEnum):
    """What a record's payload is. SRTP is decrypted before it gets on the tape."""

    RTP = 0
    RTCP = 1


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    """Where a chunk belongs; enough to ship it when nothing but the file is left."""

    job_id: str
    capture_id: str
    epoch: int
    seq: int
    tape_prefix: str


class Record(NamedTuple):
    """One datagram. `arrival_ns`: epoch nanoseconds by the node's clock."""

    arrival_ns: int
    stream: int
    kind: int
    payload: memoryview


def encode_header(header: ChunkHeader) -> bytes:
    """The first bytes of a chunk file."""
    text = json.dumps({name: getattr(header, name) for name in ChunkHeader.__slots__}).encode()
    return MAGIC + _LENGTH.pack(len(text)) + text


def decode_header(data: bytes | memoryview) -> tuple[ChunkHeader, int]:
    """The header, and the offset of the first record. Raises `TapeError` where there is none."""
    start = len(MAGIC) + _LENGTH.size
    if len(data) < start or bytes(data[: len(MAGIC)]) != MAGIC:
        raise TapeError("not a tape chunk")
    (length,) = _LENGTH.unpack_from(data, len(MAGIC))
    if length > MAX_HEADER_BYTES or len(data) < start + length:
        raise TapeError("the header is cut off")
    try:
        return ChunkHeader(**json.loads(bytes(data[start : start + length]))), start + length
    except (ValueError, TypeError) as error:
        raise TapeError(f"the header does not parse: {error}") from error


def read_records(data: bytes | memoryview) -> Iterator[Record]:
    """The whole records of a chunk, in the order they were written; a torn tail is left out."""
    _, at = decode_header(data)
    view = memoryview(data)
    end = len(view)
    while at + RECORD.size <= end:
        arrival_ns, length, stream, kind = RECORD.unpack_from(view, at)
        at += RECORD.size
        if arrival_ns == 0 or at + length > end:
            return
        yield _new(Record, (arrival_ns, stream, kind, view[at : at + length]))
        at += length
