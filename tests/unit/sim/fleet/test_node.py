"""A node that records nothing says what a real one would say."""

from edumeet_recording.domain.capture import CaptureState
from edumeet_recording.domain.codecs import Codec, Container, Kind
from edumeet_recording.sim.fleet.node import FleetNode
from edumeet_recording.wire import node_link as wire

STREAM = wire.Stream(index=0, kind=Kind.AUDIO, codec=Codec.OPUS, payload_type=111, clock_rate=48000)
CAPTURE = wire.DesiredCapture(
    capture_id="capture-1", job_id="job-1", epoch=1, tape_prefix="tape/job-1", streams=(STREAM,)
)
TASK = wire.FinalizeTask(
    job_id="job-1",
    attempt=1,
    output_prefix="recordings/job-1/1",
    file_stem="recording",
    output=wire.OutputOptions(container=Container.WEBM),
    captures=(),
)


class Link:
    """Hears what the node says; unmasks its frames (RFC 6455 §5.3)."""

    def __init__(self) -> None:
        self.messages: list[wire.NodeMessage] = []
        self.frames = 0
        self.assigned_to: list[tuple[str, str]] = []
        self.received: list[tuple[str, str]] = []
        self.made: list[str] = []

    def send(self, frame: bytes) -> None:
        self.frames += 1
        at = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
        mask, payload = frame[at : at + 4], frame[at + 4 :]
        text = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.messages.append(wire.NODE_MESSAGE.validate_json(text))

    def assigned(self, job_id: str, node_id: str) -> None:
        self.assigned_to.append((job_id, node_id))

    def receiving(self, job_id: str, node_id: str) -> None:
        self.received.append((job_id, node_id))

    def finalized(self, job_id: str) -> None:
        self.made.append(job_id)

    def said(self) -> list[wire.NodeMessage]:
        messages, self.messages = self.messages, []
        return messages


def _linked() -> tuple[FleetNode, Link]:
    link = Link()
    node = FleetNode("node-1", link, lambda: 1000.0)
    node.linked(link.send, "1.0")
    hello, beat = link.said()
    assert isinstance(hello, wire.Hello)
    assert isinstance(beat, wire.Heartbeat)
    return node, link


def _tell(node: FleetNode, *captures: wire.DesiredCapture, finalize: tuple[wire.FinalizeTask, ...] = ()) -> None:
    assert node.hear(wire.Desired(revision=1, captures=captures, finalize=finalize).to_json())


def test_a_capture_is_prepared_receives_and_drains() -> None:
    node, link = _linked()
    _tell(node, CAPTURE)
    (report,) = link.said()
    assert isinstance(report, wire.Report)
    assert [(each.state, len(each.ports)) for each in report.captures] == [(CaptureState.PREPARED, 1)]
    _tell(node, CAPTURE.model_copy(update={"confirmed": True}))
    (report,) = link.said()
    assert isinstance(report, wire.Report)
    assert [(each.state, each.first_packet_at) for each in report.captures] == [(CaptureState.RECEIVING, 1000.0)]
    assert (link.assigned_to, link.received) == ([("job-1", "node-1")], [("job-1", "node-1")])
    _tell(node)
    (journal,) = link.said()
    assert isinstance(journal, wire.Journal)
    assert [entry.body.type for entry in journal.entries] == ["chunk_stored", "capture_drained"]
    assert node.captures == 0


def test_what_never_had_media_has_no_tape() -> None:
    node, link = _linked()
    _tell(node, CAPTURE)
    _tell(node)
    journal = link.said()[-1]
    assert isinstance(journal, wire.Journal)
    assert [entry.body.type for entry in journal.entries] == ["capture_drained"]


def test_a_file_is_made_once_an_attempt() -> None:
    node, link = _linked()
    _tell(node, finalize=(TASK,))
    _tell(node, finalize=(TASK,))
    (journal,) = link.said()
    assert isinstance(journal, wire.Journal)
    assert [entry.body.type for entry in journal.entries] == ["finalize_done"]


def test_what_was_not_acknowledged_is_said_again_on_the_next_link() -> None:
    node, link = _linked()
    _tell(node, finalize=(TASK,))
    node.linked(link.send, "1.0")
    assert isinstance(link.said()[-1], wire.Journal)
    assert node.hear(wire.Ack(up_to=1).to_json())
    node.linked(link.send, "1.0")
    assert isinstance(link.said()[-1], wire.Heartbeat)


def test_a_heartbeat_tells_all_captures_and_the_same_bytes_while_nothing_changes() -> None:
    node, link = _linked()
    _tell(node, CAPTURE)
    link.said()
    frames: list[bytes] = []
    node.linked(lambda frame: frames.append(frame), "1.0")
    node.beat()
    assert frames[1] is frames[2]
    link.send(frames[2])
    (beat,) = link.said()
    assert isinstance(beat, wire.Heartbeat)
    assert [each.capture_id for each in beat.captures] == ["capture-1"]


def test_it_goes_where_it_is_sent() -> None:
    node, _link = _linked()
    assert not node.hear(wire.Goaway(reason="going down").to_json())
