from pathlib import Path

import pytest

from edumeet_recording.media.tape import RECORD, ChunkHeader, read_records
from edumeet_recording.node.inventory import Inventory
from edumeet_recording.node.spool import ChunkFile, capture_folder


def records(*arrivals: int) -> bytes:
    return b"".join(RECORD.pack(arrival, 3, 0, 0) + b"abc" for arrival in arrivals)


def chunk(spool: Path, seq: int = 0) -> ChunkFile:
    return ChunkFile(str(capture_folder(spool, "c1")), ChunkHeader("j", "c1", 1, seq, "tapes/c1"))


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    made = Inventory(tmp_path / "spool")
    made.begin("c1", 1, "tapes/c1")
    return made


def test_a_chunk_is_readable_while_it_is_written_and_has_its_name_when_whole(inventory: Inventory) -> None:
    writing = chunk(inventory.spool)
    writing.append(records(5, 6), 2, 6)
    writing.flush()
    part = inventory.spool / "c1" / "000000.tape.part"
    assert [record.arrival_ns for record in read_records(part.read_bytes())] == [5, 6]
    writing.append(records(7), 1, 7)
    writing.flush()
    writing.sync()
    closed = writing.close()
    whole = inventory.path(closed)
    assert (closed.records, closed.first_ns, closed.last_ns, closed.bytes) == (3, 5, 7, whole.stat().st_size)
    assert not part.exists()


def test_what_the_disk_does_not_take_stays_pending(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    writing = chunk(inventory.spool)
    writing.append(records(5), 1, 5)
    whole = bytes(writing.pending)
    real, calls = __import__("os").write, iter([3, OSError(28, "No space left on device")])

    def write(fd: int, data: bytearray) -> int:
        outcome = next(calls, None)
        if isinstance(outcome, OSError):
            raise outcome
        return real(fd, data if outcome is None else bytes(data[:outcome]))

    monkeypatch.setattr("os.write", write)
    with pytest.raises(OSError, match="No space left"):
        writing.flush()
    assert writing.pending == whole[3:]
    writing.flush()
    assert inventory.path(writing.close()).read_bytes() == whole


def test_what_a_kill_cut_off_is_recovered_up_to_its_last_whole_record(inventory: Inventory) -> None:
    for seq in range(2):
        writing = chunk(inventory.spool, seq)
        writing.append(records(5 + seq, 9 + seq), 2, 9 + seq)
        writing.flush()
    torn = inventory.spool / "c1" / "000001.tape.part"
    torn.write_bytes(torn.read_bytes()[:-1])
    assert [(found.seq, found.records, found.last_ns) for found in inventory.recover("c1")] == [(0, 2, 9), (1, 1, 6)]


@pytest.mark.parametrize("content", [b"", b"EDUTAPE1", b"not a tape at all"])
def test_a_chunk_without_records_goes(inventory: Inventory, content: bytes) -> None:
    path = inventory.spool / "c1" / "000000.tape.part"
    path.write_bytes(content)
    assert inventory.recover("c1") == ()
    assert list(path.parent.glob("*.tape*")) == []


def test_the_next_life_finds_captures_whose_chunks_are_all_stored(inventory: Inventory) -> None:
    writing = chunk(inventory.spool)
    writing.append(records(5), 1, 5)
    writing.flush()
    inventory.delete_chunk("c1", writing.close().seq)
    (left,) = Inventory(inventory.spool).left(())
    assert (left.capture_id, left.epoch, left.tape_prefix, left.stored, left.chunks) == ("c1", 1, "tapes/c1", 1, ())
    inventory.forget("c1")
    assert list(inventory.left(())) == []


def test_a_capture_whose_note_was_cut_off_goes(inventory: Inventory) -> None:
    (inventory.spool / "c1" / "capture.json").write_text('{"epo')
    assert list(inventory.left(())) == []
    assert not (inventory.spool / "c1").exists()


def test_what_waits_is_counted(inventory: Inventory) -> None:
    writing = chunk(inventory.spool)
    writing.append(records(5), 1, 5)
    writing.flush()
    assert inventory.bytes() == writing.bytes


@pytest.mark.parametrize("capture_id", ["", "../x", "a/b", "a\0b", "x" * 129, "."])
def test_an_id_that_cannot_name_a_folder_is_refused(tmp_path: Path, capture_id: str) -> None:
    with pytest.raises(ValueError, match="cannot name a folder"):
        capture_folder(tmp_path, capture_id)
