"""`edumeet-recording recordings …`: start, stop and follow recordings, and fetch their files."""

import asyncio
import re
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from edumeet_recording.cli.following import ended, fetch, fetch_assets, outcome_of
from edumeet_recording.cli.printing import print_answer, print_json, stdout
from edumeet_recording.cli.service import Json, Token, Url, ask
from edumeet_recording.cli.tables import recording_details, recordings_table, size, status_text, told
from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.codecs import Codec as CodecName
from edumeet_recording.domain.codecs import Container, Quality, kind_of
from edumeet_recording.domain.errors import Conflict
from edumeet_recording.domain.job import CAPTURING, FINAL, JobStatus
from edumeet_recording.wire.events import RecordingDelta, RecordingsFilter
from edumeet_recording.wire.http import StartRecording
from edumeet_recording.wire.views import JobEvent, Recording

app = typer.Typer(no_args_is_help=True, help="Start, stop and follow recordings, and fetch their files.")

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the recording.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the file is made.")]


def parse_stream(text: str) -> dict[str, object]:
    """A stream as the command line names it: CODEC:PAYLOADTYPE, or with :SSRC:PORT of the sender."""
    codec, *numbers = text.split(":")
    try:
        kind = kind_of(CodecName(codec.lower()))
        named = dict(zip(("payloadType", "ssrc", "port"), map(int, numbers), strict=False))
    except ValueError as error:
        raise typer.BadParameter(f"{text}: {error}") from error
    if len(numbers) not in {1, 3}:
        raise typer.BadParameter(f"{text} is not like opus:111 or opus:111:12345678:5004")
    return {"kind": kind.value, "codecName": codec, **named}


