"""What the streams of a capture do, kept with it and told as events of its job."""

from datetime import UTC, datetime
from typing import Any

from edumeet_recording.domain.capture import StreamState, event_of
from edumeet_recording.domain.job import JobStatus, Reason
from edumeet_recording.store import captures, forwardings, jobs
from edumeet_recording.store.captures import Capture
from edumeet_recording.store.transaction import Channel, Tx
from edumeet_recording.wire.node_link import CaptureReport, StreamStats

WRONG_KEY = "packets come that were not encrypted with the announced SRTP key"


def wants_key_frame(report: CaptureReport) -> bool:
    """Whether a picture of it stays broken until its room server is asked for a key frame."""
    return any(stream.key_frame_overdue for stream in report.streams)


def stats_row(node_id: str, report: CaptureReport) -> dict[str, Any]:
    """The live numbers of a capture as `store_stats` takes them."""
    last = max((stream.last_packet_at or 0.0 for stream in report.streams), default=0.0)
    return {
        "id": report.capture_id,
        "node_id": node_id,
        "stats": report.model_dump(mode="json", by_alias=True, include={"streams", "foreign", "unshipped_chunks"}),
        "last_packet_at": datetime.fromtimestamp(last, UTC).isoformat() if last else None,
        "wants_key_frame": wants_key_frame(report),
    }


async def note_changes(tx: Tx, capture: Capture, report: CaptureReport) -> None:
    """Write an event for each stream that stalled, recovered or cannot be decrypted since the numbers that are kept.

    Such numbers are kept in the same transaction, so that every change is told once. Streams of a capture that is not
    wanted any more may fall silent.
    """
    before = {stream["index"]: stream.get("state", StreamState.WAITING) for stream in capture.stats.get("streams", ())}
    is_news = False
    for stream in report.streams:
        event = event_of(StreamState(before.get(stream.index, StreamState.WAITING)), stream.state)
        is_news |= event is not None
        if event is not None and capture.wanted:
            await _note(tx, capture, event, stream)
            tx.hint(Channel.EVENTS)
            if stream.state is StreamState.STALLED:
                await forwardings.ask_again(tx.conn, capture.id, tx.now)
                tx.hint(Channel.FORWARDING)
    if is_news:
        await captures.store_stats(tx.conn, [stats_row(capture.node_id, report)])


async def _note(tx: Tx, capture: Capture, event: str, stream: StreamStats) -> None:
    """A recording that has not begun for want of the right key says so, should it come to its end."""
    data = {
        "captureId": capture.id,
        "nodeId": capture.node_id,
        "epoch": capture.epoch,
        "streamIndex": stream.index,
        "state": stream.state,
    }
    job = await jobs.locked(tx.conn, capture.job_id)
    blocked = stream.state is StreamState.UNDECRYPTABLE and job is not None and job.status is JobStatus.INITIALIZING
    reason, detail = (Reason.SRTP_ERROR, WRONG_KEY) if blocked else (None, None)
    await jobs.note(tx.conn, capture.job_id, event=event, now=tx.now, data=data, reason=reason, detail=detail)
