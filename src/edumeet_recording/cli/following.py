"""Waits for a recording to end, with a bar while its file is made, and fetches it, with a bar while it comes."""

import asyncio
from pathlib import Path

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TransferSpeedColumn,
)

from edumeet_recording.cli.outcome import ExitCode
from edumeet_recording.cli.printing import stderr, stdout
from edumeet_recording.client import RecordingClient
from edumeet_recording.domain.job import FINAL, JobStatus
from edumeet_recording.wire.views import Recording

POLL_S = 0.3
"""Progress is no event: it has to be asked for."""


def outcome_of(recording: Recording) -> ExitCode:
    """What a command ends with that waited for this recording."""
    return ExitCode.OK if recording.status is JobStatus.COMPLETED else ExitCode.FAILED


async def ended(client: RecordingClient, job_id: str, *, quiet: bool) -> Recording:
    """The recording as soon as it has ended."""
    with _bar(TaskProgressColumn(), quiet=quiet) as progress:
        task = progress.add_task("", total=1.0)
        while True:
            found = await client.get(job_id)
            fraction = found.progress.fraction if found.progress else float(found.status in FINAL)
            doing = found.progress.phase if found.progress else found.status
            progress.update(task, description=f"{found.peer_id}: {doing}", completed=fraction)
            if found.status in FINAL:
                return found
            await asyncio.sleep(POLL_S)


async def fetch(client: RecordingClient, recording: Recording, target: Path, *, quiet: bool) -> Path:
    """The file of a completed recording, at `target`."""
    with _bar(DownloadColumn(), TransferSpeedColumn(), quiet=quiet) as progress:
        task = progress.add_task(target.name)

        def show(here: int, total: int) -> None:
            progress.update(task, completed=here, total=total)

        return await client.download(recording, target, show)


async def fetch_assets(client: RecordingClient, job_id: str, folder: Path) -> list[str]:
    """All that lies beside the file of a completed recording, in `folder`; the paths."""
    return [
        str((await client.asset(asset, folder / Path(asset.name).name)).absolute())
        for asset in await client.assets(job_id)
    ]


def _bar(*columns: ProgressColumn, quiet: bool) -> Progress:
    # on the console that other lines are printed to, which knows how to print above a bar
    console = stdout if stdout.is_terminal else stderr
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=quiet,
    )
