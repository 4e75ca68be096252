import os
from pathlib import Path

import pytest

from edumeet_recording.node.journal import Journal
from edumeet_recording.wire.node_link import FinalizeFailed, JournalBody


def fact(number: int) -> JournalBody:
    return FinalizeFailed(job_id=f"j{number}", attempt=1, error="no")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node" / "journal.jsonl"


def jobs(journal: Journal) -> list[tuple[int, str]]:
    return [(entry.seq, entry.body.job_id) for entry in journal.pending if isinstance(entry.body, FinalizeFailed)]


def test_entries_and_numbers_survive_a_restart(path: Path) -> None:
    journal = Journal(path, first_seq=100)
    journal.append([fact(1), fact(2)])
    journal.append([fact(3)])
    journal.ack(100)
    again = Journal(path, first_seq=1)
    assert jobs(again)[-2:] == [(101, "j2"), (102, "j3")]
    again.append([fact(4)])
    assert jobs(again)[-1] == (103, "j4")


def test_numbers_go_on_after_everything_was_acknowledged(path: Path) -> None:
    journal = Journal(path, first_seq=100)
    journal.append([fact(1)])
    journal.ack(100)
    assert journal.pending == ()
    again = Journal(path, first_seq=1)
    again.append([fact(2)])
    assert jobs(again) == [(101, "j2")]


def test_what_was_acknowledged_is_not_told_again(path: Path) -> None:
    journal = Journal(path, first_seq=1)
    journal.append([fact(1), fact(2)])
    journal.ack(1)
    assert jobs(Journal(path, first_seq=1)) == [(2, "j2")]
    journal = Journal(path, first_seq=1)
    journal.append([fact(3)])
    journal.ack(2)
    path.with_suffix(".acked").write_text("")
    assert jobs(Journal(path, first_seq=1)) == [(2, "j2"), (3, "j3")], "rather twice than never"


def test_the_file_stays_small(path: Path) -> None:
    journal = Journal(path, first_seq=1)
    journal.append([fact(0)])
    for seq in range(2, 1000):
        journal.append([fact(seq)])
        journal.ack(seq - 1)
    assert path.stat().st_size < 100_000
    assert len(Journal(path, first_seq=1).pending) <= 300


def test_a_line_cut_off_by_a_kill_was_never_said(path: Path) -> None:
    journal = Journal(path, first_seq=1)
    journal.append([fact(1), fact(2)])
    path.write_bytes(path.read_bytes()[:-10])
    again = Journal(path, first_seq=1)
    assert jobs(again) == [(1, "j1")]
    again.append([fact(3)])
    assert jobs(Journal(path, first_seq=1)) == [(1, "j1"), (2, "j3")]


def test_an_acknowledgement_of_what_is_not_there_changes_nothing(path: Path) -> None:
    journal = Journal(path, first_seq=10)
    journal.append([fact(1)])
    journal.ack(3)
    assert len(journal.pending) == 1


def test_a_full_disk_still_takes_what_frees_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path, first_seq=1)
    journal.append([fact(1)])
    reserve = path.with_suffix(".reserve")
    real, begun = os.write, False

    def write(fd: int, data: bytes) -> int:
        nonlocal begun
        if not reserve.exists():
            return real(fd, data)
        if begun:
            raise OSError(28, "No space left on device")
        begun = True
        return real(fd, data[:5])

    monkeypatch.setattr("os.write", write)
    journal.append([fact(2)])
    monkeypatch.undo()
    assert jobs(Journal(path, first_seq=1)) == [(1, "j1"), (2, "j2")]
    assert reserve.stat().st_size > 0, "kept for the next time"


def test_a_disk_that_takes_nothing_is_told_and_leaves_the_journal_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path, first_seq=1)
    journal.append([fact(1)])

    def write(fd: int, data: bytes) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.write", write)
    with pytest.raises(OSError, match="Input/output"):
        journal.append([fact(2)])
    monkeypatch.undo()
    journal.append([fact(3)])
    assert jobs(journal) == [(1, "j1"), (2, "j3")]
