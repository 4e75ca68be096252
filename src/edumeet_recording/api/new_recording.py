"""A start request as the values a recording starts from; checks what spans several fields."""

import hashlib

from edumeet_recording.api.auth import Principal
from edumeet_recording.domain.codecs import CLOCK_RATE_HZ, COPYABLE, Codec, CopyPolicy, Kind
from edumeet_recording.domain.errors import InvalidRequest
from edumeet_recording.domain.request import JobOptions, NewJob, RequestStream, SrtpParameters
from edumeet_recording.media.ffmpeg_options import RefusedOption, check_encoder, check_options
from edumeet_recording.wire.http import RecordingOptions, RtpStream, StartRecording


def new_job(body: StartRecording, caller: Principal, idempotency_key: str | None) -> NewJob:
    """The job `body` asks for. Raises `InvalidRequest` that names the field."""
    _check_streams(body)
    _check_wanted(body)
    _check_ffmpeg_args(body.options)
    _check_copy(body)
    _check_redundancy(body)
    options = body.options
    return NewJob(
        tenant_id=caller.tenant,
        room_server_id=body.room_server_id,
        room_id=body.room_id,
        peer_id=body.peer_id,
        peer_info={} if body.peer_info is None else body.peer_info.model_dump(mode="json", by_alias=True),
        rtp_streams=tuple(_stream(index, stream) for index, stream in enumerate(body.rtp_streams)),
        options=JobOptions(
            container=options.format,
            quality=options.quality,
            include_audio=options.include_audio,
            include_video=options.include_video,
            max_duration_s=options.max_duration,
            copy=options.copy_policy,
            thumbnails=options.thumbnails,
            ffmpeg_args=options.custom_ffmpeg_args,
            redundancy=options.redundancy,
        ),
        requester_info=body.requester_info.model_dump(mode="json", by_alias=True, exclude_none=True),
        requested_by=caller.subject or None,
        forwarding=body.forwarding,
        priority=body.priority,
        allow_parallel=body.allow_parallel,
        allowed_regions=body.allowed_regions,
        idempotency_key=idempotency_key,
        # of the meaning, not of the bytes: neither white space, nor the order of fields, nor a default that is spelled
        # out makes another request
        request_sha256=hashlib.sha256(body.model_dump_json().encode()).digest(),
    )


def _stream(index: int, stream: RtpStream) -> RequestStream:
    codec = stream.codec_name
    return RequestStream(
        index=index,
        kind=stream.kind,
        codec=codec,
        payload_type=stream.payload_type,
        ssrc=stream.ssrc,
        port=stream.port,
        rtcp_port=stream.rtcp_port,
        clock_rate=stream.clock_rate or CLOCK_RATE_HZ[codec],
        channels=stream.channels or _channels(codec),
        srtp=None if stream.srtp is None else SrtpParameters(stream.srtp.suite, stream.srtp.key_base64),
    )


def _channels(codec: Codec) -> int | None:
    # Opus is always announced with two channels (RFC 7587 §7)
    return 2 if codec is Codec.OPUS else 1 if CLOCK_RATE_HZ[codec] == 8000 else None


def _check_streams(body: StartRecording) -> None:
    ssrcs: set[int] = set()
    for index, stream in enumerate(body.rtp_streams):
        where = f"rtpStreams.{index}"
        if body.forwarding == "room-server" and (stream.ssrc is None or stream.port is None):
            name = "ssrc" if stream.ssrc is None else "port"
            raise _wrong(f"{where}.{name}", "is needed unless forwarding is client")
        if body.forwarding == "room-server" and stream.srtp is not None:
            raise _wrong(f"{where}.srtp", "is for forwarding client: a room server tells its own key")
        if stream.ssrc is not None:
            if stream.ssrc in ssrcs:
                raise _wrong(f"{where}.ssrc", "is that of another stream")
            ssrcs.add(stream.ssrc)


def _wanted(options: RecordingOptions) -> set[Kind]:
    wanted = {Kind.AUDIO} if options.include_audio else set[Kind]()
    return wanted | {Kind.VIDEO} if options.include_video else wanted


def _check_wanted(body: StartRecording) -> None:
    wanted = _wanted(body.options)
    if not wanted:
        raise _wrong("options.includeVideo", "neither audio nor video would be recorded")
    if not any(stream.kind in wanted for stream in body.rtp_streams):
        kinds = " or ".join(sorted(wanted))
        raise _wrong("rtpStreams", f"has no {kinds} stream, and options ask for nothing else")


def _check_ffmpeg_args(options: RecordingOptions) -> None:
    args = options.custom_ffmpeg_args
    try:
        check_options(args)
        check_encoder(args, options.format)
    except RefusedOption as refused:
        raise _wrong(f"options.customFFmpegArgs.{refused.index}", str(refused)) from refused
    if args and options.copy_policy is CopyPolicy.REQUIRE:
        raise _wrong("options.customFFmpegArgs", "need a transcode, which copy require rules out")


def _check_copy(body: StartRecording) -> None:
    options = body.options
    if options.copy_policy is not CopyPolicy.REQUIRE:
        return
    wanted = _wanted(options)
    for index, stream in enumerate(body.rtp_streams):
        if stream.kind in wanted and stream.codec_name not in COPYABLE[options.format]:
            reason = f"{options.format} does not take {stream.codec_name} (rtpStreams.{index}) without a transcode"
            raise _wrong("options.copy", reason)


def _check_redundancy(body: StartRecording) -> None:
    if body.options.redundancy > 1 and body.forwarding == "client":
        raise _wrong("options.redundancy", "needs forwarding room-server: a client sends to one node only")


def _wrong(field: str, reason: str) -> InvalidRequest:
    return InvalidRequest(reason, code="validation_error", field=field)
