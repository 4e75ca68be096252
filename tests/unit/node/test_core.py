"""What the core does about what is desired, and what becomes of captures."""

from tests.unit.node.conftest import CAPTURE, OTHER, PORTS, TASK, beat, closed, desired, numbers, reported, said, stored

from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.node.core import NodeCore
from edumeet_recording.node.events import (
    ChunkShipped,
    FinalizeEnded,
    JournalAcked,
    KeyFrameRequested,
    Leaving,
    LinkUp,
    PortsOpened,
    PortsRefused,
    Stopping,
)
from edumeet_recording.node.instructions import (
    AppendJournal,
    DeleteChunk,
    ForgetCapture,
    ReleasePorts,
    ShipChunk,
    StopFinalize,
    TellWorker,
    TrimJournal,
)
from edumeet_recording.node.worker_link import (
    Drain,
    Drained,
    FirstPacket,
    Numbers,
)
from edumeet_recording.wire.node_link import (
    CaptureDrained,
    ChunkStored,
    FinalizeFailed,
    NodeLoad,
    RequestKeyFrame,
)


def test_the_same_desire_again_does_nothing(recording: NodeCore) -> None:
    assert recording.handle(desired(CAPTURE)) == []


def test_an_older_revision_does_nothing_until_another_link_is_up(recording: NodeCore) -> None:
    recording.handle(desired(CAPTURE, revision=5))
    assert recording.handle(desired(revision=4)) == []
    recording.handle(LinkUp())
    assert recording.handle(desired(revision=4)) == [TellWorker(0, Drain("c1"))]


def test_refused_ports_are_reported(core: NodeCore) -> None:
    core.handle(desired(CAPTURE))
    (report,) = reported(core.handle(PortsRefused("c1", "no free port")))
    assert (report.state, report.error) == (CaptureState.ASSIGNED, "no free port")


def test_ports_of_a_capture_that_is_no_longer_desired_are_given_back(core: NodeCore) -> None:
    core.handle(desired(CAPTURE))
    core.handle(desired(revision=2))
    assert core.handle(PortsOpened("c1", "10.0.0.1", PORTS)) == [ReleasePorts("c1"), ForgetCapture("c1")]
    assert core.handle(PortsRefused("c1", "no free port")) == [ForgetCapture("c1")]


def test_a_capture_that_never_got_ports_ends_at_once(core: NodeCore) -> None:
    core.handle(desired(CAPTURE))
    journal, forget, _ = core.handle(desired(revision=2))
    assert isinstance(journal, AppendJournal)
    assert isinstance(journal.body, CaptureDrained)
    assert journal.body.chunks == 0
    assert forget == ForgetCapture("c1")
    assert core.idle


def test_the_first_packet_is_reported_once(recording: NodeCore) -> None:
    (report,) = reported(recording.handle(said(FirstPacket("c1", 5.0))))
    assert (report.state, report.first_packet_at) == (CaptureState.RECEIVING, 5.0)
    assert recording.handle(said(FirstPacket("c1", 6.0))) == []


def test_a_closed_chunk_is_shipped_journaled_and_only_then_deleted(recording: NodeCore) -> None:
    assert recording.handle(said(closed(0))) == [ShipChunk(closed(0), "tapes/c1/000000.tape")]
    assert recording.reports[0].unshipped_chunks == 1
    assert recording.handle(said(closed(0))) == [], "a chunk that is told twice is shipped once"
    assert recording.handle(ChunkShipped("c1", stored(0))) == [
        AppendJournal(ChunkStored(capture_id="c1", chunk=stored(0))),
        DeleteChunk("c1", 0),
    ]


def test_a_capture_is_drained_once_it_is_read_out_and_shipped(recording: NodeCore) -> None:
    recording.handle(said(closed(0)))
    assert recording.handle(desired(revision=2)) == [TellWorker(0, Drain("c1"))]
    assert recording.handle(desired(revision=3)) == [], "draining is asked for once"
    assert recording.handle(said(Drained(numbers(9)))) == [ReleasePorts("c1")]
    _, _, journal, forget, send = recording.handle(ChunkShipped("c1", stored(0)))
    assert isinstance(journal, AppendJournal)
    assert isinstance(journal.body, CaptureDrained)
    assert (journal.body.chunks, journal.body.report.streams[0].packets) == (1, 9)
    assert forget == ForgetCapture("c1")
    assert reported([send])[0].state is CaptureState.DRAINED
    assert recording.idle


def test_a_capture_that_is_over_is_never_begun_again(recording: NodeCore) -> None:
    recording.handle(desired(revision=2))
    recording.handle(said(Drained(numbers(9))))
    assert recording.handle(desired(CAPTURE, revision=3)) == []
    assert recording.reports[0].state is CaptureState.DRAINED
    recording.handle(desired(revision=4))
    assert recording.reports == (), "nobody asks for it any more"


def test_a_draining_capture_takes_no_other_streams(recording: NodeCore) -> None:
    recording.handle(desired(revision=2))
    assert recording.handle(desired(CAPTURE.model_copy(update={"confirmed": True}), revision=3)) == []


def test_what_is_said_of_unknown_captures_changes_nothing(core: NodeCore) -> None:
    for message in (FirstPacket("x", 1.0), closed(0, "x"), Drained(numbers(1, "x")), Numbers((numbers(1, "x"),))):
        assert core.handle(said(message)) == []
    assert core.handle(KeyFrameRequested(RequestKeyFrame(capture_id="x"))) == []
    assert core.reports == ()


def test_an_acknowledged_journal_is_trimmed(core: NodeCore) -> None:
    assert core.handle(JournalAcked(4)) == [TrimJournal(4)]


def test_the_heartbeat_carries_everything(recording: NodeCore) -> None:
    recording.handle(desired(CAPTURE, finalize=(TASK,)))
    heard = beat(recording, NodeLoad(cpu_percent=12.0))
    assert (heard.load.cpu_percent, heard.load.captures, heard.load.finalizing) == (12.0, 1, 1)
    assert heard.load.accepts_captures
    assert [report.capture_id for report in heard.captures] == ["c1"]
    assert heard.finalizing[0].job_id == "j1"


def test_stopping_drains_everything_and_begins_nothing(recording: NodeCore) -> None:
    recording.handle(desired(CAPTURE, finalize=(TASK,)))
    assert recording.handle(Stopping()) == [TellWorker(0, Drain("c1")), StopFinalize("j1", 1)]
    assert recording.handle(FinalizeEnded("j1", 1, None)) == []
    assert recording.handle(desired(OTHER, revision=9, finalize=(TASK,))) == []
    assert beat(recording).load.refusal == "the node is stopping"


def test_a_node_that_leaves_goes_on_and_begins_nothing(recording: NodeCore) -> None:
    recording.handle(desired(CAPTURE, finalize=(TASK,)))
    assert recording.handle(Leaving()) == []
    load = beat(recording).load
    assert (load.leaving, load.accepts_captures, load.refusal) == (True, False, "the node is leaving")
    other = TASK.model_copy(update={"job_id": "j2"})
    assert recording.handle(desired(CAPTURE, revision=2, finalize=(TASK, other))) == []
    recording.handle(desired(revision=3, finalize=(TASK, other)))
    recording.handle(said(Drained(numbers(0))))
    assert (recording.idle, recording.empty) == (True, False)
    failed = FinalizeFailed(job_id="j1", attempt=1, error="no")
    assert recording.handle(FinalizeEnded("j1", 1, failed)) == [AppendJournal(failed)]
    assert recording.empty
