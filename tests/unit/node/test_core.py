from dataclasses import replace
from typing import Any

import pytest

from edumeet_recording.domain.capture import CaptureState, StreamState
from edumeet_recording.domain.codecs import Codec, Container, Kind
from edumeet_recording.node.core import CAPTURES_A_WORKER, NodeCore
from edumeet_recording.node.events import (
    AdoptedCapture,
    Beat,
    ChunkShipped,
    DesiredReceived,
    FinalizeEnded,
    FinalizeProgressed,
    JournalAcked,
    KeyFrameRequested,
    Leaving,
    LeftCapture,
    LinkUp,
    PortsOpened,
    PortsRefused,
    Started,
    Stopping,
    WorkerReplaced,
    WorkerSaid,
)
from edumeet_recording.node.instructions import (
    AppendJournal,
    AssignCapture,
    DeleteChunk,
    ForgetCapture,
    OpenPorts,
    ReleasePorts,
    Send,
    ShipChunk,
    StartFinalize,
    StopFinalize,
    TellWorker,
    TrimJournal,
)
from edumeet_recording.node.worker_link import (
    AskKeyFrame,
    CaptureNumbers,
    ChunkClosed,
    Drain,
    Drained,
    FirstPacket,
    Holding,
    Numbers,
    TrackNumbers,
    Unwritable,
    Update,
)
from edumeet_recording.wire.node_link import (
    CaptureDrained,
    CaptureReport,
    ChunkStored,
    Desired,
    DesiredCapture,
    FinalizeFailed,
    FinalizeProgress,
    FinalizeTask,
    Heartbeat,
    JournalEntry,
    NodeLoad,
    OutputOptions,
    Port,
    RequestKeyFrame,
    SrtpKey,
    Stream,
    TapeChunk,
)

AUDIO = Stream(index=0, kind=Kind.AUDIO, codec=Codec.OPUS, payload_type=100, clock_rate=48000)
CAPTURE = DesiredCapture(capture_id="c1", job_id="j1", epoch=1, tape_prefix="tapes/c1", streams=(AUDIO,))
OTHER = CAPTURE.model_copy(update={"capture_id": "c2", "tape_prefix": "tapes/c2"})
PORTS = (Port(index=0, port=40000, rtcp_port=40001),)
TASK = FinalizeTask(
    job_id="j1",
    attempt=1,
    output_prefix="out",
    file_stem="f",
    output=OutputOptions(container=Container.MKV),
    captures=(),
)


def desired(*captures: DesiredCapture, revision: int = 1, finalize: tuple[FinalizeTask, ...] = ()) -> DesiredReceived:
    return DesiredReceived(Desired(revision=revision, captures=captures, finalize=finalize))


def closed(seq: int, capture_id: str = "c1") -> ChunkClosed:
    return ChunkClosed(capture_id, seq, bytes=100, records=2, first_ns=1, last_ns=2)


def stored(seq: int) -> TapeChunk:
    return TapeChunk(seq=seq, key=f"tapes/c1/{seq:06d}.tape", bytes=100, sha256="00")


def numbers(packets: int, capture_id: str = "c1", state: StreamState | None = None, **foreign: int) -> CaptureNumbers:
    track = TrackNumbers(
        index=0,
        ssrc=7,
        packets=packets,
        bytes=10 * packets,
        lost=1,
        reordered=0,
        recovered=0,
        jitter_ms=0.5,
        key_frames=0,
        last_packet_at=5.0 if packets else None,
        state=state or (StreamState.RECEIVING if packets else StreamState.WAITING),
        bitrate_bps=80 * packets,
    )
    return CaptureNumbers(capture_id, (track,), foreign)


def said(message: Any, slot: int = 0) -> WorkerSaid:
    return WorkerSaid(slot, message)


def reported(instructions: list[Any]) -> list[CaptureReport]:
    return [report for each in instructions if isinstance(each, Send) for report in each.message.captures]


