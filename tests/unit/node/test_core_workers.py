"""What the core does about its capture processes: which has what, one that dies, and one that cannot write."""

from dataclasses import replace

from tests.unit.node.conftest import AUDIO, CAPTURE, OTHER, PORTS, beat, closed, desired, numbers, reported, said

from edumeet_recording.domain.capture import CaptureState, StreamState
from edumeet_recording.node.core import CAPTURES_A_WORKER, NodeCore
from edumeet_recording.node.events import (
    KeyFrameRequested,
    PortsOpened,
    WorkerReplaced,
)
from edumeet_recording.node.instructions import (
    AssignCapture,
    OpenPorts,
    ShipChunk,
    TellWorker,
)
from edumeet_recording.node.worker_link import (
    AskKeyFrame,
    CaptureNumbers,
    Drain,
    Numbers,
    Unwritable,
    Update,
)
from edumeet_recording.wire.node_link import (
    NodeLoad,
    RequestKeyFrame,
    SrtpKey,
)


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


def test_a_full_disk_refuses_captures(core: NodeCore) -> None:
    load = beat(core, NodeLoad(refusal="the spool's disk is 91 % full")).load
    assert (load.accepts_captures, load.refusal) == (False, "the spool's disk is 91 % full")
