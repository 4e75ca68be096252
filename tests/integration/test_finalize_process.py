"""The finalize process: what it prints, reports and leaves, and how it fails and ends."""

import asyncio
import errno
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.finalizer import Finalizer
from tests.integration.synthetic_tape import TapeStore, audio, capture, task, video
from tests.waiting import eventually

from edumeet_recording.domain.codecs import Codec, Container
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.node.mux import Muxer
from edumeet_recording.sim.analyse import analyse
from edumeet_recording.wire.node_link import FinalizeDone, FinalizeFailed, FinalizeTask


async def test_the_report_says_what_was_stored(finalizer: Finalizer) -> None:
    done, _ = await finalizer.done(
        task(capture(finalizer.store, audio(Codec.OPUS, 6), video(Codec.H264, 6)), container=Container.MP4)
    )

    stored = finalizer.store.path(done.file_key).read_bytes()
    told = json.loads(finalizer.store.objects[done.report_key])
    assert told == done.report
    assert told["file"]["sha256"] == done.sha256 == hashlib.sha256(stored).hexdigest()
    assert told["file"]["bytes"] == done.bytes == len(stored)
    assert told["checks"]["framesWritten"] == told["checks"]["framesFound"] == 450
    assert stored.index(b"moov") < stored.index(b"mdat")
    assert finalizer.said[-1] == ("store", 1.0)


class Child:
    """The finalize process on a task, with its storage in a folder."""

    def __init__(self, folder: Path) -> None:
        self.store = TapeStore(folder / "storage")
        self._folder = folder

    @asynccontextmanager
    async def running(
        self, given: FinalizeTask, **environment: str
    ) -> AsyncGenerator[asyncio.subprocess.Process, None]:
        for key, data in self.store.objects.items():
            target = self.store.path(key)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "edumeet_recording.node.finalize",
            "--work-dir",
            str(self._folder / "work"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "STORAGE_URL": self.store.folder.as_uri(), **environment},
        )
        assert process.stdin is not None
        process.stdin.write(given.to_json().encode())
        process.stdin.close()
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def lines(self, given: FinalizeTask, **environment: str) -> list[dict[str, Any]]:
        """What it printed, once it has exited with 0."""
        async with self.running(given, **environment) as process:
            printed, _ = await process.communicate()
            assert process.returncode == 0
        return [json.loads(line) for line in printed.splitlines()]


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child(tmp_path)


async def test_the_process_prints_progress_and_what_it_made(child: Child) -> None:
    sent = audio(Codec.OPUS, 6), video(Codec.VP8, 6)

    *progress, last = await child.lines(task(capture(child.store, *sent), container=Container.MP4))

    done = FinalizeDone.model_validate(last)
    assert analyse(child.store.path(done.file_key)).duration_s == pytest.approx(6, abs=0.1)
    assert {line["phase"] for line in progress} >= {"fetch", "scan", "write", "transcode", "check", "store"}
    fractions = [line["fraction"] for line in progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    stored = json.loads(child.store.path(done.report_key).read_bytes())
    assert stored["file"]["sha256"] == done.sha256


async def test_a_failing_ffmpeg_fails_with_its_last_words(child: Child, tmp_path: Path) -> None:
    made = task(capture(child.store, video(Codec.VP8, 2)), container=Container.MP4)

    for words, expected in (("no such filter", "no such filter"), ("No space left on device", "the disk is full")):
        ffmpeg = script(tmp_path / "ffmpeg", f"echo '{words}' >&2; exit 3")
        failed = FinalizeFailed.model_validate((await child.lines(made, FFMPEG_BIN=str(ffmpeg)))[-1])

        assert expected in failed.error
        assert failed.retryable
        assert not failed.no_media


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_its_end_is_ffmpegs_end(child: Child, tmp_path: Path, number: signal.Signals) -> None:
    pid_file = tmp_path / "pid"
    ffmpeg = script(tmp_path / "ffmpeg", f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 60")
    made = task(capture(child.store, video(Codec.VP8, 2)), container=Container.MP4)

    async with child.running(made, FFMPEG_BIN=str(ffmpeg)) as process:
        await eventually(pid_file.exists, timeout=20)
        pid = int(pid_file.read_text())
        assert os.getpgid(pid) not in (os.getpgid(0), process.pid)
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 2) == -number
        await eventually(lambda: not Path(f"/proc/{pid}/cmdline").exists(), timeout=2)


async def test_storage_that_is_away_is_worth_another_attempt(finalizer: Finalizer) -> None:
    made = capture(finalizer.store, video(Codec.VP8, 2))

    class Away(TapeStore):
        async def get(self, key: str) -> bytes:
            raise Unavailable(f"the bucket of {key} is away")

    finalizer.store = Away(finalizer.store.folder)
    outcome = await finalizer.outcome(task(made, container=Container.WEBM))

    assert isinstance(outcome, FinalizeFailed)
    assert outcome.error.endswith("is away")
    assert outcome.retryable


async def test_a_full_disk_is_worth_another_attempt(finalizer: Finalizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Muxer, "write", full)

    outcome = await finalizer.outcome(task(capture(finalizer.store, video(Codec.VP8, 2)), container=Container.WEBM))

    assert isinstance(outcome, FinalizeFailed)
    assert outcome.error.startswith("the disk is full")
    assert outcome.retryable
    assert outcome.unavailable


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