def beat(core: NodeCore, load: NodeLoad | None = None) -> Heartbeat:
    *_, send = core.handle(Beat(load or NodeLoad()))
    assert isinstance(send, Send)
    assert isinstance(send.message, Heartbeat)
    return send.message


@pytest.fixture
def core() -> NodeCore:
    return NodeCore(workers=2, slots=1)


@pytest.fixture
def recording(core: NodeCore) -> NodeCore:
    core.handle(desired(CAPTURE))
    core.handle(PortsOpened("c1", "10.0.0.1", PORTS))
    return core


def test_a_desired_capture_gets_ports_then_a_worker_and_is_reported_prepared(core: NodeCore) -> None:
    assert core.handle(desired(CAPTURE)) == [OpenPorts(CAPTURE)]
    assign, send = core.handle(PortsOpened("c1", "10.0.0.1", PORTS))
    assert isinstance(assign, AssignCapture)
    assert (assign.slot, assign.assign.first_seq, assign.assign.streams[0].payload_type) == (0, 0, 100)
    (report,) = reported([send])
    assert (report.state, report.epoch, report.ip, report.ports) == (CaptureState.PREPARED, 1, "10.0.0.1", PORTS)


def test_a_worker_is_filled_before_the_next_and_then_they_share(core: NodeCore) -> None:
    names = [f"c{i}" for i in range(2 * CAPTURES_A_WORKER + 4)]
    core.handle(desired(*(CAPTURE.model_copy(update={"capture_id": name}) for name in names)))
    assigned = [core.handle(PortsOpened(name, "10.0.0.1", PORTS))[0] for name in names]
    slots = [each.slot for each in assigned if isinstance(each, AssignCapture)]
    assert slots == [0] * CAPTURES_A_WORKER + [1] * CAPTURES_A_WORKER + [0, 1, 0, 1]


def test_the_same_desire_again_does_nothing(recording: NodeCore) -> None:
    assert recording.handle(desired(CAPTURE)) == []


def test_an_older_revision_does_nothing_until_another_link_is_up(recording: NodeCore) -> None:
    recording.handle(desired(CAPTURE, revision=5))
    assert recording.handle(desired(revision=4)) == []
    recording.handle(LinkUp())
    assert recording.handle(desired(revision=4)) == [TellWorker(0, Drain("c1"))]


def test_changed_streams_reach_the_worker_with_their_key(recording: NodeCore) -> None:
    key = SrtpKey(suite="AEAD_AES_128_GCM", key_base64="AAAA")
    stream = AUDIO.model_copy(update={"ssrc": 9, "srtp": key})
    changed = CAPTURE.model_copy(update={"confirmed": True, "streams": (stream,)})
    (tell,) = recording.handle(desired(changed))
    assert isinstance(tell, TellWorker)
    assert isinstance(tell.order, Update)
    assert tell.order.confirmed
    assert (tell.order.streams[0].ssrc, tell.order.streams[0].srtp) == (9, ("AEAD_AES_128_GCM", key.key_base64))


def test_streams_that_change_before_there_is_a_worker_are_assigned_as_they_are_then(core: NodeCore) -> None:
    core.handle(desired(CAPTURE))
    assert core.handle(desired(CAPTURE.model_copy(update={"confirmed": True}))) == []
    assign = core.handle(PortsOpened("c1", "10.0.0.1", PORTS))[0]
    assert isinstance(assign, AssignCapture)
    assert assign.assign.confirmed


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