@app.command()
def start(
    *,
    room_server: Annotated[str, typer.Argument(metavar="ROOM_SERVER", help="Id of the room server.")],
    room: Annotated[str, typer.Argument(metavar="ROOM", help="Id of the room.")],
    peer: Annotated[str, typer.Argument(metavar="PEER", help="Id of the peer to record.")],
    stream: Annotated[
        list[str],
        typer.Option(
            metavar="CODEC:PAYLOADTYPE[:SSRC:PORT]", help="A stream of the peer; once for each.", show_default=False
        ),
    ],
    container: Annotated[Container, typer.Option("--format", help="Format of the file.")] = Container.MP4,
    quality: Annotated[Quality | None, typer.Option(help="Quality to transcode to.", show_default="as sent")] = None,
    max_duration: Annotated[
        float | None, typer.Option(help="Seconds after which it stops.", show_default=False)
    ] = None,
    twice: Annotated[
        bool, typer.Option("--twice", help="Record on two nodes at once, so that the loss of one costs nothing.")
    ] = False,
    send_it_myself: Annotated[
        bool, typer.Option("--client", help="Ask no room server: the answer names where to send the RTP.")
    ] = False,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Start recording a peer.

    The room server is asked to send the peer's RTP; with --client, send it yourself to the address in the answer.

    [dim]edumeet-recording recordings start room-server-1 room-1 alice --stream opus:111:12345678:5004[/dim]

    [dim]edumeet-recording recordings start room-server-1 try me --stream opus:111 --stream vp8:96 --client[/dim]
    """
    body = StartRecording.model_validate(
        {
            "roomServerId": room_server,
            "roomId": room,
            "peerId": peer,
            "rtpStreams": tuple(parse_stream(each) for each in stream),
            "options": {
                "format": container,
                "quality": quality,
                "maxDuration": max_duration,
                "redundancy": 2 if twice else 1,
            },
            "forwarding": "client" if send_it_myself else "room-server",
        }
    )

    async def work(client: RecordingClient) -> None:
        started = await client.start(body)
        print_answer(started, recording_details(started), as_json=as_json)

    ask(url, token, work)


@app.command()
def stop(job: JobId, wait: Wait = False, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """End a recording and make its file. Stopping twice does no harm.

    [dim]edumeet-recording recordings stop 4f0c… --wait[/dim]
    """

    async def work(client: RecordingClient) -> None:
        found = await client.stop(job)
        if wait:
            found = await ended(client, job, quiet=as_json)
        print_answer(found, recording_details(found), as_json=as_json)
        if wait:
            raise typer.Exit(outcome_of(found))

    ask(url, token, work)


@app.command()
def cancel(job: JobId, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """End a recording and throw away what was recorded."""

    async def work(client: RecordingClient) -> None:
        found = await client.cancel(job)
        print_answer(found, recording_details(found), as_json=as_json)

    ask(url, token, work)


@app.command("list")
def list_recordings(
    *,
    status: Annotated[
        list[JobStatus] | None, typer.Option(help="Only these; once for each.", show_default=False)
    ] = None,
    room: Annotated[str | None, typer.Option(help="Only of this room.", show_default=False)] = None,
    peer: Annotated[str | None, typer.Option(help="Only of this peer.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = 50,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List recordings, newest first.

    [dim]edumeet-recording recordings list --status recording --status pending[/dim]
    """

    async def work(client: RecordingClient) -> None:
        found: list[Recording] = []
        async with aclosing(client.list(status=status or (), room_id=room, peer_id=peer)) as recordings:
            async for each in recordings:
                found.append(each)
                if len(found) == limit:
                    break
        print_answer(list[object](found), recordings_table(found), as_json=as_json)

    ask(url, token, work)


@app.command()
def show(job: JobId, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Show one recording, its live numbers, and what happened to it."""

    async def work(client: RecordingClient) -> None:
        found = await client.get(job)
        events = [each async for each in client.events(job)]
        shown = recording_details(found, events)
        print_answer({"recording": found, "events": events}, shown, as_json=as_json)

    ask(url, token, work)


@app.command()
def watch(
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="Only this one, until it ends.", show_default=False)
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Follow what happens to all recordings until Ctrl-C, or to one until it ends.

    With --json, a line for each event: its data, and the recording as it is then.
    """

    def tell(message: RecordingDelta) -> None:
        if as_json:
            print_json(message)
        else:
            stdout.print(_line(message.event, message.recording))

    async def work(client: RecordingClient) -> None:
        if job is None:
            await _watch(client, None, tell)
            return
        found = await client.get(job)
        if found.status not in FINAL:
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(ended(client, job, quiet=as_json))
                await _watch(client, job, tell)
            found = waiting.result()
        if not as_json:
            stdout.print(recording_details(found))
        raise typer.Exit(outcome_of(found))

    ask(url, token, work)


@app.command()
def download(
    *,
    job: JobId,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write, or an existing folder.", show_default="PEER-JOB.FORMAT"),
    ] = None,
    assets: Annotated[
        bool,
        typer.Option("--assets", help="Also pictures, waveform and further parts, into a folder of the file's name."),
    ] = False,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Fetch the file of a recording, waiting for it while it is made; what broke off is resumed, the checksum compared.

    [dim]edumeet-recording recordings download 4f0c… -o lecture.mp4[/dim]
    """

    async def work(client: RecordingClient) -> None:
        found = await client.get(job)
        if found.status in CAPTURING or found.status is JobStatus.PENDING:
            raise Conflict(f"recording {job} is {found.status}: stop it first")
        found = await ended(client, job, quiet=as_json)
        target = target_of(found, output)
        await fetch(client, found, target, quiet=as_json)
        beside = await fetch_assets(client, job, target.with_suffix("")) if assets else []
        fetched: dict[str, object] = {"path": str(target.absolute()), "file": found.file, "assets": beside}
        print_answer(fetched, f"{target}  {size(target.stat().st_size)}", as_json=as_json)

    ask(url, token, work)


@app.command()
def report(
    job: JobId,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it as a page for people (HTML).", show_default=False, dir_okay=False),
    ] = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show what finalizing found: gaps, loss, drift, warnings, checksums; as JSON, or as a page.

    [dim]edumeet-recording recordings report 4f0c… --page report.html[/dim]
    """

    async def work(client: RecordingClient) -> None:
        if page is None:
            print_json(await client.report(job))
            return
        page.write_text(await client.report_page(job), encoding="utf-8")
        stdout.print(str(page))

    ask(url, token, work)


@app.command()
def hold(job: JobId, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Put a recording under legal hold: nobody can cancel or delete it, and its tape is kept."""

    async def work(client: RecordingClient) -> None:
        found = await client.hold(job)
        print_answer(found, recording_details(found), as_json=as_json)

    ask(url, token, work)


@app.command()
def release(job: JobId, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Lift a recording's legal hold."""

    async def work(client: RecordingClient) -> None:
        found = await client.release(job)
        print_answer(found, recording_details(found), as_json=as_json)

    ask(url, token, work)


@app.command()
def delete(job: JobId, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Delete an ended recording with its file."""

    async def work(client: RecordingClient) -> None:
        await client.delete(job)
        print_answer({"deleted": job}, f"deleted {job}", as_json=as_json)

    ask(url, token, work)


async def _watch(client: RecordingClient, job_id: str | None, tell: Callable[[RecordingDelta], None]) -> None:
    """Tell of each event; for ever, or until the one recording has ended."""
    async with aclosing(client.watch_recordings(RecordingsFilter(job_id=job_id))) as messages:
        async for message in messages:
            if isinstance(message, RecordingDelta):
                tell(message)
                over = message.event.status in FINAL
            else:
                over = all(each.status in FINAL for each in message.items)
            if job_id is not None and over:
                return


def _line(event: JobEvent, recording: Recording | None) -> Text:
    peer = recording.peer_id if recording else event.job_id
    what = "" if event.type == event.status else f" {event.type}"
    parts = (f"{event.at.astimezone():%H:%M:%S} ", status_text(event.status), f"{what}  {peer}  ")
    return Text.assemble(*parts, (told(event.data), "dim"))


def target_of(recording: Recording, output: Path | None) -> Path:
    """Where the file goes; whatever the peer is called, its name stays in the folder."""
    extension = recording.file.format if recording.file else recording.options.format
    name = f"{re.sub('[^A-Za-z0-9_-]+', '_', recording.peer_id)[:40]}-{recording.job_id[:12]}.{extension}"
    if output is None:
        return Path(name)
    return output / name if output.is_dir() else output
