"""What the core does about what an earlier life of the node left, or left at work."""

from dataclasses import replace

from tests.unit.node.conftest import CAPTURE, OTHER, PORTS, TASK, beat, closed, desired, numbers, said, stored

from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.node.core import NodeCore
from edumeet_recording.node.events import (
    AdoptedCapture,
    ChunkShipped,
    LeftCapture,
    PortsOpened,
    Started,
    WorkerReplaced,
)
from edumeet_recording.node.instructions import (
    AppendJournal,
    AssignCapture,
    ForgetCapture,
    ReleasePorts,
    ShipChunk,
    TellWorker,
)
from edumeet_recording.node.worker_link import (
    Drain,
    Drained,
    Holding,
)
from edumeet_recording.wire.node_link import (
    CaptureDrained,
    CaptureReport,
    ChunkStored,
    FinalizeFailed,
    JournalEntry,
)


def test_what_an_earlier_life_left_is_shipped_and_then_drained(core: NodeCore) -> None:
    left = LeftCapture("c1", epoch=3, tape_prefix="tapes/c1", stored=2, chunks=(closed(2), closed(3)))
    empty = LeftCapture("c2", epoch=1, tape_prefix="tapes/c2", stored=0, chunks=())
    first, second, journal, forget, _ = core.handle(Started((left, empty)))
    assert first == ShipChunk(closed(2), "tapes/c1/000002.tape")
    assert second == ShipChunk(closed(3), "tapes/c1/000003.tape")
    assert isinstance(journal, AppendJournal)
    assert forget == ForgetCapture("c2")
    assert core.handle(desired(CAPTURE)) == [], "its other life ended: the orchestrator begins another capture"
    core.handle(ChunkShipped("c1", stored(2)))
    _, _, drained, *_ = core.handle(ChunkShipped("c1", stored(3)))
    assert isinstance(drained, AppendJournal)
    assert isinstance(drained.body, CaptureDrained)
    assert (drained.body.chunks, drained.body.epoch) == (4, 3)


def test_what_the_journal_holds_is_not_done_again(core: NodeCore) -> None:
    report = CaptureReport(capture_id="c1", epoch=1, state=CaptureState.DRAINED)
    journal = (
        JournalEntry(seq=1, body=ChunkStored(capture_id="c1", chunk=stored(0))),
        JournalEntry(seq=2, body=CaptureDrained(capture_id="c1", epoch=1, chunks=1, report=report)),
        JournalEntry(seq=3, body=FinalizeFailed(job_id="j1", attempt=1, error="no")),
    )
    left = LeftCapture("c1", epoch=1, tape_prefix="tapes/c1", stored=1, chunks=())
    assert core.handle(Started((left,), journal=journal)) == [ForgetCapture("c1")]
    assert core.handle(desired(CAPTURE, finalize=(TASK,))) == []
    assert core.reports == (report,)


def test_a_finalization_in_whose_midst_the_node_ended_is_told_of_and_not_begun_again(core: NodeCore) -> None:
    told = (JournalEntry(seq=1, body=FinalizeFailed(job_id="j2", attempt=4, error="no")),)
    (journal,) = core.handle(Started(journal=told, unfinished=(("j1", 1), ("j2", 4))))
    assert isinstance(journal, AppendJournal)
    assert isinstance(journal.body, FinalizeFailed)
    assert (journal.body.job_id, journal.body.attempt, journal.body.finalizer_lost) == ("j1", 1, True)
    assert core.handle(desired(finalize=(TASK,))) == []


def adopted(slot: int = 0, *, draining: bool = False) -> AdoptedCapture:
    """What a node that recorded c1 finds after its agent was killed: chunk 3 waits, chunk 4 is being written."""
    core = NodeCore(workers=2, slots=1)
    core.handle(desired(CAPTURE))
    assign, _ = core.handle(PortsOpened("c1", "10.0.0.1", PORTS))
    holding = Holding(replace(assign.assign, first_seq=4), numbers(9), first_packet_at=5.0, draining=draining)
    return AdoptedCapture(slot, holding, "10.0.0.1", PORTS, stored=3, chunks=(closed(3),))


def test_a_capture_that_a_worker_went_on_with_goes_on(core: NodeCore) -> None:
    (ship,) = core.handle(Started(adopted=(adopted(),)))
    assert ship == ShipChunk(closed(3), "tapes/c1/000003.tape")
    assert core.handle(desired(CAPTURE)) == []
    (report,) = beat(core).captures
    assert (report.state, report.ports, report.first_packet_at) == (CaptureState.RECEIVING, PORTS, 5.0)
    assert (report.streams[0].packets, report.unshipped_chunks) == (9, 1)
    assert core.handle(said(closed(3))) == []
    assert core.handle(said(closed(4))) == [ShipChunk(closed(4), "tapes/c1/000004.tape")]
    core.handle(ChunkShipped("c1", stored(3)))
    core.handle(ChunkShipped("c1", stored(4)))
    assert core.handle(desired(revision=2)) == [TellWorker(0, Drain("c1"))]
    _, journal, *_ = core.handle(said(Drained(numbers(12))))
    assert isinstance(journal, AppendJournal)
    assert isinstance(journal.body, CaptureDrained)
    assert journal.body.chunks == 5


def test_a_worker_that_dies_after_it_was_found_is_replaced_with_all_it_had(core: NodeCore) -> None:
    core.handle(Started(adopted=(adopted(),)))
    ship, assign = core.handle(WorkerReplaced(0, (closed(3), closed(4))))
    assert ship == ShipChunk(closed(4), "tapes/c1/000004.tape")
    assert isinstance(assign, AssignCapture)
    assert (assign.assign.first_seq, assign.assign.streams[0].latched_ssrc) == (5, 7)


def test_new_captures_are_not_for_a_worker_that_takes_no_more(core: NodeCore) -> None:
    core.handle(Started(adopted=(adopted(slot=2),)))
    core.handle(desired(CAPTURE, OTHER))
    assign, _ = core.handle(PortsOpened("c2", "10.0.0.1", PORTS))
    assert isinstance(assign, AssignCapture)
    assert assign.slot == 0


def test_a_capture_that_was_draining_is_waited_for(core: NodeCore) -> None:
    core.handle(Started(adopted=(adopted(draining=True),)))
    assert core.handle(desired()) == []
    core.handle(ChunkShipped("c1", stored(3)))
    released, journal, *_ = core.handle(said(Drained(numbers(9))))
    assert released == ReleasePorts("c1")
    assert isinstance(journal, AppendJournal)