def test_a_replaced_worker_goes_on_where_the_dead_one_was(recording: NodeCore) -> None:
    without_ports = CAPTURE.model_copy(update={"capture_id": "c3"})
    recording.handle(desired(CAPTURE, OTHER, without_ports))
    recording.handle(PortsOpened("c2", "10.0.0.1", PORTS))
    recording.handle(said(closed(0)))
    recording.handle(said(Numbers((numbers(100, unconfirmed=2),))))
    ship, assign, other = recording.handle(WorkerReplaced(0, (closed(0), closed(1), closed(0, "gone"))))
    assert ship == ShipChunk(closed(1), "tapes/c1/000001.tape")
    assert isinstance(assign, AssignCapture)
    assert assign.assign.first_seq == 2
    assert isinstance(other, AssignCapture)
    assert (other.assign.capture_id, other.assign.first_seq) == ("c2", 0)
    assert assign.assign.streams[0].latched_ssrc == 7, "the stream it had taken"
    assert recording.reports[0].streams[0].packets == 100
    recording.handle(said(Numbers((numbers(5, unconfirmed=1, ssrc=1),))))
    report = recording.reports[0]
    assert (report.streams[0].packets, report.streams[0].lost) == (105, 2)
    assert report.foreign == {"unconfirmed": 3, "ssrc": 1}


def test_a_replaced_worker_drains_what_the_dead_one_was_draining(recording: NodeCore) -> None:
    recording.handle(desired(revision=2))
    assign, drain = recording.handle(WorkerReplaced(0, ()))
    assert isinstance(assign, AssignCapture)
    assert drain == TellWorker(0, Drain("c1"))


def test_a_worker_that_has_not_counted_yet_does_not_forget_when_media_last_came(recording: NodeCore) -> None:
    recording.handle(said(Numbers((numbers(100),))))
    recording.handle(WorkerReplaced(0, ()))
    recording.handle(said(Numbers((numbers(0),))))
    (stream,) = recording.reports[0].streams
    assert (stream.last_packet_at, stream.state) == (5.0, StreamState.RECEIVING)


def test_a_capture_whose_new_worker_cannot_decrypt_what_the_old_one_could_is_given_up(recording: NodeCore) -> None:
    recording.handle(said(Numbers((numbers(70_000),))))
    recording.handle(WorkerReplaced(0, ()))
    (report,) = reported(recording.handle(said(Numbers((numbers(0, state=StreamState.UNDECRYPTABLE, srtp_auth=60),)))))
    assert "cannot decrypt" in (report.error or "")


def test_the_next_worker_is_told_where_the_srtp_streams_are(recording: NodeCore) -> None:
    (track,) = numbers(70_000).tracks
    recording.handle(said(Numbers((CaptureNumbers("c1", (replace(track, srtp_index=70_000),), {}),))))
    for _ in range(2):
        (assign,) = recording.handle(WorkerReplaced(0, ()))
        assert isinstance(assign, AssignCapture)
        assert assign.assign.streams[0].srtp_index == 70_000
        recording.handle(said(Numbers((numbers(0),))))
    another = CAPTURE.model_copy(update={"streams": (AUDIO.model_copy(update={"ssrc": 8}),)})
    (update,) = recording.handle(desired(another, revision=2))
    assert isinstance(update, TellWorker)
    assert isinstance(update.order, Update)
    assert update.order.streams[0].srtp_index is None


def test_a_capture_that_never_could_decrypt_waits_for_its_key(recording: NodeCore) -> None:
    wrong = Numbers((numbers(0, state=StreamState.UNDECRYPTABLE, srtp_auth=60),))
    recording.handle(said(wrong))
    recording.handle(WorkerReplaced(0, ()))
    assert recording.handle(said(wrong)) == []
    (report,) = recording.reports
    assert (report.error, report.streams[0].state) == (None, StreamState.UNDECRYPTABLE)


def test_what_is_said_of_unknown_captures_changes_nothing(core: NodeCore) -> None:
    for message in (FirstPacket("x", 1.0), closed(0, "x"), Drained(numbers(1, "x")), Numbers((numbers(1, "x"),))):
        assert core.handle(said(message)) == []
    assert core.handle(KeyFrameRequested(RequestKeyFrame(capture_id="x"))) == []
    assert core.reports == ()


def test_an_unwritable_spool_refuses_captures_until_it_can_be_written_again(recording: NodeCore) -> None:
    recording.handle(said(Unwritable("No space left on device")))
    load = beat(recording).load
    assert not load.accepts_captures
    assert "No space left" in (load.refusal or "")
    assert recording.reports[0].error is None, "nothing is lost yet"
    recording.handle(said(Unwritable(None)))
    assert beat(recording).load.accepts_captures


def test_a_replaced_worker_may_write_again(recording: NodeCore) -> None:
    recording.handle(said(Unwritable("Input/output error")))
    recording.handle(WorkerReplaced(0, ()))
    assert beat(recording).load.accepts_captures


def test_a_capture_that_loses_media_for_want_of_a_disk_says_so_once(recording: NodeCore) -> None:
    recording.handle(said(Unwritable("No space left on device")))
    (report,) = reported(recording.handle(said(Numbers((numbers(1, unwritable=3),)))))
    assert "No space left" in (report.error or "")
    assert recording.handle(said(Numbers((numbers(1, unwritable=4),)))) == []


def test_a_key_frame_is_asked_for_by_the_worker(recording: NodeCore) -> None:
    request = KeyFrameRequested(RequestKeyFrame(capture_id="c1"))
    assert recording.handle(request) == [TellWorker(0, AskKeyFrame("c1"))]


def test_an_acknowledged_journal_is_trimmed(core: NodeCore) -> None:
    assert core.handle(JournalAcked(4)) == [TrimJournal(4)]


def test_the_heartbeat_carries_everything(recording: NodeCore) -> None:
    recording.handle(desired(CAPTURE, finalize=(TASK,)))
    heard = beat(recording, NodeLoad(cpu_percent=12.0))
    assert (heard.load.cpu_percent, heard.load.captures, heard.load.finalizing) == (12.0, 1, 1)
    assert heard.load.accepts_captures
    assert [report.capture_id for report in heard.captures] == ["c1"]
    assert heard.finalizing[0].job_id == "j1"


def test_a_full_disk_refuses_captures(core: NodeCore) -> None:
    load = beat(core, NodeLoad(refusal="the spool's disk is 91 % full")).load
    assert (load.accepts_captures, load.refusal) == (False, "the spool's disk is 91 % full")


def test_finalizations_run_within_the_slots_and_are_journaled(core: NodeCore) -> None:
    second = TASK.model_copy(update={"job_id": "j2"})
    assert core.handle(desired(finalize=(TASK, second))) == [StartFinalize(TASK)]
    progress = FinalizeProgress(job_id="j1", attempt=1, phase="mux", fraction=0.5)
    core.handle(FinalizeProgressed(progress))
    assert beat(core).finalizing == (progress,)
    failed = FinalizeFailed(job_id="j1", attempt=1, error="no")
    assert core.handle(FinalizeEnded("j1", 1, failed)) == [AppendJournal(failed), StartFinalize(second)]
    core.handle(FinalizeProgressed(progress))
    assert [each.job_id for each in beat(core).finalizing] == ["j2"], "progress of what is over counts no more"
    assert core.handle(desired(finalize=(TASK, second))) == [], "the orchestrator has yet to hear of it"


def test_a_finalization_that_is_not_desired_any_more_is_stopped_and_can_be_desired_again(core: NodeCore) -> None:
    core.handle(desired(finalize=(TASK,)))
    assert core.handle(desired(revision=2)) == [StopFinalize("j1", 1)]
    assert core.handle(desired(revision=3, finalize=(TASK,))) == [], "the child still ends"
    assert core.handle(FinalizeEnded("j1", 1, None)) == [StartFinalize(TASK)]


def test_stopping_drains_everything_and_begins_nothing(recording: NodeCore) -> None:
    recording.handle(desired(CAPTURE, finalize=(TASK,)))
    assert recording.handle(Stopping()) == [TellWorker(0, Drain("c1")), StopFinalize("j1", 1)]
    assert recording.handle(FinalizeEnded("j1", 1, None)) == []
    assert recording.handle(desired(OTHER, revision=9, finalize=(TASK,))) == []
    assert beat(recording).load.refusal == "the node is stopping"


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
